"""What a footer says of its block: read back as it was written, and nothing that cannot be understood."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.tables import block_metadata
from datapkg.tables.block_boundaries import MIN_ROWS
from datapkg.tables.block_metadata import BlockNote, note_in
from datapkg.tables.content_hash import block_digests
from datapkg.tables.pandas_metadata import BLOCK_KEY

BLOCK = pa.table({"same": np.zeros(MIN_ROWS), "n": np.arange(MIN_ROWS), "text": ["x"] * MIN_ROWS})


def footer(note: dict[bytes, bytes]) -> pq.FileMetaData:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, BLOCK.schema) as writer:
        writer.write_table(BLOCK)
        writer.add_key_value_metadata(note)
    return pq.read_metadata(pa.BufferReader(sink.getvalue()))


def test_note_round_trips() -> None:
    digests = block_digests(BLOCK)
    assert note_in(footer(block_metadata.metadata(BLOCK, digests))) == BlockNote([0, 1], digests)


def test_last_block_has_no_note() -> None:
    assert block_metadata.metadata(BLOCK.slice(1), block_digests(BLOCK)) == {}
    assert note_in(footer({})) is None


@pytest.mark.parametrize(
    "change",
    [
        {"c1": "x"},
        {"c1": "AAAA"},
        {"c1": 5},
        {"key": [3]},
        {"key": [-1]},
        {"key": [True]},
        {"key": "0"},
        {"key": None},
    ],
)
def test_unreadable_note_is_none(change: dict[str, Any]) -> None:
    note = json.loads(block_metadata.metadata(BLOCK, block_digests(BLOCK))[BLOCK_KEY])
    assert note_in(footer({BLOCK_KEY: json.dumps(note | change).encode()})) is None


@pytest.mark.parametrize("text", [b"", b"5", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_invalid_note_is_none(text: bytes) -> None:
    assert note_in(footer({BLOCK_KEY: text})) is None
