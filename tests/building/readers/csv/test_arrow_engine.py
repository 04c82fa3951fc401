"""The stream of the Arrow engine as its consumer sees it: order, offsets, restarts, inferred types."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datapkg.building.readers.csv.arrow_engine import ArrowTextStream, BlockSizeControl
from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.building.readers.csv.engines import WholeStream
from datapkg.building.readers.csv.record_splitter import Text
from datapkg.errors import InvalidInput
from datapkg.objects import threads
from datapkg.tables.table_stream import RestartRead, TableStream, TextStream
from tests.building.readers.csv.engines import EngineDeclined, all_of, by_pandas, difference, fast, fast_stream

ROWS = "".join(f'{i},{i / 4},"t, {i}"\n' for i in range(200))


def written(folder: Path, body: str) -> Path:
    path = folder / "data.csv"
    path.write_text(body)
    return path


def test_parts_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n" + ROWS)
    parts = [
        [(part.start, part.stop, part.table) for part in fast_stream(path, {}, 200, workers).parts()]
        for workers in (1, 2, 7)
    ]
    assert parts[0] == parts[1] == parts[2]
    assert len(parts[0]) > 10


def test_stream_is_a_text_stream(tmp_path: Path) -> None:
    stream = fast_stream(written(tmp_path, "a,b,c\n" + ROWS), {})
    assert isinstance(stream, TextStream)
    assert isinstance(stream, TableStream)
    assert (stream.first, stream.size) == (6, len("a,b,c\n" + ROWS))


def test_choices_depend_on_header_and_kwargs_only(tmp_path: Path) -> None:
    choices = fast_stream(written(tmp_path, "a,b\n1,2\n"), {}).choices
    assert fast_stream(written(tmp_path, "a,b\n3,x\n"), {}).choices == choices
    assert fast_stream(written(tmp_path, "a,c\n1,2\n"), {}).choices != choices
    assert fast_stream(written(tmp_path, "a,b\n1,2\n"), {"na_values": ["x"]}).choices != choices


def test_row_offsets(tmp_path: Path) -> None:
    body = 'a,b\n1,x\n\n2,"y\n\nz"\r\n\r\n3,w\n4,v'
    stream = fast_stream(written(tmp_path, body), {}, 1000)
    part = next(iter(stream.parts()))
    assert [part.offset(row) for row in range(4)] == [body.index(each) for each in ("1,x", "2,", "3,w", "4,v")]
    assert (part.start, part.stop) == (4, len(body))


def test_rows_of_malformed_text_have_no_offset(tmp_path: Path) -> None:
    part = next(iter(fast_stream(written(tmp_path, "a,b\n1,x\n2\n3,y\n"), {}, 1000).parts()))
    assert (part.start, part.stop, part.offset(1)) == (-1, -1, None)


def test_reading_can_start_at_any_row(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n" + ROWS)
    stream = fast_stream(path, {}, 300)
    expected = by_pandas(path, {})
    parts = list(stream.parts())
    row = 0
    for part in parts:
        start = part.offset(1)
        assert start is not None
        rest = pa.concat_tables(each.table for each in stream.parts(start))
        assert rest.equals(expected.slice(row + 1))
        row += len(part.table)


def test_close_ends_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended, work = [], [], threads._work

    def counted(queue: Any) -> None:
        begun.append(queue)
        work(queue)
        ended.append(queue)

    monkeypatch.setattr(threads, "_work", counted)
    parts = fast_stream(written(tmp_path, "a,b,c\n" + ROWS), {}, 50).parts()
    next(parts)
    parts.close()
    assert begun
    for _ in range(1000):  # a moment later
        if len(ended) == len(begun):
            break
        time.sleep(0.01)
    assert len(ended) == len(begun)


def test_type_mismatch_restarts_the_read_once(tmp_path: Path) -> None:
    """The second pass uses the types of the whole file, though several columns mismatch at several offsets."""
    body = "a,b,c,d\n" + "1,1,1,\n" * 30 + "1.5,1,x,\n" + "1,True,1,\n" * 30 + "1,,1,9\n"
    path = written(tmp_path, body)
    stream = fast_stream(path, {}, 50)
    with pytest.raises(RestartRead):
        list(stream.parts())
    found = pa.concat_tables(part.table for part in stream.parts())
    assert difference(found, by_pandas(path, {})) == ""


def test_type_mismatch_after_an_offset_reads_the_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n" + "1\n" * 50 + "2.5\n" + "1\n" * 50 + "x\n")
    stream = fast_stream(path, {}, 20)
    with pytest.raises(RestartRead):
        list(stream.parts(102))
    assert stream.schema.field("a").type == pa.string()


def test_file_that_changes_while_read_is_rejected(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n" + "1\n" * 50 + "1.5\n")
    stream = fast_stream(path, {}, 20)
    with pytest.raises(RestartRead):
        list(stream.parts())
    path.write_text("a\n" + "1\n" * 50 + "x\n")
    with pytest.raises(InvalidInput, match="changed"):
        list(stream.parts())


def test_slower_engine_takes_over(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n" + "1\n" * 50 + f"{2**63}\n")
    layout = detect_dialect(path.read_bytes(), {})
    assert layout is not None
    reasons: list[str] = []

    def slower(reason: str) -> TableStream:
        reasons.append(reason)
        return WholeStream(by_pandas(path, {}))

    stream = ArrowTextStream(Text(path), layout, slower, BlockSizeControl(20))
    assert difference(all_of(stream), by_pandas(path, {})) == ""
    assert reasons == ["an integer beyond 64 bits"]
    assert not stream.fits(stream.needs(by_pandas(path, {}), 2, 10))
    stream.assume(("int",))
    assert stream.schema.field("a").type == pa.uint64()


CASES: list[tuple[str, dict[str, Any]]] = [
    ("a,b,c,d\n" + "1,1.5,x,True\n" * 5 + ",,,\n", {}),
    ("a,b,c\n" + "1,2.0,12\n" * 5 + ",3.0,x\n", {}),
    ("a,b\n1,\n2,\n", {}),
    ("a,b\n1,\n,2\n", {"dtype": {"a": "int", "b": "Int64"}}),
    ("a,b\n1,x\n2,y\n", {"dtype": "str"}),
]


@pytest.mark.parametrize(("body", "kwargs"), CASES)
def test_joined_needs_of_blocks_equal_the_schema(tmp_path: Path, body: str, kwargs: dict[str, Any]) -> None:
    """Join the needs of one-row blocks, as a cache of the file stores them; a new stream may assume the result."""
    path = written(tmp_path, body)
    stream = fast_stream(path, kwargs, 1000)
    part = _read(stream)[0]
    needs: tuple[str, ...] | None = None
    places = [part.offset(row) for row in range(len(part.table))] + [part.stop]
    for row, (start, stop) in enumerate(pairwise(places)):
        assert start is not None
        assert stop is not None
        found = stream.needs(part.table.slice(row, 1), start, stop)
        needs = found if needs is None else stream.joined(needs, found)
    assert needs is not None
    assert stream.fits(needs)
    again = fast_stream(path, kwargs, 10)
    again.assume(needs)
    assert again.schema.equals(stream.schema, check_metadata=True)
    assert difference(pa.concat_tables(part.table for part in again.parts()), part.table) == ""


def _read(stream: ArrowTextStream) -> list[Any]:
    try:
        return list(stream.parts())
    except RestartRead:
        return list(stream.parts())


def test_assumed_types_may_be_too_wide_or_too_narrow(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n" + "1,2\n" * 20 + "x,3\n")
    wide = fast_stream(path, {}, 30)
    wide.assume(("text", "float"))
    table = pa.concat_tables(part.table for part in wide.parts())
    assert table.schema.types == [pa.string(), pa.float64()]
    assert not wide.fits(("text", "int"))
    narrow = fast_stream(path, {}, 30)
    narrow.assume(("int", "text"))
    assert difference(all_of(narrow), by_pandas(path, {})) == ""
    narrow.assume(())
    assert difference(all_of(narrow), by_pandas(path, {})) == ""


def test_integers_beyond_64_bits_fit_no_types(tmp_path: Path) -> None:
    """Integers beyond 64 bits before the first text make missing values text too; one block cannot show that."""
    path = written(tmp_path, "a,b\nx,1.5\n99999999999999999999,1e30\n")
    stream = fast_stream(path, {}, 1000)
    part = next(iter(stream.parts()))
    start = part.offset(1)
    assert start is not None
    needs = stream.needs(part.table.slice(1, 1), start, part.stop)
    assert needs == ("?", "?")
    assert not stream.fits(stream.joined(("text", "float"), needs))


def test_field_longer_than_a_piece(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\n1,"' + "x\n" * 500 + '"\n2,y\n')
    assert difference(fast(path, {}, 10), by_pandas(path, {})) == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a,b\n1,2\n" * 3 + '4,"x\n', "does not end"),
        ("a,b\n1,2\n3,4,5\n", "Expected 2 fields"),
        ("a\r\n1\r 2\r\n3\r\n", "carriage return"),
    ],
)
def test_texts_left_to_pandas(tmp_path: Path, body: str, reason: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(body.encode())
    with pytest.raises(EngineDeclined, match=reason):
        fast(path, {}, 5)
