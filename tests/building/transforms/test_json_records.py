"""What JSON files become: records are tables of what JSON says, everything else is a file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas
import pytest

from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write


def test_records_keep_the_values_of_json(tmp_path: Path) -> None:
    records = [
        {"zip": "01234", "n": 2**60 + 1, "when": "2024-01-02", "ok": True, "x": 1, "tags": ["a", None], "in": {"a": 1}},
        {"zip": None, "n": None, "ok": None, "x": 2.5, "late": "é"},
    ]
    write(tmp_path, {"a.json": json.dumps(records)})
    bench = Bench()
    built = bench.build(tmp_path / "a.json")
    assert kinds(built) == {"a": "table"}
    table = bench.table(built, "a")
    assert table.to_pylist() == [{**dict.fromkeys(table.column_names), **record} for record in records]
    frame = bench.frame(built, "a")
    assert frame["n"].tolist() == [2**60 + 1, pandas.NA]
    assert [str(frame[name].dtype) for name in ("n", "ok", "x", "zip")] == ["Int64", "boolean", "float64", "str"]


def test_lines_are_records(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a.jsonl": '{"a": 1}\n\n{"b": "x"}\r\n', "b.ndjson": '{"a": 1}', "c.jsonl.gz": gzip.compress(b'{"a": 2}')},
    )
    bench = Bench()
    built = bench.build(tmp_path)
    assert kinds(built) == dict.fromkeys(("a", "b", "c"), "table")
    assert bench.table(built, "a").to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert bench.table(built, "c").to_pylist() == [{"a": 2}]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("[{}, 1", "table"),
        (' \n [ \t{"a": 1}]', "table"),
        ("\ufeff[{}]", "table"),
        ("{}", "file"),
        ("[]", "file"),
        ("[1]", "file"),
        ("", "file"),
        ('"[{"', "file"),
        (b"\xff\xfe[", "file"),
    ],
)
def test_a_json_file_is_a_table_if_it_begins_as_records(tmp_path: Path, body: str | bytes, kind: str) -> None:
    from datapkg.building.directory import scan_directory

    write(tmp_path, {"a.json": body})
    (node,) = scan_directory(tmp_path).nodes
    assert (node.path, node.transform) == (("a", "json") if kind == "table" else ("a.json", "id"))


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.json", "[{", "Expecting"),
        ("a.json", '[{"a": 1}, 2]', "record 2 is no record"),
        ("a.json", '[{"a": 1}, {"a": "x"}]', "column 'a' holds values of several types: int, str"),
        ("a.json", "[{}]", "no column"),
        ("a.json", '[{"a": {}}]', "no child field"),
        ("a.json", f'[{{"a": {10**30}}}]', "column 'a'"),
        ("a.json", '[{"a":' + "[" * 100_000, "recursion|nest"),
        ("a.jsonl", '{"a": 1}\n{"a"\n', "line 2 is no JSON"),
        ("a.jsonl", "[1]\n", "line 1 is no record"),
        ("a.jsonl", "", "no column"),
    ],
)
def test_what_is_no_table_says_why(tmp_path: Path, name: str, body: str, reason: str) -> None:
    write(tmp_path, {name: body})
    with pytest.raises(TransformFailed, match=reason) as caught:
        Bench().build(tmp_path)
    assert f"{{file: {name}, transform: id}}" in caught.value.hint


def test_with_kwargs_pandas_reads(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "split.json": '{"columns": ["a"], "index": ["x"], "data": [[1]]}',
            "lines.jsonl": '{"a": "1"}\n{"a": "2"}\n',
            "build.yml": """\
contents:
  split: {file: split.json, transform: json, kwargs: {orient: split}}
  lines: {file: lines.jsonl, kwargs: {nrows: 1}}
""",
        },
    )
    bench = Bench()
    built = bench.build(tmp_path)
    pandas.testing.assert_frame_equal(bench.frame(built, "split"), pandas.DataFrame({"a": [1]}, index=["x"]))
    assert bench.frame(built, "lines")["a"].tolist() == [1]
