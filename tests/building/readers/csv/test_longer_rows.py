"""Rows of a CSV file with one field more than the header: pandas makes an index of the first field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datapkg.building.readers.csv.engines import EngineLimits, read
from datapkg.errors import InvalidInput


def rows_of(folder: Path, body: str, **kwargs: Any) -> tuple[list[Any], list[str]]:
    path = folder / "data.csv"
    path.write_text(body)
    warnings: list[str] = []
    found = read(path, {"sep": ",", **kwargs}, warnings.append)
    assert isinstance(found, pa.Table)
    return found.to_pylist(), warnings


def test_an_index_of_first_fields_is_reported(tmp_path: Path) -> None:
    found, warnings = rows_of(tmp_path, "a,b\nx,1,2\ny,3,\n")
    assert found == [{"a": 1, "b": 2.0, "__index_level_0__": "x"}, {"a": 3, "b": None, "__index_level_0__": "y"}]
    assert ["kwargs: {index_col: 0}" in each for each in warnings] == [True]
    assert rows_of(tmp_path, "a,b\nx,1,2\ny,3,\n", index_col=0)[1] == []


def test_an_empty_last_column_is_no_mistake(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "a,b\n0,\n1,\n") == ([{"a": 0, "b": None}, {"a": 1, "b": None}], [])


def test_separators_at_the_ends_of_rows_are_refused(tmp_path: Path) -> None:
    body = "a,b\n1,2,\n3,4,\n"
    for other in (body, "a,b\n0,2,\n1,4,\n", "a,b\nx,,\ny,4,\n"):
        with pytest.raises(InvalidInput, match="end with a separator") as caught:
            rows_of(tmp_path, other)
        assert "{index_col: false}" in caught.value.hint
        with pytest.raises(InvalidInput, match="end with a separator"):
            read(tmp_path / "data.csv", {"sep": ","}, print, EngineLimits(fast=1, chunks=1, chunk=20))
    assert rows_of(tmp_path, body, index_col=False)[0] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert rows_of(tmp_path, body, index_col=0)[0][0]["a"] == 2
