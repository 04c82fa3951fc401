"""Which names and references are valid; every rejection states what is allowed."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datapkg.errors import InvalidName
from datapkg.format.names import (
    RESERVED,
    Ref,
    State,
    attribute_name,
    check_node_path,
    check_package,
    check_tag,
    check_user,
    check_version,
)

GOOD_REFS = {
    "uciml/iris": Ref("uciml", "iris"),
    "uciml/iris@1.2.0": Ref("uciml", "iris", state=State("version", "1.2.0")),
    "uciml/iris@01.2": Ref("uciml", "iris", state=State("version", "1.2")),
    "uciml/iris@stable": Ref("uciml", "iris", state=State("tag", "stable")),
    "uciml/iris@sha256:1f3a9c": Ref("uciml", "iris", state=State("hash", "1f3a9c")),
    "uciml/iris@sha256:1F3A9C": Ref("uciml", "iris", state=State("hash", "1f3a9c")),
    "uciml/iris@sha256:" + "a" * 64: Ref("uciml", "iris", state=State("hash", "a" * 64)),
    "uciml/iris/tables/bezdek@1.2.0": Ref("uciml", "iris", "tables/bezdek", State("version", "1.2.0")),
    "uciml/iris/日本.txt": Ref("uciml", "iris", "日本.txt"),
    "uciml/iris/2024 sales": Ref("uciml", "iris", "2024 sales"),
    "uciml/iris/a:b": Ref("uciml", "iris", "a:b"),
    "uciml/iris@1.2.0/tables/bezdek": Ref("uciml", "iris", "tables/bezdek", State("version", "1.2.0")),
    "work:uciml/iris@sha256:1f3a9c/raw/": Ref("uciml", "iris", "raw", State("hash", "1f3a9c"), "work"),
    "uciml/iris@stable/a%40b": Ref("uciml", "iris", "a@b", State("tag", "stable")),
    "https://data.example.org/uciml/iris@1.2.0/raw": Ref(
        "uciml", "iris", "raw", State("version", "1.2.0"), "https://data.example.org"
    ),
    "uciml/iris/a%40b@1.0": Ref("uciml", "iris", "a@b", State("version", "1.0")),
    "uciml/iris/100%25": Ref("uciml", "iris", "100%"),
    "uciml/iris/raw/": Ref("uciml", "iris", "raw"),
    "work:uciml/iris": Ref("uciml", "iris", registry="work"),
    "https://data.example.org/uciml/iris@1.2.0": Ref(
        "uciml", "iris", state=State("version", "1.2.0"), registry="https://data.example.org"
    ),
    "http://127.0.0.1:8000/uciml/iris/a%20b": Ref("uciml", "iris", "a b", registry="http://127.0.0.1:8000"),
    "https://[::1]:8443/u/p": Ref("u", "p", registry="https://[::1]:8443"),
    "u/p@>=1.2,<2": Ref("u", "p", state=State("range", "<2,>=1.2")),
    "a1/b_2_c3": Ref("a1", "b_2_c3"),
}
BAD_REFS = {
    "": "is not a package",
    "iris": "is not a package",
    "/": "is a path",
    "/iris": "is a path",
    "uciml/": "package name",
    "uciml//iris": "package name",
    "Uciml/iris": "lower-case",
    "uciml/Iris": "lower-case",
    "uci_ml/iris": "lower-case letters and digits",
    "uciml/iris_": "single underscores",
    "uciml/i__ris": "single underscores",
    "uciml/_iris": "lower-case letter",
    "1uciml/iris": "lower-case letter",
    "uciml/1iris": "lower-case letter",
    "uciml/iris-data": "single underscores",
    "uciml/iris\n": "package name",
    " uciml/iris": "user name",
    "üciml/iris": "user name",
    "uciml/class": "keyword",
    "class/iris": "keyword",
    "api/iris": "reserved",
    "a" * 40 + "/iris": "at most 39",
    "uciml/" + "a" * 65: "at most 64",
    "uciml/iris/..": "'..'",
    "uciml/iris/a/../../b": "'..'",
    "uciml/iris/a//b": "may not be empty",
    "uciml/iris/a\\b": "may not contain",
    "uciml/iris/a\x00b": "may not contain",
    "uciml/iris/a\x1bb": "may not contain",
    "uciml/iris/" + "a" * 256: "longer than 255",
    "uciml/iris/" + "/".join("a" * 65): "deeper than 64",
    "uciml/iris/a@b/c": "%40",
    "uciml/iris@": "ends with '@'",
    "uciml/iris@/a": "ends with '@'",
    "uciml/iris@1.0/a@b": "%40",
    "uciml/iris@@1": "%40",
    "uciml/iris@sha256:12345": "at least 6",
    "uciml/iris@sha256:xyzxyz": "hex digits",
    "uciml/iris@sha256:" + "a" * 65: "at most 64",
    "uciml/iris@1.x": "PEP 440",
    "uciml/iris@1.0+local": "local part",
    "uciml/iris@Stable": "lower-case",
    "uciml/iris@>=x": "PEP 440",
    "uciml/iris@_x": "is not a state",
    "https://user:secret@host/u/p": "https://host/user/name",
    "https://host/u/p?x=1": "https://host/user/name",
    "https://host:99999/u/p": "not a valid address",
    "https://host": "is not a package",
    "a b:u/p": "name of your settings",
}


@pytest.mark.parametrize("text", GOOD_REFS)
def test_valid_refs(text: str) -> None:
    ref = Ref.parse(text)
    assert ref == GOOD_REFS[text]
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize("text", BAD_REFS)
def test_error_for_invalid_refs_states_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        Ref.parse(text)
    assert BAD_REFS[text] in str(caught.value)
    assert "secret" not in str(caught.value).replace(text, "")


@given(st.text())
def test_any_text_is_a_ref_or_rejected(text: str) -> None:
    try:
        ref = Ref.parse(text)
    except InvalidName:
        return
    assert Ref.parse(str(ref)) == ref


def test_reserved_user_names_are_valid_package_names() -> None:
    assert {"api", "simple", "static", "docs", "login", "health", "admin", "data", "core"} <= RESERVED
    for name in RESERVED:
        with pytest.raises(InvalidName, match="reserved"):
            check_user(name)
        assert check_package(name) == name


def test_keywords_are_not_valid_names() -> None:
    for name in keyword.kwlist:
        with pytest.raises(InvalidName):
            check_package(name)


@pytest.mark.parametrize("tag", ["latest", "v1.0", "a-b_c.d", "x"])
def test_tags(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "1", "A", "a/b", "a b", "é", "a" * 65, "a\n"])
def test_invalid_tags(tag: str) -> None:
    with pytest.raises(InvalidName, match="lower-case letter"):
        check_tag(tag)


@pytest.mark.parametrize(
    ("text", "normal"), [("1.0", "1.0"), ("1.0.0-RC1", "1.0.0rc1"), ("01.02", "1.2"), ("1!2", "1!2")]
)
def test_versions_are_normalised(text: str, normal: str) -> None:
    assert check_version(text) == normal


@pytest.mark.parametrize("version", ["", "v1.0", "1.0+h123", "latest", "1..0", "1" * 100])
def test_invalid_versions(version: str) -> None:
    with pytest.raises(InvalidName):
        check_version(version)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("measurements", "measurements"),
        ("2024 sales", "n2024_sales"),
        ("class", "class_"),
        ("a.txt", "a_txt"),
        ("日本", "日本"),
        ("_x", "_x"),
        ("a-b", "a_b"),
        ("²", "n2"),
        ("None", "None_"),
    ],
)
def test_attribute_names(name: str, attribute: str) -> None:
    assert attribute_name(name) == attribute


@given(st.text(min_size=1))
def test_attribute_names_are_identifiers(name: str) -> None:
    attribute = attribute_name(name)
    assert attribute.isidentifier()
    assert not keyword.iskeyword(attribute)


def test_node_paths() -> None:
    assert check_node_path("a/b c/日本.txt") == ("a", "b c", "日本.txt")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("uciml/gap-minder", "gap_minder"),
        ("uciml/Gap Minder", "gap_minder"),
        ("Alice/iris", "alice"),
        ("uci-ml/iris", "uciml"),
        ("uciml/iris==1.0", "uciml/iris@1.0"),
        ("uciml/iris ~=1.0", "uciml/iris@~=1.0"),
        ("uciml/iris>=1.2", "uciml/iris@>=1.2"),
        ("uciml/iris:1.0", "uciml/iris@1.0"),
        ("uciml/iris=v1.0", "uciml/iris@1.0"),
        ("uciml/iris@Stable", "stable"),
    ],
)
def test_almost_valid_name_suggests_a_valid_one(text: str, meant: str) -> None:
    with pytest.raises(InvalidName, match=rf"did you mean '{re.escape(meant)}'\?"):
        Ref.parse(text)


@pytest.mark.parametrize(("text", "meant"), [("v1.0", "1.0"), ("==1.0", "1.0"), ("= 2", "2")])
def test_almost_valid_version_suggests_a_valid_one(text: str, meant: str) -> None:
    with pytest.raises(InvalidName, match=f"did you mean '{meant}'"):
        check_version(text)


@example("IS", check_user)
@example("None", check_package)
@example("Admin", check_user)
@given(st.text(max_size=70), st.sampled_from([check_user, check_package, check_tag, check_version, Ref.parse]))
def test_suggested_names_are_valid(text: str, check: Callable[[str], object]) -> None:
    try:
        check(text)
    except InvalidName as error:
        for meant in re.findall(r"did you mean '(.*)'\?$", error.message):
            (check_user if "user name" in error.message else check if check is not Ref.parse else _any_name)(meant)


def _any_name(text: str) -> object:
    for check in (check_package, check_tag, check_version, Ref.parse):
        try:
            return check(text)
        except InvalidName:
            continue
    raise AssertionError(f"{text!r} is not a name of any kind")


def test_paths_are_normalised_as_in_builds() -> None:
    assert Ref.parse("u/p/cafe\u0301.txt@1.0") == Ref.parse("u/p/caf\u00e9.txt@1.0")
    assert Ref.parse("https://x.example/u/p/cafe%CC%81") == Ref.parse("https://x.example/u/p/caf\u00e9")


def test_error_for_non_text_names_its_type() -> None:
    with pytest.raises(
        InvalidName, match=r"version 1\.0 is not allowed: expected text, got float; write it as text, '1\.0'"
    ):
        check_version(1.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidName, match=r"tag None is not allowed: expected text, got NoneType$"):
        check_tag(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidName, match=r"a reference is text such as user/name@1\.0, got int"):
        Ref.parse(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidName, match=r"'\./data' is a path; expected a package"):
        Ref.parse("./data")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("u/p@{2026-05-01}", "u/p@{2026-05-01}"),
        ("u/p@{2026-05-01T12:00Z}", "u/p@{2026-05-01T12:00:00Z}"),
        ("u/p@{2026-05-01 12:00}", "u/p@{2026-05-01T12:00:00Z}"),
        ("work:u/p/a/b@{2026-05-01T01:30:15.25+02:00}", "work:u/p/a/b@{2026-04-30T23:30:15.250000Z}"),
        ("u/p@{2026-05-01}/node", "u/p/node@{2026-05-01}"),
    ],
)
def test_dates(text: str, normal: str) -> None:
    ref = Ref.parse(text)
    assert (str(ref), ref.state and ref.state.kind) == (normal, "date")
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "date",
    ["", "2026", "2026-5-1", "2026-02-30", "yesterday", "2026-05-01T", "2026-05-01T25:00", "0001-01-01T00:00+05:00"],
)
def test_invalid_dates(date: str) -> None:
    with pytest.raises(InvalidName, match=r"it is \{2026-05-01\}"):
        Ref.parse(f"u/p@{{{date}}}")
