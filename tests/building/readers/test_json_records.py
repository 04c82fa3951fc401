"""JSON records become tables with the values of the JSON text; any other JSON is stored as a file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas
import pytest

import datapkg
from datapkg.building.readers import batches, json_lines, json_records
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
def test_json_file_that_begins_with_records_is_a_table(tmp_path: Path, body: str | bytes, kind: str) -> None:
    from datapkg.building.spec.folder import scan_directory

    write(tmp_path, {"a.json": body})
    (node,) = scan_directory(tmp_path).nodes
    assert (node.path, node.transform) == (("a", "json") if kind == "table" else ("a.json", "id"))


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.json", "[{", "Expecting"),
        ("a.json", '[{"a": 1}, 2]', "record 2 is not a record"),
        ("a.json", '[{"a": 1}, {"a": "x"}]', r"column .a. holds values of several types: int \(row 1\), str \(row 2\)"),
        ("a.json", "[{}]", "no column"),
        ("a.json", '[{"a": {}}]', "column 'a' holds only empty objects"),
        ("a.jsonl", '{"a": [{}]}\n{"a": [{}]}\n', "column 'a' holds only empty objects"),
        ("a.json", f'[{{"a": {10**30}}}]', "column 'a'"),
        ("a.json", '[{"a":' + "[" * 100_000, "recursion|nest"),
        ("a.jsonl", '{"a": 1}\n{"a"\n', "line 2 is not JSON"),
        ("a.json", '[{"b": 1}, {"a": 1, "a": 2}]', "an object has the key 'a' twice"),
        ("a.json", '[{"a": [{"x": 1, "y": 2, "x": 3}]}]', "an object has the key 'x' twice"),
        ("a.jsonl", '{"b": 1}\n{"a": 1, "a": 2}\n', "line 2 .*an object has the key 'a' twice"),
        ("a.jsonl", '{"b": "x"}\n{"b": "\\":", "a": {"x": 1, "x" : 2}}\n', "line 2 .*the key 'x' twice"),
        ("a.jsonl", '{"a": 1}\n' * 5_000 + '{"a": 1, "a": 1}\n', "line 5001 .*the key 'a' twice"),
        ("a.json", '[{"a": 1.5}, {"a": -1e400}]', "the number -1e400 is beyond the range of a float"),
        ("a.jsonl", '{"a": 1.5}\n{"a": 1e400}\n', "line 2 .*the number 1e400 is beyond the range of a float"),
        ("a.jsonl", "[1]\n", "line 1 is not a record"),
        ("a.jsonl", "", "no column"),
    ],
)
def test_error_explains_why_json_is_not_a_table(tmp_path: Path, name: str, body: str, reason: str) -> None:
    write(tmp_path, {name: body})
    with pytest.raises(TransformFailed, match=reason) as caught:
        Bench().build(tmp_path)
    assert f"{{file: {name}, transform: id}}" in caught.value.hint


def test_kwargs_select_the_pandas_reader(tmp_path: Path) -> None:
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


def test_floats_of_the_pandas_reader_are_exact(tmp_path: Path) -> None:
    numbers = [0.1 + each / 7 for each in range(1_000)]
    body = json.dumps({"columns": ["a"], "data": [[each] for each in numbers]})
    write(
        tmp_path,
        {"a.json": body, "build.yml": "contents: {a: {file: a.json, transform: json, kwargs: {orient: split}}}"},
    )
    bench = Bench()
    assert bench.frame(bench.build(tmp_path), "a")["a"].tolist() == numbers


@pytest.mark.parametrize("kwargs", ["nrows: 9", "dtype: {a: Int64}", "dtype: {a: str}", "dtype: false"])
def test_integers_that_the_pandas_reader_rounds_are_refused(tmp_path: Path, kwargs: str) -> None:
    build = f"contents: {{a: {{file: a.jsonl, kwargs: {{{kwargs}}}}}}}"
    write(tmp_path, {"a.jsonl": f'{{"a": {2**53 + 1}}}\n{{"a": null}}\n', "build.yml": build})
    with pytest.raises(TransformFailed, match=r"'a' holds integers above 2\^53"):
        Bench().build(tmp_path)
    write(tmp_path, {"a.jsonl": '{"a": 1e17}\n{"a": null}\n'})
    Bench().build(tmp_path)


def test_integers_beside_nulls_stay_integers_at_any_depth(tmp_path: Path) -> None:
    records = [{"in": {"n": 1, "l": [1, None]}, "l": [{"n": 2**60 + 1}]}, {"in": {"n": None}, "l": [{"n": None}]}]
    frame = datapkg.build("me/deep", write(tmp_path, {"a.json": json.dumps(records)}) / "a.json")()
    assert [type(frame["in"][row]["n"]) for row in (0, 1)] == [int, type(None)]
    assert list(frame["in"][0]["l"]) == [1, None]
    assert frame["l"][0][0] == {"n": 2**60 + 1}


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 10)


def lines(folder: Path, name: str, records: list[dict[str, object]]) -> Path:
    texts = [json.dumps(each) for each in records]
    body = "\n".join(texts) if name.endswith("l") else f" [ {' , '.join(texts)} ] "
    return write(folder, {name: body}) / name


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize(
    ("late", "kind", "dtype"),
    [
        ({"x": 0.5}, "double", "float64"),
        ({"x": None}, "int64", "Int64"),
        ({}, "int64", "Int64"),
        ({"x": 2**63}, "uint64", "uint64"),
        ({"x": 7, "y": "late"}, "int64", "int64"),
    ],
)
def test_types_do_not_depend_on_row_order(
    tmp_path: Path, name: str, late: dict[str, object], kind: str, dtype: str
) -> None:
    records: list[dict[str, object]] = [{"x": at} for at in range(95)]
    for place in (0, 50, 94):
        bench = Bench()
        there = [*records[:place], late, *records[place + 1 :]]
        built = bench.build(lines(tmp_path, name, there))
        table = bench.table(built, "a")
        assert str(table.schema.field("x").type) == kind
        assert table["x"].to_pylist() == [each.get("x") for each in there]
        assert str(bench.frame(built, "a")["x"].dtype) == dtype


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize(
    ("late", "reason"),
    [
        ({"x": "text"}, "column 'x' holds values of several types: int (row 1), str (row 95)"),
        ({"x": {"y": 1}}, "column 'x' holds values of several types: dict (row 95), int (row 1)"),
        ({"x": -1}, "some above 2^63 and some below 0"),
        ({"x": 10**30}, "column 'x'"),
        (5, "95 is not a record"),
    ],
)
def test_values_without_a_common_type_are_rejected(tmp_path: Path, name: str, late: object, reason: str) -> None:
    records: list[object] = [{"x": at + 2**63 * (late == {"x": -1})} for at in range(94)]
    with pytest.raises(TransformFailed) as caught:
        Bench().build(lines(tmp_path, name, [*records, late]))  # type: ignore[list-item]
    assert reason in str(caught.value)


@pytest.mark.usefixtures("_small_batches")
def test_nested_values_get_one_type(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [{"s": {"a": 1}, "l": []} for _ in range(30)]
    records += [{"s": {"b": "x"}, "l": [0.5]}, {"s": None, "l": None}]
    bench = Bench()
    table = bench.table(bench.build(lines(tmp_path, "a.jsonl", records)), "a")
    assert str(table.schema.field("s").type) == "struct<a: int64, b: string>"
    assert str(table.schema.field("l").type).endswith(": double>")
    assert table["s"].to_pylist()[29:] == [{"a": 1, "b": None}, {"a": None, "b": "x"}, None]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_list_is_read_in_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "_READ_CHARS", size)
    records = [{"a": 'é,]}\\" 日本', "b": [{"c": None}]}, {}, {"a": "x" * 100}]
    for text in (json.dumps(records), json.dumps(records, ensure_ascii=False, indent=2), json.dumps(records) + "\n\n"):
        bench = Bench()
        built = bench.build(write(tmp_path, {"a.json": text}) / "a.json")
        assert [each["a"] for each in bench.table(built, "a").to_pylist()] == [each.get("a") for each in records]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('[{"a": 1},]', "Expecting value"),
        ('[{"a": 1} {"a": 2}]', "expecting ',' or ']' behind record 1, got '{'"),
        ('[{"a": 1}', "expecting ',' or ']' behind record 1, got the end"),
        ('[{"a": 1}] x', "there is text behind the list"),
        ('{"a": 1}', "a table is a list of records"),
        ("[]", "it has no columns"),
        ("[1]", "record 1 is not a record"),
        (b'[{"a": "\xff"}]', "codec can't decode"),
    ],
)
def test_malformed_list_is_rejected(tmp_path: Path, body: str | bytes, reason: str) -> None:
    write(tmp_path, {"a.json": body, "build.yml": "contents:\n  a: {file: a.json, transform: json}\n"})
    with pytest.raises(TransformFailed) as caught:
        Bench().build(tmp_path)
    assert reason in str(caught.value)


def test_text_in_other_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        write(tmp_path, {"a.json": '[{"a": "é"}]'.encode(encoding)})
        write(tmp_path, {"build.yml": "contents:\n  a: {file: a.json, transform: json}\n"})
        bench = Bench()
        assert bench.table(bench.build(tmp_path), "a").to_pylist() == [{"a": "é"}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz"])
def test_size_of_a_record_is_limited(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small compressed file with an endless record does not exhaust memory."""
    monkeypatch.setattr(json_records, "LONGEST_BYTES", 1 << 20)
    monkeypatch.setattr(json_lines, "LONGEST_BYTES", 1 << 20)
    monkeypatch.setattr(json_records, "_READ_CHARS", 1 << 16)
    body = ("[" if ".jsonl" not in name else "").encode() + b'{"a": "' + b" " * (5 << 20)
    with pytest.raises(TransformFailed, match="is longer than 1 MiB"):
        Bench().build(write(tmp_path, {name: gzip.compress(body) if name.endswith("gz") else body}) / name)
