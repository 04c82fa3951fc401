"""Well-known metadata keys and files are recognised, and the rest is ignored."""

from __future__ import annotations

from typing import Any

import pytest

from datapkg.format.metadata import ColumnNote, column_notes, licence_files_among, licence_of, readme_among


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["README"], "README"),
        (["readme.MD", "README", "README.txt"], "readme.MD"),
        (["README.rst", "ReadMe.txt"], "ReadMe.txt"),
        (["a", "README.markdown", "README"], "README.markdown"),
        (["README.csv", "README2.md", "READMES", "README.md.bak", "xREADME.md", "README.md\n", "README."], ""),
        ([], ""),
    ],
)
def test_readme_selection(names: list[str], found: str) -> None:
    assert readme_among(names) == readme_among(reversed(names)) == found


def test_licence_files() -> None:
    good = ["LICENSE", "licence.txt", "LICENSE-MIT", "License.md", "COPYING", "Copying.LESSER", "UNLICENSE", "LICENSES"]
    assert licence_files_among([*good, "licensed", "driving_licence", "LICENSEES.csv", "a/LICENSE", ""]) == good


def test_licence_in_metadata() -> None:
    assert licence_of({"licence": "MIT", "license": "0BSD"}) == "MIT"
    assert licence_of({"LICENSE": "0BSD"}) == "0BSD"
    for meta in ({}, {"licence": 5}, {"licence": " "}, {"licence": ["MIT"]}):
        assert licence_of(meta) == ""
    assert licence_of({"licence": "", "license": "MIT"}) == "MIT"


@pytest.mark.parametrize(
    ("columns", "notes"),
    [
        ({"a": {"unit": "m", "description": "long", "more": 1}}, {"a": ColumnNote("m", "long")}),
        ({"a": "long"}, {"a": ColumnNote("", "long")}),
        ({"a": {"unit": 5, "description": "long"}}, {"a": ColumnNote("", "long")}),
        ({"a": {}, "b": None, "c": [], "d": ""}, {}),
        (["a"], {}),
        ("a", {}),
        (None, {}),
    ],
)
def test_column_notes(columns: Any, notes: dict[str, ColumnNote]) -> None:
    assert column_notes({"columns": columns}) == notes
    assert column_notes({}) == {}
