"""Integers above 2^53 in a CSV file: never rounded beside missing values, refused beside fractions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datapkg.building.readers.csv.engines import EngineLimits, read
from datapkg.errors import InvalidInput
from tests.building.readers.csv.engines import all_of

ENGINES = {
    "fast": EngineLimits(fast=1, chunks=1, chunk=20),
    "chunks": EngineLimits(fast=1, chunks=1, chunk=20),
    "whole": EngineLimits(),
}
# No difference to the values, but the fast engine does not support it.
IN_CHUNKS = {"skipinitialspace": True}
LARGE = 2**53 + 1


def values(folder: Path, engine: str, body: str, **kwargs: Any) -> list[Any]:
    path = folder / "data.csv"
    path.write_text(body)
    more = IN_CHUNKS if engine == "chunks" else {}
    found = read(path, {"sep": ",", **more, **kwargs}, _no_warning, ENGINES[engine])
    table = found if isinstance(found, pa.Table) else all_of(found)
    return [table.schema.types[0], *table.column(0).to_pylist()]


def _no_warning(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"a,b\n{LARGE},1\n,2\n5,3\n", [pa.int64(), LARGE, None, 5]),
        (f"a,b\n,1\n5,2\n-{LARGE},3\n", [pa.int64(), None, 5, -LARGE]),
        (f"a,b\n+{LARGE} ,1\n,2\n-0,3\n", [pa.int64(), LARGE, None, 0]),
        (f"a,b\n{2**53},1\n,2\n5,3\n", [pa.float64(), 2.0**53, None, 5.0]),
        (f"a,b\n{2**64 - 1},1\n,2\n7,3\n", [pa.uint64(), 2**64 - 1, None, 7]),
        (f"a,b\n{2**64 - 1},1\n,2\n-7,3\n", [pa.string(), str(2**64 - 1), None, "-7"]),
        (f"a,b\n{LARGE},1\n0.5,2\n,3\nx,4\n", [pa.string(), str(LARGE), "0.5", None, "x"]),
        ("a,b\n10000000000000000,1\n0.5,2\n,3\n", [pa.float64(), 1e16, 0.5, None]),
        (f"a,b\n{LARGE}e0,1\n0.5,2\n,3\n", [pa.float64(), 2.0**53, 0.5, None]),
    ],
)
def test_values_are_those_of_the_file(tmp_path: Path, engine: str, body: str, expected: list[Any]) -> None:
    assert values(tmp_path, engine, body) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("body", [f"a,b\n{LARGE},1\n0.5,2\n", f"a,b\n1,1\n,2\n1e3,2\n2,1\n{LARGE},2\n"])
def test_fractions_beside_integers_that_floats_change_are_refused(tmp_path: Path, engine: str, body: str) -> None:
    with pytest.raises(InvalidInput, match=r"column 'a' holds fractions beside an integer above 2.53") as caught:
        values(tmp_path, engine, body)
    assert "kwargs: {dtype: {a: str}}" in caught.value.hint
    assert values(tmp_path, engine, body, dtype={"a": "str"})[1] in (str(LARGE), "1")
    assert values(tmp_path, engine, body, dtype={"a": "float"})[-1] in (0.5, 2.0**53)


@pytest.mark.parametrize("index", [0, [0, 1], ["a"]])
def test_index(tmp_path: Path, index: Any) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"a,b,c\n{LARGE},1,1\n,2,2\n5,3,3\n")
    found = read(path, {"index_col": index}, _no_warning)
    assert isinstance(found, pa.Table)
    assert found.column("a").to_pylist() == [LARGE, None, 5]


def test_columns_with_a_converter_stay(tmp_path: Path) -> None:
    body = f"a,b\n{LARGE},1\n0.5,2\n"
    assert values(tmp_path, "whole", body, converters={"a": float}) == [pa.float64(), 2.0**53, 0.5]
