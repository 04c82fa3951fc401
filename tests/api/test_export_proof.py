"""Exported text is proven to read back equal while it is written; what is not proven is read back as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.export import export
from datapkg.api.exporting import contents
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import find_installed

REF = Ref("u", "p")
ROWS = 90_000


def frame() -> pd.DataFrame:
    """Return rows of more than 4 MiB as text, for which the fast engine is used."""
    number = np.arange(ROWS)
    return pd.DataFrame(
        {
            "whole": number * 10**9,
            "part": np.where(number % 3, number / 7, np.nan),
            "sure": number % 2 == 0,
            "text": pd.Series(number).astype(str).radd("word, "),
            "plain": pd.Series(number % 9).astype(str).radd("ñ-"),
        }
    )


def changed(column: str, value: object, kind: str | None = None) -> Callable[[], pd.DataFrame]:
    """Return a function for the same rows with another value in the last one, and another dtype."""

    def make() -> pd.DataFrame:
        rows = frame()
        rows[column] = rows[column].astype(kind) if kind else rows[column]
        rows.loc[ROWS - 1, column] = value
        return rows

    return make


def plain(value: str) -> Callable[[], pd.DataFrame]:
    """Return a function for such rows without quotes, with another text in the last one."""
    return lambda: changed("plain", value)().assign(text="some words")


PROVEN = {
    "frame": frame,
    "without quotes": plain("b"),
    "null text": changed("plain", None),
    "long float": changed("part", 1.2345678901234567e-300),
    "quotes": changed("text", '"\n,"'),
    "nullable": changed("whole", None, "Int64"),
    "numeric text": changed("plain", "7"),
}
READ_BACK = {
    "infinite": changed("part", np.inf),
    "empty text": changed("plain", ""),
    "word for nulls": changed("text", "NA"),
    "carriage return": changed("text", "a\rb"),
    "zero byte": changed("text", "a\0b"),
    "zero byte without quotes": plain("a\0b"),
    "null in bool": changed("sure", None, "object"),
    "one column": lambda: frame()[["text"]],
    "first all null": lambda: frame().assign(part=np.where(np.arange(ROWS) < ROWS - 1, np.nan, 0.1)),
    "numbers as text": lambda: frame().assign(plain=np.where(np.arange(ROWS) < ROWS - 1, "7", "x")),
    "dates": lambda: frame().assign(sure=pd.Timestamp("2020-01-01")),
}


@pytest.mark.parametrize("name", [*PROVEN, *READ_BACK])
def test_text_that_reads_back_equal_is_proven_or_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home({"DATAPKG_HOME": str(tmp_path / "home")})
    build_package(home, REF, {**PROVEN, **READ_BACK}[name]())
    read, content_of_text = [], contents.content_of_text
    monkeypatch.setattr(contents, "content_of_text", lambda *all: read.append(all) or content_of_text(*all))
    done = export(home, REF, tmp_path / "out", format="csv", with_build_file=True)
    again = Home({"DATAPKG_HOME": str(tmp_path / "again")})
    build_package(again, REF, tmp_path / "out")
    (before,) = home.store.manifest(find_installed(home, REF).hash).nodes
    (after,) = again.store.manifest(find_installed(again, REF).hash).nodes
    assert after.content == before.content, done.notes
    if name in PROVEN:
        assert not read
        assert not done.notes
    else:
        assert read
