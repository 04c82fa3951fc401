"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from datapkg.format.suggestions import advice


def test_similar_names_are_suggested_among_few_and_many() -> None:
    names = [f"file {number:06}.jpg" for number in range(200_000)]
    assert advice("file 123456.jgp", names[::-1]).startswith("; did you mean 'file 12345")
    assert advice("b", ["a", "c"]) == "; there are 'a', 'c'"
    assert advice("measurments", ["raw", "measurements"]) == "; did you mean 'measurements'?"


def test_long_group_is_not_compared_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(word: str, names: list[str], *options: Any) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    assert advice("100000 none of them", [f"{number:06}.jpg" for number in range(200_000)]) == ""
    assert compared == [100]
