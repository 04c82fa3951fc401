"""Which paths a glob pattern matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.building.spec.folder_files import DataFile
from datapkg.building.spec.globs import fixed_prefix, is_glob, match

PATHS = [
    "a.csv",
    "b.csv",
    "B.csv",
    "[x].csv",
    "d/a.csv",
    "d/e/a.csv",
    "d/e/f.txt",
    "cafe\u0301.csv",
    "d e/x y.csv",
    "a\u00b2.csv",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.csv", "b.csv", "B.csv", "[x].csv", "cafe\u0301.csv", "a\u00b2.csv"]),
        ("?.csv", ["a.csv", "b.csv", "B.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[!ab]*", ["B.csv", "[x].csv", "cafe\u0301.csv"]),
        ("[[]x].csv", ["[x].csv"]),
        ("caf\u00e9*", ["cafe\u0301.csv"]),
        ("d/*", ["d/a.csv"]),
        ("d/**", ["d/a.csv", "d/e/a.csv", "d/e/f.txt"]),
        ("**/a.csv", ["a.csv", "d/a.csv", "d/e/a.csv"]),
        ("**/**/a.csv", ["a.csv", "d/a.csv", "d/e/a.csv"]),
        ("**/e/**/*.txt", ["d/e/f.txt"]),
        ("*/*/*", ["d/e/a.csv", "d/e/f.txt"]),
        ("d e/*", ["d e/x y.csv"]),
        ("**", PATHS),
        ("x*", []),
        ("*/e", []),
        ("d/e/a.csv/*", []),
    ],
)
def test_match(pattern: str, expected: list[str]) -> None:
    files = [DataFile(Path(path), tuple(path.split("/"))) for path in PATHS]
    assert ["/".join(file.parts) for file in match(pattern, files)] == expected


def test_matching_takes_bounded_time() -> None:
    name = "a" * 250
    assert match("/".join(["**"] * 20 + ["*a" * 100 + "b"]), [DataFile(Path(name), ("d",) * 60 + (name,))]) == []


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("a/b/**/*.jpg", ("a/b", "**/*.jpg")),
        ("*.csv", ("", "*.csv")),
        ("a/b.csv", ("a", "b.csv")),
        ("../x/*", ("../x", "*")),
        ("/etc/*", ("/etc", "*")),
        ("[a]/b/*", ("", "[a]/b/*")),
    ],
)
def test_fixed_prefix(pattern: str, parts: tuple[str, str]) -> None:
    assert fixed_prefix(pattern) == parts


def test_is_glob() -> None:
    assert all(map(is_glob, ("*", "a?", "[a]", "x/**/y")))
    assert not any(map(is_glob, ("a", "a.csv", "{a,b}", "a]")))
