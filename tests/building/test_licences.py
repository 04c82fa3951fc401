"""Licences: what SPDX has is taken, what it has not is told of with what was probably meant."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.building.licences import MAX_EXPRESSION, licence_problem, suggestion


@pytest.mark.parametrize(
    "text",
    [
        *("MIT", "CC-BY-4.0", "CC0-1.0", "0BSD", "Apache-2.0+", "GPL-3.0-only", "GPL-2.0-or-later"),
        *("MIT OR Apache-2.0", "(MIT OR Apache-2.0) AND CC-BY-4.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        *("LicenseRef-public-domain", "CC0-1.0 AND LicenseRef-ours.2", "DocumentRef-other:LicenseRef-theirs"),
        " MIT\n",
    ],
)
def test_expressions_of_spdx_are_taken(text: str) -> None:
    assert licence_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "normal"),
    [("mit", "MIT"), ("cc-by-4.0", "CC-BY-4.0"), ("MIT or APACHE-2.0", "MIT OR Apache-2.0")],
)
def test_another_case_is_told_of(text: str, normal: str) -> None:
    assert licence_problem(text) == f"SPDX writes {text!r} as {normal}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GPL-3.0", "GPL-3.0-only or GPL-3.0-or-later"),
        ("LGPL-2.1+", "say LGPL-2.1-or-later"),
        ("MIT AND AGPL-3.0", "AGPL-3.0-only or AGPL-3.0-or-later"),
        ("eCos-2.0", "deprecated"),
    ],
)
def test_deprecated_ids_name_their_successors(text: str, said: str) -> None:
    assert "deprecated" in licence_problem(text)
    assert said in licence_problem(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cc-by-4", "CC-BY-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("CC-BY", "CC-BY-4.0"),
        ("CC BY-NC-SA 4.0", "CC-BY-NC-SA-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("CC0", "CC0-1.0"),
        ("Apache 2", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apcahe-2.0", "Apache-2.0"),
        ("The MIT License", "MIT"),
        ("BSD", "BSD-3-Clause"),
        ("BSD-3", "BSD-3-Clause"),
        ("GPLv3", "GPL-3.0-only or GPL-3.0-or-later"),
        ("GNU General Public License v2.0", "GPL-2.0-only or GPL-2.0-or-later"),
        ("ODbL", "ODbL-1.0"),
        ("EUPL 1.2", "EUPL-1.2"),
        ("public domain", "LicenseRef-public-domain"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0-1.0"),
        ("http://www.opendatacommons.org/licenses/pddl/1.0/", "PDDL-1.0"),
        ("https://spdx.org/licenses/MIT.html", "MIT"),
    ],
)
def test_a_near_miss_finds_the_right_id(text: str, meant: str) -> None:
    assert suggestion(text) == meant
    assert licence_problem(text) == f"{text!r} is not in SPDX's list of licences; did you mean {meant}?"


def test_the_wrong_part_of_an_expression_is_named() -> None:
    assert licence_problem("MIT OR Apache-2").startswith("'Apache-2' is not")
    assert licence_problem("GPL-2.0-only WITH Classpath-exception").endswith("did you mean Classpath-exception-2.0?")
    assert licence_problem("MIT/Apache-2.0").endswith("joined by AND or OR, such as MIT OR Apache-2.0")
    assert licence_problem("MIT, Apache 2").endswith("such as MIT OR Apache-2.0")


@pytest.mark.parametrize("text", ["MIT OR", "OR", "(", "MIT AND", "MIT (", ")("])
def test_what_is_no_expression(text: str) -> None:
    assert licence_problem(text)


def test_what_spdx_does_not_know() -> None:
    assert licence_problem("Our own terms").endswith("one that is not there is written LicenseRef-Our-own-terms")
    assert "LicenseRef-LicenseRef" not in licence_problem("LicenseRef-a b")
    assert licence_problem("unknown").endswith("leave it out")
    assert "is an address" in licence_problem("https://example.org/terms")
    assert licence_problem("日本")


WORDS = st.sampled_from(
    ["MIT", "or", "AND", "WITH", "(", ")", "/", ",", "GPL-3.0+", "LicenseRef-", "cc-by", "\u202e\n", "+"]
)


@given(st.lists(WORDS | st.text(max_size=10), max_size=8).map(" ".join))
def test_any_text_is_answered_in_a_printable_line(text: str) -> None:
    assert licence_problem(text).isprintable()


@pytest.mark.parametrize("piece", ["(", "MIT OR ", "a ", "/", " ", "open ", "GPL-", "https://", "\u202e", "99"])
def test_no_text_takes_long(piece: str) -> None:
    started = time.perf_counter()
    assert licence_problem((piece * MAX_EXPRESSION)[:MAX_EXPRESSION] + "x")
    assert licence_problem((piece * MAX_EXPRESSION)[: MAX_EXPRESSION - 1] + "x")
    assert time.perf_counter() - started < 5
