"""The content of a table is a function of its values: not of writer, chunks, encoding or library."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from datapkg.errors import InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.model import Block, TableNode
from datapkg.tables.block_boundaries import MAX_ROWS, MIN_ROWS, cut_batches, min_rows
from datapkg.tables.content_claims import claim_difference
from datapkg.tables.content_hash import (
    block_digests,
    content_hash,
    content_of_objects,
    content_of_parts,
    content_of_table,
)
from datapkg.tables.pandas_metadata import remember_categories
from datapkg.tables.type_names import type_text
from tests.examples import examples

GOLDEN = Path(__file__).parent.parent / "golden" / "content.json"


def cut_table(table: pa.Table) -> list[pa.Table]:
    return list(cut_batches([table], table.schema))


def content(table: pa.Table) -> str:
    return content_of_table(table).hash


def written(table: pa.Table, **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    sink.seek(0)
    return sink


def column(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"x": values if isinstance(values, pa.Array) else pa.array(values, kind)})


NAN_WITH_PAYLOAD = np.frombuffer(np.array([0xFFF8000000000123], "<u8").tobytes(), "<f8")[0]
GOLDEN_TABLES: dict[str, pa.Table] = {
    "no rows": pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())}),
    "whole numbers": pa.table(
        {kind: pa.array([0, 1, None, 100], kind) for kind in ("int8", "int16", "int32", "int64")}
    ),
    "unsigned": pa.table({kind: pa.array([0, 1, None, 200], kind) for kind in ("uint8", "uint16", "uint32", "uint64")}),
    "floats": column([0.0, -0.0, float("nan"), NAN_WITH_PAYLOAD, float("inf"), None, 1e-300]),
    "float32": column([0.5, -0.0, float("nan"), None], pa.float32()),
    "half": column(pa.array(np.array([0.5, -0.0, np.nan], "f2"))),
    "booleans": column([True, False, None, True, True, False, None, True, False]),
    "text": column(["", "a", None, "日本", "a\0b", "é"]),
    "binary": column([b"", b"\xff\x00", None]),
    "fixed binary": column([b"ab", None, b"cd"], pa.binary(2)),
    "null": column(pa.nulls(3)),
    "dates": column([datetime.date(2024, 2, 29), None, datetime.date(1969, 12, 31)]),
    "times": column([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
    "timestamps": pa.table(
        {
            "naive": pa.array([1, None, -1], pa.timestamp("us")),
            "zoned": pa.array([1, None, -1], pa.timestamp("ns", "Europe/Berlin")),
            "offset": pa.array([1, None, -1], pa.timestamp("ms", "+01:00")),
        }
    ),
    "durations": column([1, None, -1], pa.duration("us")),
    "decimals": pa.table(
        {
            "narrow": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-9.99")], pa.decimal128(10, 2)),
            "wide": pa.array([decimal.Decimal(10) ** 50, None, decimal.Decimal(-1)], pa.decimal256(60, 0)),
        }
    ),
    "lists": column([[1, None, 3], [], None, [4]], pa.list_(pa.int64())),
    "fixed lists": column([[1, 2], None, [None, 4]], pa.list_(pa.int16(), 2)),
    "structs": column([{"a": 1, "b c": "x"}, None, {"a": None, "b c": "y"}]),
    "maps": column([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int32())),
    "deep": column(
        [[{"a": [["x"], []]}], None, [None, {"a": None}]], pa.list_(pa.struct([("a", pa.list_(pa.list_(pa.string())))]))
    ),
    "categories": column(pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], pa.int8()), ["b", "a", "unused"])),
    "ordered categories": column(pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), [3, 1, 2], ordered=True)),
    "odd names": pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["", "a", "a"]),
    "several blocks": pa.table({"i": pa.array(range(200_000)), "t": pa.array([f"row {i}" for i in range(200_000)])}),
}


def test_golden() -> None:
    golden = json.loads(GOLDEN.read_text())
    found = {
        name: {"content": content(table), "columns": [list(pair) for pair in content_of_table(table).columns]}
        for name, table in GOLDEN_TABLES.items()
    }
    assert found == golden


def test_every_golden_content_is_another() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert len({each["content"] for each in golden.values()}) == len(golden)


def test_a_digest_is_what_the_text_says() -> None:
    """One column worked out by hand: validity, lengths, values."""
    (digest,) = block_digests(column(["ab", None, ""]))
    parts = (b"\1\0\1", np.array([2, 0], "<i8").tobytes(), b"ab")
    assert digest == hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


@pytest.mark.parametrize("name", GOLDEN_TABLES)
def test_another_writer_gives_the_same(name: str) -> None:
    table = remember_categories(GOLDEN_TABLES[name])
    for options in ({}, {"row_group_size": 7}, {"compression": "zstd", "use_dictionary": False, "version": "2.6"}):
        if name == "categories" and options:
            continue  # what is written without its dictionary has lost the category that is not used
        assert content_of_objects([written(table, **options)]).hash == content(table)


@pytest.mark.parametrize("name", GOLDEN_TABLES)
def test_chunks_do_not_count(name: str) -> None:
    table = GOLDEN_TABLES[name]
    padded = pa.concat_tables([table.slice(0, 1), table, table.slice(0, 2)])
    sliced = padded.combine_chunks().slice(min(1, len(table)), len(table))
    assert content(sliced) == content(table)
    chunked = pa.concat_tables(
        [table.slice(start, 3) for start in range(0, min(len(table), 30), 3)] + [table.slice(30)]
    )
    assert content(chunked) == content(table)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.large_string()),
        (pa.string(), pa.string_view()),
        (pa.binary(), pa.large_binary()),
        (pa.binary(), pa.binary_view()),
        (pa.list_(pa.string()), pa.large_list(pa.large_string())),
        (pa.list_(pa.string()), pa.list_(pa.string_view())),
        (pa.list_(pa.field("item", pa.string())), pa.list_(pa.field("element", pa.string(), nullable=False))),
        (pa.decimal128(9, 2), pa.decimal32(9, 2)),
        (pa.decimal128(9, 2), pa.decimal256(9, 2)),
    ],
)
def test_encodings_of_one_type_are_one(one: pa.DataType, other: pa.DataType) -> None:
    values: list[Any] = ["a", None, "", "longer than twelve bytes"]
    if pa.types.is_decimal(one):
        values = [decimal.Decimal("1.25"), None]
    elif not pa.types.is_string(one) and not pa.types.is_binary(one):
        values = [["a", None], None, [], ["longer than twelve bytes"]]
    elif pa.types.is_binary(one):
        values = [None if value is None else value.encode() for value in values]
    assert content(column(values, one)) == content(column(values, other))


def test_values_of_no_width() -> None:
    assert content(column([b"", None], pa.binary(0))) != content(column([None, b""], pa.binary(0)))


def test_run_ends_and_nested_dictionaries_are_encodings() -> None:
    plain = column([1, 1, None, 2])
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 4], pa.int32()), pa.array([1, None, 2]))
    assert content(column(runs)) == content(plain)
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 3]), pa.array(["a", "b", "a"]).dictionary_encode())
    assert content(column(nested)) == content(column([["a"], ["b", "a"]]))


def test_null_slots_do_not_count() -> None:
    """Bytes under nulls, and of lists that are null, differ; the values do not."""
    valid = pa.py_buffer(b"\x05")
    one, other = (
        pa.Array.from_buffers(pa.int64(), 3, [valid, pa.py_buffer(np.array(v, "<i8"))]) for v in ([1, 7, 3], [1, 8, 3])
    )
    assert content(column(one)) == content(column(other))
    offsets = pa.py_buffer(np.array([0, 1, 3, 4], "<i4"))
    lists = [
        pa.Array.from_buffers(pa.list_(pa.int64()), 3, [valid, offsets], children=[pa.array(v)])
        for v in ([1, 7, 7, 3], [1, 8, 9, 3])
    ]
    assert content(column(lists[0])) == content(column(lists[1])) == content(column([[1], None, [3]]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (column([1]), column([1], pa.int32())),
        (column([1]), column([1.0])),
        (column([float("nan")]), column([None], pa.float64())),
        (column(["", "ab"]), column(["a", "b"])),
        (column(["a", None]), column(["a", ""])),
        (column([[1], [2, 3]]), column([[1, 2], [3]])),
        (column([[], None], pa.list_(pa.int8())), column([None, []], pa.list_(pa.int8()))),
        (column([1]), pa.table({"y": [1]})),
        (column(["a"]), column(pa.array(["a"]).dictionary_encode())),
        (column([0], pa.timestamp("us")), column([0], pa.timestamp("us", "UTC"))),
        (column([0], pa.timestamp("us", "Etc/UTC")), column([0], pa.timestamp("us", "UTC"))),
        (column([{"a": None}]), column([None], pa.struct([("a", pa.null())]))),
        (column([b"a"]), column(["a"])),
    ],
)
def test_other_values_have_another_content(one: pa.Table, other: pa.Table) -> None:
    assert content(one) != content(other)


def test_categories_order_and_unused_ones_count() -> None:
    codes = pa.array([0, 1], pa.int8())
    seen = {
        content(column(pa.DictionaryArray.from_arrays(codes, ["a", "b"]))),
        content(column(pa.DictionaryArray.from_arrays(codes, ["a", "b", "c"]))),
        content(column(pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), ["b", "a"]))),
        content(column(pa.DictionaryArray.from_arrays(codes, ["a", "b"], ordered=True))),
    }
    assert len(seen) == 4
    wide = pa.DictionaryArray.from_arrays(codes.cast(pa.int64()), pa.array(["a", "b"], pa.large_string()))
    assert content(column(wide)) in seen
    null_category = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    null_position = pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array(["a", None]))
    assert content(column(null_category)) == content(column(null_position))


def test_the_frame_counts_and_a_default_one_does_not() -> None:
    table = pa.table({"a": [1, 2]})
    default = {
        "index_columns": [{"kind": "range", "name": None, "start": 0, "stop": 2, "step": 1}],
        "pandas_version": "9",
    }
    same = [{}, default, {**default, "index_columns": [], "creator": {"library": "x"}, "attributes": {}}]
    for description in same:
        assert content(table.replace_schema_metadata({"pandas": json.dumps(description)})) == content(table)
    assert content(table.replace_schema_metadata({"pandas": "not JSON {"})) == content(table)
    assert content(table.replace_schema_metadata({"org.apache.spark.version": "3"})) == content(table)
    others = [
        {"index_columns": ["a"]},
        {"index_columns": [{"kind": "range", "name": None, "start": 5, "stop": 7, "step": 1}]},
        {"columns": [{"name": 1, "field_name": "a", "numpy_type": "int64"}]},
        {"columns": [{"name": "a", "field_name": "a", "numpy_type": "Int64"}]},
        {"column_indexes": [{"name": "level", "pandas_type": "unicode"}]},
        {"attributes": {"unit": "m"}},
    ]
    found = {content(table.replace_schema_metadata({"pandas": json.dumps(each)})) for each in others}
    assert len(found | {content(table)}) == len(others) + 1
    assert content(table.replace_schema_metadata({"geo": "{}"})) != content(table)


def test_dictionaries_of_several_objects_are_one() -> None:
    """A reader joins the categories of all objects; so does the content."""
    first = column(pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["a", "b"]))
    second = column(pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["b", "c"]))
    joined = pa.concat_tables([first, second]).unify_dictionaries()
    assert content_of_objects([written(first), written(second)]).hash == content(joined)


def test_objects_are_recut() -> None:
    table = GOLDEN_TABLES["several blocks"]
    expected = content(table)
    parts = [table.slice(start, 70_000) for start in range(0, 200_000, 70_000)]
    found = content_of_objects([written(part) for part in parts])
    assert (found.hash, found.rows, found.columns) == (expected, 200_000, [("i", "int64"), ("t", "string")])


def test_content_hash_is_a_function_of_schema_rows_and_digests() -> None:
    table = column([1, 2, 3])
    assert content_hash(table.schema, [3], [block_digests(table)]) == content(table)
    assert content_hash(table.schema, [3], [block_digests(column([1, 2, 4]))]) != content(table)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.float64(), "double"),
        (pa.float16(), "half"),
        (pa.large_string(), "string"),
        (pa.timestamp("us"), "timestamp[us]"),
        (pa.timestamp("ns", "Europe/Berlin"), "timestamp[ns, tz=Europe/Berlin]"),
        (pa.timestamp("ns", "a], b"), 'timestamp[ns, tz="a], b"]'),
        (pa.time32("ms"), "time[ms]"),
        (pa.decimal256(9, 2), "decimal(9, 2)"),
        (
            pa.large_list(pa.struct([("a b", pa.int8()), ("c", pa.string_view())])),
            'list<struct<"a b": int8, c: string>>',
        ),
        (pa.list_(pa.int8(), 3), "fixed_size_list<int8>[3]"),
        (pa.map_(pa.string(), pa.list_(pa.date32())), "map<string, list<date32>>"),
        (pa.dictionary(pa.int8(), pa.large_string(), ordered=True), "dictionary<string, ordered>"),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), "list<string>"),
        (pa.uuid(), 'extension<"arrow.uuid", "", fixed_size_binary[16]>'),
    ],
)
def test_type_text(kind: pa.DataType, text: str) -> None:
    assert type_text(kind) == text


def test_an_extension_reads_the_same_registered_or_not() -> None:
    metadata = {"ARROW:extension:name": "arrow.uuid", "ARROW:extension:metadata": ""}
    assert type_text(pa.field("x", pa.binary(16), metadata=metadata)) == type_text(pa.field("x", pa.uuid()))


def test_types_that_no_table_keeps_are_rejected() -> None:
    for kind in (pa.month_day_nano_interval(), pa.dense_union([pa.field("a", pa.int8())]), pa.list_view(pa.int8())):
        with pytest.raises(InvalidInput, match="cannot keep"):
            type_text(kind)


FLAT = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), st.integers(0, 255)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=20)),
    (pa.binary(), st.binary(max_size=20)),
    (pa.date32(), st.dates()),
    (pa.decimal128(20, 3), st.decimals(-(10**16), 10**16, places=3)),
]


def columns(depth: int = 2) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    flat = st.sampled_from(FLAT)
    if not depth:
        return flat
    below = columns(depth - 1)
    lists = below.map(lambda pair: (pa.list_(pair[0]), st.lists(pair[1] | st.none(), max_size=4)))
    fixed = below.map(lambda pair: (pa.list_(pair[0], 2), st.lists(pair[1] | st.none(), min_size=2, max_size=2)))
    structs = st.tuples(below, below).map(
        lambda two: (
            pa.struct([("a", two[0][0]), ("b", two[1][0])]),
            st.fixed_dictionaries({"a": two[0][1] | st.none(), "b": two[1][1] | st.none()}),
        )
    )
    maps = below.map(
        lambda pair: (
            pa.map_(pa.string(), pair[0]),
            st.lists(st.tuples(st.text(max_size=3), pair[1] | st.none()), max_size=3),
        )
    )
    return flat | lists | fixed | structs | maps


@settings(max_examples=examples(40, 150), deadline=None)
@given(st.data())
def test_any_values_in_any_pieces(data: st.DataObject) -> None:
    kind, values = data.draw(columns())
    rows = data.draw(st.lists(values | st.none(), max_size=12))
    whole = column(rows, kind)
    expected = content(whole)
    cut = data.draw(st.integers(0, len(rows)))
    assert content(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == expected
    padding = data.draw(st.lists(values | st.none(), max_size=9))
    assert content(column(padding + rows + padding, kind).slice(len(padding), len(rows))) == expected
    nothing_new = column([*rows, *rows], kind).take(pa.array(range(len(rows)), pa.int64()))
    assert content(nothing_new) == expected
    if not pa.types.is_fixed_size_list(kind) and "fixed_size_list" not in str(kind):
        assert content_of_objects([written(whole, row_group_size=5)]).hash == expected


def test_blocks_have_bounded_rows_and_follow_the_values() -> None:
    rng = np.random.default_rng(7)
    table = pa.table({"k": rng.integers(0, 2**62, 600_000), "v": rng.normal(size=600_000)})
    blocks = cut_table(table)
    assert all(MIN_ROWS <= len(block) <= MAX_ROWS for block in blocks[:-1])
    assert pa.concat_tables(blocks).equals(table)
    first = [hashlib.sha256(str(block_digests(block)).encode()).digest() for block in blocks]
    inserted = pa.concat_tables([table.slice(0, 300_000), table.slice(5, 1), table.slice(300_000)])
    again = {hashlib.sha256(str(block_digests(block)).encode()).digest() for block in cut_table(inserted)}
    assert len(set(first) - again) <= 2
    wider = cut_table(table.append_column("new", pa.array(rng.normal(size=600_000))))
    assert [len(block) for block in wider] == [len(block) for block in blocks]


def test_blocks_do_not_depend_on_the_parts_they_come_in() -> None:
    table = GOLDEN_TABLES["several blocks"]
    expected = [len(block) for block in cut_table(table)]
    for rows in (1_000, 65_536, 150_000):
        parts = [table.slice(start, rows) for start in range(0, len(table), rows)]
        assert [len(block) for block in cut_batches(parts, table.schema)] == expected


def test_equal_rows_are_cut_too() -> None:
    blocks = cut_table(pa.table({"k": pa.array([1] * (3 * MAX_ROWS)), "n": pa.nulls(3 * MAX_ROWS)}))
    assert sum(map(len, blocks)) == 3 * MAX_ROWS
    assert all(MIN_ROWS <= len(block) <= MAX_ROWS for block in blocks[:-1])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int8()),
        pa.null(),
        pa.struct([("a", pa.int8())]),
        pa.decimal128(5, 2),
        pa.binary(3),
        pa.time64("ns"),
        pa.float16(),
    ],
)
def test_any_type_may_lead(kind: pa.DataType) -> None:
    table = pa.table({"a": pa.nulls(MIN_ROWS + 10, kind), "b": pa.array([str(i) for i in range(MIN_ROWS + 10)])})
    assert sum(map(len, cut_table(table))) == MIN_ROWS + 10


def test_blocks_of_wide_tables_have_fewer_rows() -> None:
    assert [min_rows(each) for each in (1, 128, 129, 256, 257, 2_000, 100_000)] == [
        *(32_768, 32_768, 4_096, 4_096, 2_048, 512, 32)
    ]
    rng = np.random.default_rng(7)
    columns = {f"c{at}": rng.integers(0, 2**62, 12_000).astype("int64") for at in range(3)}
    columns |= {f"n{at}": np.zeros(12_000, "int8") for at in range(700)}
    table = pa.table(columns)
    least = min_rows(table.num_columns)
    blocks = cut_table(table)
    assert all(least <= len(block) <= 8 * least for block in blocks[:-1])
    assert len(blocks) > 2
    for rows in (700, 5_000):
        parts = [table.slice(start, rows) for start in range(0, len(table), rows)]
        assert [len(block) for block in cut_batches(parts, table.schema)] == [len(block) for block in blocks]
    inserted = pa.concat_tables([table.slice(0, 6_000), table.slice(5, 1), table.slice(6_000)])
    again = {block_digests(block)[0] for block in cut_table(inserted)}
    assert len({block_digests(block)[0] for block in blocks} - again) <= 2


def test_wide_table_that_was_cut_like_others_is_still_what_its_manifest_states() -> None:
    table = pa.table({f"c{at}": np.arange(20_000) * (at + 1) for at in range(130)})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    old = content_of_parts([table], table.schema, as_narrow=True)
    assert old.hash != content_of_table(table).hash
    block = Block(hash=hash_bytes(stream.getvalue()), rows=20_000, size=len(stream.getvalue()))
    node = TableNode(path="t", columns=old.columns, content=old.hash, rows=20_000, blocks=[block])
    assert claim_difference(node, [lambda: io.BytesIO(stream.getvalue())]) == ""
    other = TableNode(path="t", columns=old.columns, content="c1:" + "0" * 64, rows=20_000, blocks=[block])
    assert "the objects hold c1:" in claim_difference(other, [lambda: io.BytesIO(stream.getvalue())])
