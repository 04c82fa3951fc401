"""Pages that are chosen by rows and by a page index give what reading everything gives."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from datapkg.reading.tables import page_selection
from datapkg.tables import thrift
from datapkg.tables.block_reader import footer_bytes

ROWS = 5_000
field = pc.field


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_selection, "_WORTH_BYTES", 0)
    monkeypatch.setattr(page_selection, "_WORTH_SHARE", 2.0)


def table() -> pa.Table:
    random = np.random.default_rng(5)
    numbers = np.arange(ROWS)
    nulls = pa.array(random.random(ROWS) < 0.1)
    floats = np.where(random.random(ROWS) < 0.05, np.nan, numbers / 7 - 100)
    text = pa.array([f"w{number // 13:05}" for number in numbers])
    return pa.table(
        {
            "key": numbers,
            "small": pa.array(numbers // 50 - 40, pa.int8()),
            "unsigned": pa.array(numbers.astype("uint64") << 50, pa.uint64()),
            "float": pc.if_else(nulls, None, pa.array(floats)),
            "text": pc.if_else(nulls, None, text),
            "long text": text.cast(pa.large_string()),
            "words": text.dictionary_encode(),
            "flag": pa.array(numbers > 2_000),
            "day": pa.array(numbers.astype("int32"), pa.date32()),
            "time": pa.array(numbers * 1_000_000, pa.timestamp("us", "UTC")),
            "seconds": pa.array(numbers, pa.timestamp("s")),
            "price": pa.array([Decimal(number) / 100 for number in range(ROWS)], pa.decimal128(9, 2)),
            "nothing": pa.nulls(ROWS, pa.int64()),
            "gaps": pa.array([None if number < 3_000 else number for number in range(ROWS)]),
            "list": pa.array([[number] * (number % 3) for number in range(ROWS)]),
            "struct": pa.array([{"a": number, "b": str(number)} for number in range(ROWS)]),
        }
    )


WRITTEN: list[dict[str, Any]] = [
    {"data_page_version": "1.0", "compression": "snappy"},
    {"data_page_version": "2.0", "compression": "zstd", "use_dictionary": False, "row_group_size": 2_100},
    {"compression": "none", "use_dictionary": ["words", "text"], "row_group_size": 700},
]


@pytest.fixture(params=WRITTEN, ids=["v1", "v2", "groups"])
def block(request: pytest.FixtureRequest) -> pa.Buffer:
    out = io.BytesIO()
    pq.write_table(
        table(),
        out,
        write_page_index=True,
        write_page_checksum=True,
        data_page_size=600,
        write_batch_size=37,
        max_rows_per_page=300,
        **request.param,
    )
    return pa.py_buffer(out.getvalue())


CONDITIONS = [
    field("float") != 7.0,
    ~(field("float") > 0),
    ~field("float").isin([1.0, 2.0]),
    field("float").is_nan(),
    field("float").isin([float("nan")]),
    (field("float") != 7.0) & (field("key") == 1_234),
    (field("float") >= 0) | ~(field("float") >= 0),
    field("key") == 1_234,
    (field("key") >= 10) & (field("key") < 20) | (field("key") > 4_990),
    field("small") == -3,
    field("unsigned") > (4_980 << 50),
    (field("float") > 0) & (field("float") < 3),
    field("float").is_null(),
    field("text") == "w00123",
    field("long text").isin(["w00001", "w00300"]),
    field("words") == "w00200",
    ~field("flag"),
    field("day") == date(1975, 1, 1),
    field("time") <= datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC),
    field("seconds") == pa.scalar(3_600, pa.timestamp("s")),
    field("price") == Decimal("12.34"),
    field("nothing") > 1,
    field("nothing").is_null() & (field("key") < 5),
    field("gaps") == 3_500,
    field("gaps").is_valid() & (field("key") < 3_010),
    (field("key") > 1_000) & (field("text") < "w00100"),
    field("key") < 0,
    pc.list_value_length(field("list")) > 1,
]
PICKS = [range(5), range(2_090, 2_110), [0, 7, 8, 2_500, 4_999], range(4_999, 5_000), range(0, 5_000, 450)]


def read(block: pa.Buffer, rows: Any, names: list[str] | None, condition: Any) -> pa.Table | None:
    plan = page_selection.plan(block, rows, names, condition)
    return None if plan is None else page_selection.read(block, plan, checked=True, long_text=False)


def test_chosen_rows_are_those_of_the_whole_table(block: pa.Buffer) -> None:
    whole = pq.read_table(pa.BufferReader(block))
    for rows in PICKS:
        for names in (None, ["key", "text"], ["list", "struct", "words"]):
            found = read(block, rows, names, None)
            assert found is not None
            wanted = whole.take(list(rows)).select(names or whole.column_names)
            assert repr(found.select(wanted.column_names).to_pylist()) == repr(wanted.to_pylist())
            assert found.schema.equals(
                whole.schema
                if names is None
                else pa.schema([whole.schema.field(each) for each in whole.column_names if each in names])
            )


def test_rows_that_pass_a_condition_are_in_the_chosen_pages(block: pa.Buffer) -> None:
    whole = pq.read_table(pa.BufferReader(block))
    for condition in CONDITIONS:
        for rows in (None, range(2_090, 2_110)):
            found = read(block, rows, None, condition)
            if found is None:  # Arrow excludes every row group
                found = whole.slice(0, 0)
            asked = whole if rows is None else whole.take(list(rows))
            wanted = asked.filter(condition)
            assert found.filter(condition)["key"].to_pylist() == wanted["key"].to_pylist(), condition
            assert found.filter(condition)["list"].to_pylist() == wanted["list"].to_pylist()


def test_fewer_pages_are_read_than_there_are(block: pa.Buffer) -> None:
    found = read(block, None, ["key", "text"], field("key") == 1_234)
    assert found is not None
    assert len(found) <= 300
    found = read(block, None, ["key", "text"], (field("float") != 7.0) & (field("key") == 1_234))
    assert found is not None
    assert len(found) <= 300
    found = read(block, None, ["key"], field("gaps") == 3_500)
    assert found is not None
    assert len(found) <= 300


def test_footer_is_written_as_it_was_read(block: pa.Buffer) -> None:
    data = footer_bytes(block)
    assert thrift.write(thrift.read(data)) == data
    for end in range(0, len(data), 97):
        with pytest.raises(ValueError, match=r"ends?|type|list|number"):
            thrift.read(data[:end])


def test_damaged_index_is_not_used(block: pa.Buffer) -> None:
    data = bytearray(block.to_pybytes())
    footer = page_selection.Footer(footer_bytes(block))
    place = footer.index_place(0, 0)
    assert place is not None
    for at in range(*place, 3):
        damaged = bytearray(data)
        damaged[at] ^= 0x15
        try:
            found = read(pa.py_buffer(bytes(damaged)), range(5), ["key"], None)
        except (pa.ArrowException, OSError):
            continue
        assert found is None or found["key"].to_pylist() == [0, 1, 2, 3, 4]
