"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from datapkg.format.suggestions import advice, suggesting_keywords


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


def test_misspelt_keyword_is_named_in_the_error() -> None:
    @suggesting_keywords
    def read(self: object, columns: object = None, *, rows: object = None) -> object:
        return columns, rows

    assert read(None, [1], rows=2) == ([1], 2)
    for word, end in (("colums", "; did you mean 'columns'?"), ("row", "; did you mean 'rows'?"), ("zzz", "")):
        with pytest.raises(TypeError) as caught:
            read(None, **{word: 1})
        assert str(caught.value).endswith(f"read() got an unexpected keyword argument {word!r}{end}")
