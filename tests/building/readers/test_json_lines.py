"""Blocks of JSON lines that pyarrow parses give the values, types and errors that decoding line by line gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapkg.building.readers import json_lines
from datapkg.building.readers.json_lines import JsonLines
from datapkg.building.readers.plain_types import plain_schema
from datapkg.building.readers.records import inferred
from datapkg.errors import InvalidInput
from datapkg.tables.table_stream import RestartRead
from tests.examples import examples

ROW = {"n": 1, "f": 0.5, "b": True, "t": "x"}
# What follows lines of four plain columns.
LATER = {
    "plain": '{"n":2,"f":1e-7,"b":false,"t":"é\\u0000\\n"}',
    "integer as float": '{"n":2,"f":7,"b":true,"t":"y"}',
    "fraction among integers": '{"n":2.5,"f":7,"b":true,"t":"y"}',
    "minus zero": '{"n":-0,"f":-0}\n{"f":-0.0}',
    "large float": '{"n":2,"f":1e300,"b":true,"t":"y"}',
    "large integer": '{"n":9007199254740993,"f":0.5,"b":true,"t":"y"}',
    "unsigned": '{"n":18446744073709551615,"f":0.5,"b":true,"t":"y"}',
    "nulls": '{"n":null,"f":null,"b":null,"t":null}',
    "absent": "{}",
    "other order": '{"t":"z","n":3}',
    "new column": '{"n":2,"z":[1,null]}',
    "blank lines": '\n \n{"n":2}\n\n',
    "carriage return": '{"n":2}\r\n{"n":3}\r',
    "no number": '{"f":NaN}\n{"f":-Infinity}',
    "escaped name": '{"\\u006e":4}',
    "spaces": ' { "n" : 5 } ',
}
REFUSED = {
    "name twice": '{"n":2,"n":3}',
    "two records": '{"n":2}{"n":3}',
    "record over two lines": '{"n":2}{"n":\n3}',
    "text": '{"n":"2"}',
    "list": "[1]",
    "large integer among floats": '{"f":9007199254740993}',
    "not UTF-8": '{"t":"\udcff"}',
    "zero byte": '{"n":2}\0',
    "cut off": '{"n":2',
}


NESTED = {"s": {"a": 1, "b": 0.5, "c": {"d": "x"}}, "l": [1.5, 2], "r": [{"p": "y", "q": [True]}], "n": None}
# What follows lines with lists and objects in them.
NESTED_LATER = {
    "nulls": '{"s":null,"l":null,"r":null}',
    "absent below": '{"s":{"b":1},"r":[{},null,{"q":null}]}',
    "empty": '{"s":{},"l":[],"r":[]}',
    "other order": '{"r":[{"q":[],"p":"z"}],"s":{"c":{"d":null},"a":2}}',
    "new name": '{"s":{"a":1,"z":2}}',
    "name twice": '{"s":{"a":1,"a":2}}',
    "name twice in a list": '{"r":[{"p":"a"},{"p":"b","p":"c"}]}',
    "fraction among integers": '{"s":{"a":1.0}}',
    "large integer": '{"s":{"a":9007199254740993}}',
    "unsigned": '{"s":{"a":18446744073709551615}}',
    "large float": '{"l":[1e300]}',
    "minus zero": '{"l":[-0,-0.0],"s":{"a":-0}}',
    "no number": '{"l":[NaN]}',
    "escaped name": '{"\\u0073":{"\\u0061":4}}',
    "no longer null": '{"n":[1]}',
    "object over two lines": '{"n":[{"a":1}\n,{"a":1}]}',
    "text": '{"s":{"a":"1"}}',
    "number for text": '{"s":{"c":{"d":1}}}',
    "boolean for number": '{"l":[true]}',
    "list for object": '{"s":[1]}',
    "object for list": '{"r":{"p":"y"}}',
    "text for object": '{"r":["x"]}',
    "large integer among floats": '{"l":[9007199254740993]}',
    "two values": '{"l":[1 2]}',
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


def are_same(quick: Any, slow: Any) -> bool:
    """Return whether two results have equal types, metadata and values, NaN and -0.0 included, or equal errors."""
    if isinstance(quick, str) or isinstance(slow, str):
        return bool(quick == slow)
    return quick.schema.equals(slow.schema, check_metadata=True) and str(quick.to_pydict()) == str(slow.to_pydict())


@pytest.mark.parametrize("name", LATER)
def test_later_lines_are_read_as_line_by_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, line = tmp_path / "a.jsonl", json.dumps(ROW) + "\n"
    path.write_text(line * 60 + LATER[name] + "\n" + line * 60)
    quick, slow = both(path, monkeypatch)
    assert are_same(quick, slow)
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


@pytest.mark.parametrize("name", NESTED_LATER)
def test_nested_lines_are_read_as_line_by_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, line = tmp_path / "a.jsonl", json.dumps(NESTED) + "\n"
    path.write_text(line * 60 + NESTED_LATER[name] + "\n" + line * 60)
    quick, slow = both(path, monkeypatch)
    assert are_same(quick, slow)


NUMBERS = st.integers(-9, 9) | st.sampled_from([0.5, -0.0, 2.0**53 + 1, 1e300])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text('a\0"\n{}é', max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=6,
)


LARGE = st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, [2**53 + 1, 0.5]])


@settings(max_examples=examples(40, 2_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=VALUES, later=VALUES, at=st.integers(0, 40))
def test_values_of_any_form_are_read_as_line_by_line(tmp_path: Path, first: Any, later: Any, at: int) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"x": first, "y": {"z": [first]}}] * 40
    rows.insert(at, {"x": later, "y": {"z": [later, first]}})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        assert are_same(*both(path, patch))


@settings(max_examples=examples(100, 3_000), deadline=None)
@given(records=st.lists(st.dictionaries(st.sampled_from("xyz"), VALUES | LARGE, max_size=3), min_size=1, max_size=4))
def test_types_of_plain_records_are_those_that_arrow_infers(records: list[dict[str, Any]]) -> None:
    quick = plain_schema(records)
    if quick is not None:
        assert quick.equals(inferred(records), check_metadata=True)


def test_types_of_plain_records_are_found() -> None:
    assert plain_schema([ROW, {**NESTED, "n": 1}]) is not None


def test_plain_lines_are_built_without_pandas(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(ROW | NESTED)}\n" * 60_000)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from datapkg.api.build import build_package\n"
        "from datapkg.format.names import Ref\n"
        "from datapkg.home import Home\n"
        f"home = Home({{'DATAPKG_HOME': {str(tmp_path / 'home')!r}}})\n"
        f"build_package(home, Ref('me', 't'), Path({str(path)!r}))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_blocks_of_nested_lines_are_parsed_by_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(NESTED)}\n" * 5_000)
    kinds = read(path).schema.remove_metadata()
    monkeypatch.setattr(json_lines, "_decoded", lambda *block: pytest.fail("decoded in Python"))
    assert all(json_lines._parsed(block, kinds)[2] is not None for block in json_lines._blocks(path))


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
