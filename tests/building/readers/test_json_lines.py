"""Blocks of JSON lines that pyarrow parses give the values, types and errors that decoding line by line gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.building.readers import json_lines
from datapkg.building.readers.json_lines import JsonLines
from datapkg.errors import InvalidInput
from datapkg.tables.table_stream import RestartRead

ROW = {"n": 1, "f": 0.5, "b": True, "t": "x"}
# What follows lines of four plain columns.
LATER = {
    "plain": '{"n":2,"f":1e-7,"b":false,"t":"é\\u0000\\n"}',
    "integer as float": '{"n":2,"f":7,"b":true,"t":"y"}',
    "fraction among integers": '{"n":2.5,"f":7,"b":true,"t":"y"}',
    "large float": '{"n":2,"f":1e300,"b":true,"t":"y"}',
    "large integer": '{"n":9007199254740993,"f":0.5,"b":true,"t":"y"}',
    "unsigned": '{"n":18446744073709551615,"f":0.5,"b":true,"t":"y"}',
    "nulls": '{"n":null,"f":null,"b":null,"t":null}',
    "absent": "{}",
    "other order": '{"t":"z","n":3}',
    "new column": '{"n":2,"z":[1,null]}',
    "name twice": '{"n":2,"n":3}',
    "blank lines": '\n \n{"n":2}\n\n',
    "carriage return": '{"n":2}\r\n{"n":3}\r',
    "no number": '{"f":NaN}\n{"f":-Infinity}',
    "escaped name": '{"\\u006e":4}',
    "spaces": ' { "n" : 5 } ',
}
REFUSED = {
    "two records": '{"n":2}{"n":3}',
    "record over two lines": '{"n":2}{"n":\n3}',
    "text": '{"n":"2"}',
    "list": "[1]",
    "large integer among floats": '{"f":9007199254740993}',
    "not UTF-8": '{"t":"\udcff"}',
    "zero byte": '{"n":2}\0',
    "cut off": '{"n":2',
}


def read(path: Path) -> Any:
    """Return the table or the text of the error."""
    try:
        stream = JsonLines(path)
        for _ in range(3):
            try:
                return pa.concat_tables([part.table for part in stream.parts()], promote_options="none")
            except RestartRead:
                continue
    except InvalidInput as error:
        return str(error)
    raise AssertionError("it starts again and again")


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Return what is read with pyarrow's parser, and without it."""
    monkeypatch.setattr(json_lines, "_READ_BYTES", 512)
    quick = read(path)
    monkeypatch.setattr(json_lines, "_PARSED", ())
    return quick, read(path)


@pytest.mark.parametrize("name", LATER)
def test_later_lines_are_read_as_line_by_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, line = tmp_path / "a.jsonl", json.dumps(ROW) + "\n"
    path.write_text(line * 60 + LATER[name] + "\n" + line * 60)
    quick, slow = both(path, monkeypatch)
    assert quick.schema.equals(slow.schema, check_metadata=True)
    assert str(quick.to_pydict()) == str(slow.to_pydict())  # NaN is NaN
    assert len(quick) >= 121


@pytest.mark.parametrize("name", REFUSED)
def test_later_lines_have_the_errors_of_line_by_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, line = tmp_path / "a.jsonl", json.dumps(ROW) + "\n"
    path.write_text(line * 60 + REFUSED[name] + "\n" + line * 60, errors="surrogateescape")
    quick, slow = both(path, monkeypatch)
    assert isinstance(quick, str)
    assert quick == slow


def test_blocks_of_plain_lines_are_parsed_by_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({**ROW, "n": n}) + "\n" for n in range(5_000)))
    table = read(path)
    monkeypatch.setattr(json_lines, "_decoded", lambda *block: pytest.fail("decoded in Python"))
    blocks = list(json_lines._blocks(path))
    kinds = pa.schema(zip(table.schema.names, table.schema.types, strict=True))
    found = [json_lines._parsed(block, kinds) for block in blocks]
    assert pa.concat_tables([each for _, _, each in found]).to_pydict() == table.to_pydict()


@given(text=st.text("{}\r\n-", max_size=12).map(str.encode))
def test_line_ends_are_between_records_where_a_search_finds_them_so(text: bytes) -> None:
    data = np.frombuffer(text, np.uint8)
    expected = text.count(b"}\n{") + text.count(b"}\r\n{") == text.count(b"\n")
    assert json_lines._are_between_records(data, np.flatnonzero(data == ord("\n"))) == expected
