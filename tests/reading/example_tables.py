"""Tables of one package made by hand, for what is tried on many kinds of them."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa

from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.tables import Table
from tests.reading.packages import install, table_node


def stored(home: Home, *blocks: pd.DataFrame | pa.Table, path: str = "t", **more: object) -> Table:
    """A table of these blocks, read back from a package of its own."""
    install(home, "me/t", table_node(home, path, *blocks, **more))
    node = load(f"me/t/{path}", home)
    assert isinstance(node, Table)
    return node


def numbered(rows: int = 10) -> pd.DataFrame:
    """Rows that can be told apart by each of their columns."""
    return pd.DataFrame({"n": range(rows), "x": np.arange(rows) / 2, "s": [f"row {at}" for at in range(rows)]})


def in_blocks(home: Home, rows: int = 10, of: int = 4) -> Table:
    """A table of several blocks."""
    frame = numbered(rows)
    return stored(home, *(frame[at : at + of] for at in range(0, rows, of)))


EVERYTHING = pa.table(
    {
        "int": [1, 2, 3],
        "small": pa.array([1, None, 255], pa.uint8()),
        "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "half": pa.array([0.5, None, -0.0], pa.float32()),
        "float": [0.5, None, float("nan")],
        "text": ["a", None, "ç"],
        "long": pa.array(["a", None, "ç"], pa.large_string()),
        "bool": [True, None, False],
        "category": pa.array(["b", None, "a"]).dictionary_encode(),
        "time": pa.array([0, None, 10**15 + 1], pa.timestamp("us")),
        "nanos": pa.array([0, None, 10**18 + 1], pa.timestamp("ns")),
        "zoned": pa.array([0, None, 10**15], pa.timestamp("us", "Europe/Berlin")),
        "length": pa.array([0, None, 10**9], pa.duration("us")),
        "date": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
        "clock": [datetime.time(1, 2, 3), None, datetime.time(23, 59)],
        "exact": [decimal.Decimal("1.10"), None, decimal.Decimal("2.25")],
        "list": [[1, 2], None, []],
        "struct": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}],
        "bytes": [b"\x00", None, b"b"],
        "nothing": pa.nulls(3),
    }
)
"""A column of each type, with a null in most."""
