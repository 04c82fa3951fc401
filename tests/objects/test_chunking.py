"""Objects are cut into chunks that two versions of them share."""

from __future__ import annotations

import hashlib
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.errors import HashMismatch
from datapkg.format.chunks import MAX_BYTES, max_map_bytes
from datapkg.objects.chunking import WINDOW_BYTES, chunks_of_object, cut
from datapkg.objects.memory import MemoryObjects
from datapkg.objects.parquet_pages import MAGIC, page_at
from tests.examples import examples

ROWS = 200_000


def digests(data: bytes) -> dict[bytes, int]:
    return {hashlib.sha256(piece).digest(): len(piece) for piece in cut(io.BytesIO(data))}


def new_bytes(old: bytes, new: bytes) -> int:
    """How many bytes of the new version are in chunks that the old one has not."""
    known = digests(old)
    return sum(size for digest, size in digests(new).items() if digest not in known)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=["class"],
        use_content_defined_chunking={"min_chunk_size": 16 << 10, "max_chunk_size": 64 << 10},
        write_page_index=True,
        write_page_checksum=True,
    )
    return sink.getvalue()


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=ROWS),
        "y": rng.integers(0, 1 << 40, ROWS),
        "class": pa.array(["a", "b", "c", "d"] * (ROWS // 4)),
        "lists": pa.array([[number, number + 1] for number in range(ROWS)]),
    }
    return pa.table(columns)


def with_value(table: pa.Table, name: str, row: int, value: float) -> pa.Table:
    values = table[name].to_numpy().copy()
    values[row] = value
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


@settings(deadline=None, max_examples=examples(40, 400))
@given(st.binary(max_size=2000), st.integers(0, 3), st.integers(0, 1 << 30), st.booleans())
def test_every_byte_is_in_one_chunk(start: bytes, windows: int, seed: int, is_parquet: bool) -> None:
    data = MAGIC * is_parquet + start + random.Random(seed).randbytes(windows * WINDOW_BYTES // 2)
    pieces = [bytes(piece) for piece in cut(io.BytesIO(data))]
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= MAX_BYTES for piece in pieces)


def test_slow_streams_are_cut_like_fast_ones() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or -1, 70_001))

    data = random.Random(1).randbytes(3 * WINDOW_BYTES)
    assert [bytes(each) for each in cut(Slow(data))] == [bytes(each) for each in cut(io.BytesIO(data))]


def test_a_byte_inserted_into_a_raw_file_changes_one_or_two_chunks() -> None:
    data = random.Random(2).randbytes(8 << 20)
    for at in (0, 1 << 20, len(data)):
        assert new_bytes(data, data[:at] + b"!" + data[at:]) <= 2 * MAX_BYTES


def test_parquet_is_cut_at_its_pages(table: pa.Table) -> None:
    old = parquet(table)
    footer = 0.02 * len(old)
    changed = parquet(with_value(table, "x", ROWS // 2, 7.5))
    assert new_bytes(old, changed) < 3 * (64 << 10) + footer
    added = parquet(table.append_column("z", pa.array(np.random.default_rng(1).normal(size=ROWS))))
    assert new_bytes(old, added) < 8 * ROWS + footer
    inserted = parquet(pa.concat_tables([table[: ROWS // 3], table[:1], table[ROWS // 3 :]]))
    assert new_bytes(old, inserted) < 0.15 * len(old)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_the_pages_of_files_that_others_wrote_are_found(table: pa.Table, compression: str, version: str) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression, data_page_version=version, row_group_size=ROWS // 3)
    data, at, pages = sink.getvalue(), len(MAGIC), 0
    while (page := page_at(data[at : at + (64 << 10)])) is not None:
        at, pages = at + page.size, pages + 1
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    assert at == len(MAGIC) + sum(column.total_compressed_size for column in columns)
    assert pages >= len(columns)


def test_the_map_of_many_tiny_pages_stays_small() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({f"c{n}": [n] for n in range(2000)}), sink)
    data = sink.getvalue()
    assert 36 * len(list(cut(io.BytesIO(data)))) <= max_map_bytes(len(data))


@settings(deadline=None, max_examples=examples(200, 5000))
@given(st.binary(max_size=300))
def test_bytes_that_are_not_a_header_are_refused_or_bounded(data: bytes) -> None:
    page = page_at(data)
    assert page is None or 0 < page.size < 1 << 32


@pytest.mark.parametrize(
    "hostile", [b"\x1c" * 100_000, b"\x19\xfc" + b"\xff" * 9, b"\x18" + b"\xff" * 9 + b"\x01", b""]
)
def test_a_hostile_header_is_not_followed(hostile: bytes) -> None:
    """Nesting without end, a list and a text longer than all memory."""
    assert page_at(hostile) is None
    assert b"".join(map(bytes, cut(io.BytesIO(MAGIC + hostile)))) == MAGIC + hostile


def test_an_object_is_checked_while_it_is_cut() -> None:
    objects = MemoryObjects()
    hash = objects.put_bytes(b"x" * 1_000_000)
    chunks = chunks_of_object(objects, hash)
    assert (chunks[0].start, chunks[-1].stop) == (0, 1_000_000)
    objects._bodies[hash] = b"y" * 1_000_000
    with pytest.raises(HashMismatch):
        chunks_of_object(objects, hash)
