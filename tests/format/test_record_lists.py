"""Long lists of a build record as an object: what is read is what was written, and edits change little of it."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from typing import Any

import pytest

from datapkg.errors import QuotaExceeded
from datapkg.format.record_lists import CHECK_LISTS, Record, read_lists, split_record

SOURCES = [
    {"path": f"raw/{number:05}", "hash": f"{number:x}" * 12, "kwargs": {"b": 1, "a": [2]}} for number in range(5_000)
]
CHECKS = [{"path": f"raw/{number:05}", "check": "unique", "outcome": "passed"} for number in range(1_000)]
RECORD: dict[str, Any] = {"origin": "directory", "sources": SOURCES, "rules": ["{min: 0}"], "checks": CHECKS}


def lists_of(record: dict[str, Any]) -> bytes:
    return split_record(record)[1]


def test_short_record_stays_as_it_is() -> None:
    record = {"origin": "directory", "sources": SOURCES[:10]}
    assert split_record(record) == (record, b"")


def test_lists_of_a_long_record_are_read_when_one_is_used() -> None:
    short, data = split_record(RECORD)
    assert short == {"origin": "directory", "rules": ["{min: 0}"], "lists": {"checks": 1_000, "sources": 5_000}}
    assert len(data) < len(json.dumps(RECORD)) / 3
    reads = []
    record = Record(short, lambda: reads.append(1) or read_lists(io.BytesIO(data)))  # type: ignore[func-returns-value]
    assert (record["origin"], record.get("left_out"), "sources" in record, reads) == ("directory", None, True, [])
    assert dict(record) == RECORD
    assert (record["checks"], len(reads)) == (CHECKS, 1)


def test_object_is_gzip_of_json_lines_with_the_checks_first() -> None:
    data = lists_of(RECORD)
    lines = gzip.decompress(data).splitlines()
    assert [json.loads(line)[0] for line in lines] == ["checks"] * 1_000 + ["sources"] * 5_000
    assert read_lists(io.BytesIO(data), CHECK_LISTS) == {"checks": CHECKS}
    with pytest.raises(QuotaExceeded):
        read_lists(io.BytesIO(data), CHECK_LISTS, max_bytes=10_000)


def test_entry_that_changes_leaves_most_of_the_object_as_it_was() -> None:
    sources = [*SOURCES[:2_000], {"path": "raw/new"}, *SOURCES[2_000:]]
    before, after = members(lists_of(RECORD)), members(lists_of({**RECORD, "sources": sources}))
    assert len(after) > 4
    assert len(set(after) - set(before)) == 1


def members(data: bytes) -> list[bytes]:
    found = []
    while data:
        decompressor = zlib.decompressobj(wbits=31)
        decompressor.decompress(data)
        found.append(data[: len(data) - len(decompressor.unused_data)])
        data = decompressor.unused_data
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip",
        lists_of(RECORD)[:-9],
        gzip.compress(b"not JSON\n", mtime=0),
        gzip.compress(b"5\n", mtime=0),
        gzip.compress(b'["a"]\n', mtime=0),
        gzip.compress(b"[{},1]\n", mtime=0),
    ],
)
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the lists of a record"):
        read_lists(io.BytesIO(data))
