"""ORC files become the tables that pyarrow reads from them."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import orc

from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write

TABLE = pa.table(
    {
        "n": [1, None, 3],
        "t": ["a", None, "é"],
        "day": [datetime.date(2024, 1, 2), None, datetime.date(1969, 12, 31)],
        "when": pa.array([1_704_164_645_000_006, None, -315_619_200_000_000], pa.timestamp("us")),
        "price": [decimal.Decimal("1.50"), decimal.Decimal("-2.25"), None],
        "list": [[1, 2], None, []],
        "pair": [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}],
    }
)


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd"])
def test_values_and_types(tmp_path: Path, compression: str) -> None:
    orc.write_table(TABLE, str(tmp_path / "a.orc"), compression=compression)
    bench = Bench()
    built = bench.build(tmp_path)
    assert kinds(built) == {"a": "table"}
    assert bench.table(built, "a").to_pylist() == TABLE.to_pylist()
    assert bench.table(built, "a").schema.field("price").type == pa.decimal128(3, 2)


def test_column_selection(tmp_path: Path) -> None:
    orc.write_table(TABLE, str(tmp_path / "a.orc"))
    write(tmp_path, {"build.yml": "contents:\n  a: {file: a.orc, kwargs: {columns: [t]}}\n"})
    bench = Bench()
    assert bench.table(bench.build(tmp_path), "a").column_names == ["t"]


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_file_that_is_not_orc(tmp_path: Path, kept: int) -> None:
    orc.write_table(TABLE, str(tmp_path / "whole"))
    body = (tmp_path / "whole").read_bytes()[:kept]
    with pytest.raises(TransformFailed, match="cannot be read as orc"):
        Bench().build(write(tmp_path / "cut", {"a.orc": body}))
