"""Compare the tables of csv files cell by cell with pandas.read_csv, except for what docs/build.md states."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from datapkg.building.pipeline import build_package
from datapkg.building.spec.model import BuildSpec, FileSource, NodeSpec
from datapkg.errors import TransformFailed
from tests.building.builds import Bench

# (name, bytes or text, kwargs): unusual files that pandas reads, each with the kwargs it needs.
CORPUS: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("plain", "a,b\n1,x\n2,y\n", {}),
    ("no newline at the end", "a,b\n1,x\n2,y", {}),
    ("crlf", "a,b\r\n1,x\r\n2,y\r\n", {}),
    ("cr only", "a,b\r1,x\r2,y\r", {}),
    ("byte order mark", b"\xef\xbb\xbfa,b\n1,x\n", {}),
    ("utf-16", "a,b\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}),
    ("latin-1", "a,b\n1,é\n".encode("latin-1"), {"encoding": "latin-1"}),
    ("quotes", 'a,b\n"1","x, y"\n"2","say ""hi"""\n', {}),
    ("newline in quotes", 'a,b\n1,"x\ny"\n2,z\n', {}),
    ("crlf in quotes", 'a,b\n1,"x\r\ny"\n', {}),
    ("single quotes", "a,b\n1,'x,y'\n", {"quotechar": "'"}),
    ("no quoting", 'a,b\n1,"x"\n', {"quoting": 3}),
    ("escapes", "a,b\n1,x\\,y\n", {"escapechar": "\\"}),
    ("spaces after commas", "a, b\n1, x\n", {"skipinitialspace": True}),
    ("spaces kept", "a, b\n1, x\n", {}),
    ("header only", "a,b\n", {}),
    ("header only, typed", "a,b\n", {"dtype": {"a": "int64", "b": "str"}}),
    ("one column", "a\n1\n\n2\n", {}),
    ("blank lines", "\n\na,b\n\n1,2\n\n", {}),
    ("blank lines kept", "a,b\n1,2\n\n3,4\n", {"skip_blank_lines": False}),
    ("duplicate headers", "a,a,a.1,a\n1,2,3,4\n", {}),
    ("empty headers", "a,,\n1,2,3\n", {}),
    ("ragged short", "a,b,c\n1,2,3\n4,5\n6\n", {}),
    ("one field more makes an index", "a,b\n1,2,3\n3,4,\n", {}),
    ("no trailing index", "a,b\n1,2,\n3,4,\n", {"index_col": False}),
    ("bad lines skipped", "a,b\n1,2\n3,4,5,6\n7,8\n", {"on_bad_lines": "skip"}),
    ("missing in ints", "a,b\n1,x\n,y\n3,\n", {}),
    ("all missing", "a,b\n1,\n2,\n", {}),
    ("spellings of missing", "a,b\nNA,null\nNaN,nan\n#N/A,n/a\nNone,x\n-1.#IND,y\n", {}),
    ("missing kept as text", "a,b\nNA,x\nnull,y\n", {"keep_default_na": False}),
    ("own missing", "a,b\n-,x\n1,?\n", {"na_values": ["-", "?"]}),
    ("missing by column", "a,b\n0,0\n1,1\n", {"na_values": {"a": ["0"]}}),
    ("no missing at all", "a,b\n1,\n2,NA\n", {"na_filter": False}),
    ("booleans", "a,b,c\nTrue,true,TRUE\nFalse,false,FALSE\n", {}),
    ("booleans with missing", "a,b\nTrue,1\n,2\nFalse,3\n", {}),
    ("booleans of other words", "a\nyes\nno\n", {"true_values": ["yes"], "false_values": ["no"]}),
    ("leading zeros", "a,b\n007,0x10\n010,1e5\n", {}),
    ("leading zeros as text", "zip\n01234\n", {"dtype": {"zip": "str"}}),
    ("floats", "a\n1.5\n-0.0\n1e-300\ninf\n-inf\n0.1\n123456789.123456789\n", {}),
    ("small floats", "a\n0.1\n2.2250738585072014e-308\n", {}),
    ("decimal commas", "a;b\n1,5;x\n2,5;y\n", {"sep": ";", "decimal": ","}),
    ("thousands", 'a,b\n"1,234",x\n"12,345,678",y\n', {"thousands": ","}),
    ("largest ints", "a,b\n9223372036854775807,-9223372036854775808\n1,2\n", {}),
    ("unsigned", "a\n18446744073709551615\n1\n", {}),
    ("mixed late", "a\n" + "1\n" * 5000 + "x\n", {}),
    ("mixed types", "a,b\n1,x\n2.5,3\ny,4\n", {}),
    ("dates", "d\n2024-01-02\n2024-12-31\n", {"parse_dates": ["d"]}),
    ("dates with missing", "d,x\n2024-01-02,1\n,2\n", {"parse_dates": ["d"]}),
    ("dates day first", "d\n31/12/2024\n01/02/2024\n", {"parse_dates": ["d"], "dayfirst": True}),
    ("dates by format", "d\n20240102\n", {"parse_dates": ["d"], "date_format": "%Y%m%d"}),
    ("zoned dates", "d\n2024-01-02T03:04:05+00:00\n", {"parse_dates": ["d"]}),
    ("dates as text", "d\n2024-01-02\n", {}),
    ("categories", "c\nx\ny\nx\n", {"dtype": {"c": "category"}}),
    ("categories with missing", "c,d\nx,1\n,2\ny,3\n", {"dtype": {"c": "category"}}),
    ("comments", "# about\na,b\n1,2 # end\n", {"comment": "#"}),
    ("skipped rows", "about\nmore\na,b\n1,2\n", {"skiprows": 2}),
    ("skipped rows by number", "a,b\n1,2\n3,4\n5,6\n", {"skiprows": [1, 3]}),
    ("footer", "a,b\n1,2\ntotal,2\n", {"skipfooter": 1, "engine": "python"}),
    ("first rows", "a\n1\n2\n3\n", {"nrows": 2}),
    ("some columns", "a,b,c\n1,2,3\n", {"usecols": ["a", "c"]}),
    ("an index", "k,v\nx,1\ny,2\n", {"index_col": "k"}),
    ("two levels of index", "k,l,v\nx,1,2\ny,2,3\n", {"index_col": ["k", "l"]}),
    ("no header", "1,x\n2,y\n", {"header": None}),
    ("no header, names", "1,x\n2,y\n", {"header": None, "names": ["n", "t"]}),
    ("no header, types by number", "1,x\n2,y\n", {"header": None, "dtype": {0: "float"}}),
    ("two headers", "a,a\nx,y\n1,2\n", {"header": [0, 1]}),
    ("typed", "a,b,c\n1,2,3\n", {"dtype": {"a": "float32", "b": "int8", "c": "str"}}),
    ("all text", "a,b\n1,\nNA,x\n", {"dtype": "str"}),
    ("nullable", "a,b\n1,True\n,\n", {"dtype": {"a": "Int64", "b": "boolean"}}),
    ("nullable backend", "a,b\n1,x\n,y\n", {"dtype_backend": "numpy_nullable"}),
    ("arrow backend", "a,b\n1,1.5\n,2.5\n", {"dtype_backend": "pyarrow"}),
    ("arrow engine", "a,b\n1,x\n2,y\n", {"engine": "pyarrow"}),
    ("sniffed", "a;b\n1;2\n", {"sep": None, "engine": "python"}),
    ("white space", "a b\n1   2\n", {"sep": r"\s+"}),
    ("regex", "a::b\n1::2\n", {"sep": "::", "engine": "python"}),
    ("tabs", "a\tb\n1\t2\n", {"delimiter": "\t"}),
    ("emoji and scripts", "😀,日本\n1,русский\n", {}),
    ("null bytes", "a,b\n1,x\0y\n", {}),
    ("gzip", gzip.compress(b"a,b\n1,x\n"), {"compression": "gzip"}),
    ("bz2", bz2.compress(b"a,b\n1,x\n"), {"compression": "bz2"}),
    ("xz", lzma.compress(b"a,b\n1,x\n"), {"compression": "xz"}),
    ("many columns", ",".join(f"c{i}" for i in range(500)) + "\n" + ",".join(str(i) for i in range(500)) + "\n", {}),
    ("long text", "a,b\n1," + "x" * 300_000 + "\n", {}),
]


def built(path: Path, kwargs: dict[str, Any], transform: str = "csv") -> tuple[pandas.DataFrame, list[str]]:
    bench = Bench()
    spec = BuildSpec("file", [NodeSpec("t", FileSource(path, path.name), transform, kwargs)])
    result = build_package(spec, bench.objects, previous=None, find_package=bench.find)
    return bench.frame(result, "t"), result.warnings


def file(folder: Path, body: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


@pytest.mark.parametrize(("name", "body", "kwargs"), CORPUS, ids=[each[0] for each in CORPUS])
def test_same_as_pandas(tmp_path: Path, name: str, body: str | bytes, kwargs: dict[str, Any]) -> None:
    path = file(tmp_path, body)
    engine = {} if "engine" in kwargs else {"low_memory": False}
    expected = pandas.read_csv(path, **engine, **kwargs)
    found, _ = built(path, kwargs)
    pandas.testing.assert_frame_equal(_one_null(found), _one_null(expected), check_exact=True)


def _one_null(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Replace None and NaN by one value: pandas has both for missing values, Arrow has one null."""
    return frame.apply(lambda column: column.where(column.notna(), None) if column.dtype == object else column)


def test_tsv_and_ssv_have_default_separators(tmp_path: Path) -> None:
    tabs = file(tmp_path, "a\tb\n1\t2;3\n", "x.tsv")
    assert built(tabs, {}, "tsv")[0].to_dict("list") == {"a": [1], "b": ["2;3"]}
    semicolons = file(tmp_path, "a;b\n1;2,5\n", "x.ssv")
    assert built(semicolons, {}, "ssv")[0].to_dict("list") == {"a": [1], "b": ["2,5"]}
    assert built(semicolons, {"decimal": ","}, "ssv")[0].to_dict("list") == {"a": [1], "b": [2.5]}
    assert list(built(semicolons, {"sep": ","}, "ssv")[0].columns) == ["a;b"]
    assert list(built(semicolons, {"delimiter": ";"}, "tsv")[0].columns) == ["a", "b"]


def test_dtype_keys_name_the_columns_of_a_headerless_file(tmp_path: Path) -> None:
    path = file(tmp_path, "5.1,Iris-setosa\n4.9,\n")
    frame, _ = built(path, {"header": None, "dtype": {"length": "float", "class": "str"}})
    expected = pandas.DataFrame({"length": [5.1, 4.9], "class": ["Iris-setosa", None]}).astype({"class": "str"})
    pandas.testing.assert_frame_equal(frame, expected)


def test_dtype_keys_name_columns_if_the_first_rows_are_short(tmp_path: Path) -> None:
    path = file(tmp_path, "a,1\nb,2,note\n")
    frame, _ = built(path, {"header": None, "dtype": {"k": "str", "n": "int", "comment": "str"}})
    assert list(frame.columns) == ["k", "n", "comment"]
    assert frame["comment"].tolist()[1] == "note"


def test_too_few_dtype_keys_name_no_columns(tmp_path: Path) -> None:
    frame, warnings = built(file(tmp_path, "1,2,3\n"), {"header": None, "dtype": {"a": "int"}})
    assert list(frame.columns) == [0, 1, 2]
    assert "1 keys and the file 3 columns" in warnings[0]


def test_too_many_dtype_keys_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TransformFailed, match="names 3 columns"):
        built(file(tmp_path, "1,2\n3,4\n"), {"header": None, "dtype": {"a": "int", "b": "int", "c": "str"}})


def test_header_names_take_precedence_over_dtype_keys(tmp_path: Path) -> None:
    frame, _ = built(file(tmp_path, "x,y\n1,2\n"), {"dtype": {"a": "int", "b": "int"}})
    assert list(frame.columns) == ["x", "y"]


def test_ints_with_missing_values_are_nullable(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b,c,d\n1,1,1,True\n,2,2,\n")
    frame, _ = built(path, {"dtype": {"a": "int", "b": "int", "c": "uint8", "d": "bool"}})
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "a": "Int64",
        "b": "int64",
        "c": "uint8",
        "d": "boolean",
    }
    assert frame["a"].tolist() == [1, pandas.NA]
    whole, _ = built(path, {"usecols": ["a", "b"], "dtype": "int"})
    assert [str(dtype) for dtype in whole.dtypes] == ["Int64", "int64"]


def test_large_ints_with_missing_values_stay_exact(tmp_path: Path) -> None:
    frame, _ = built(file(tmp_path, f"a,b\n{2**62 + 1},1\n,2\n"), {"dtype": {"a": "int64"}})
    assert frame["a"][0] == 2**62 + 1


def test_ints_beyond_64_bits_become_decimals_or_text(tmp_path: Path) -> None:
    frame, _ = built(file(tmp_path, f"a,b\n{2**70},{10**45}\n-1,2\n"), {})
    assert [int(value) for value in frame["a"]] == [2**70, -1]
    assert [int(value) for value in frame["b"]] == [10**45, 2]


def test_nulls_of_every_type_round_trip(tmp_path: Path) -> None:
    body = "i,f,t,d,b,c\n1,1.5,x,2024-01-01,True,u\n,,,,,\n"
    kwargs = {"dtype": {"i": "Int64", "b": "boolean", "c": "category"}, "parse_dates": ["d"]}
    frame, _ = built(file(tmp_path, body), kwargs)
    assert frame.iloc[1].isna().all()
    assert frame.iloc[0].notna().all()
    assert not (frame == "nan").any().any()


def test_malformed_text_is_retried_with_the_python_engine(tmp_path: Path) -> None:
    path = file(tmp_path, "\r,b\n1\n3,4\n")
    with pytest.raises(pandas.errors.ParserError):
        pandas.read_csv(path, low_memory=False)
    frame, warnings = built(path, {})
    assert frame.fillna(0).to_dict("list") == {"Unnamed: 0": [1, 3], "b": [0, 4]}
    assert "Python engine, since its C engine says: Error tokenizing data" in warnings[0]
    with pytest.raises(TransformFailed):
        built(path, {"engine": "c"})


def test_index_invented_by_the_python_engine_is_rejected(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b\n1\n3,4,5\n")
    assert len(pandas.read_csv(path, engine="python")) == 1
    with pytest.raises(TransformFailed, match="line 3"):
        built(path, {})


def test_separators_that_need_the_python_engine(tmp_path: Path) -> None:
    frame, warnings = built(file(tmp_path, "a::b\n1::2\n"), {"sep": "::"})
    assert frame.to_dict("list") == {"a": [1], "b": [2]}
    assert built(file(tmp_path, "a,b\n1,2\nend,2\n"), {"skipfooter": 1})[0].to_dict("list") == {"a": [1], "b": [2]}
    assert warnings == []


def test_warnings_of_pandas_are_passed_on(tmp_path: Path) -> None:
    _, warnings = built(file(tmp_path, "d\n31/12/2024\n"), {"parse_dates": ["d"]})
    assert len(warnings) == 1
    assert warnings[0].startswith("data.csv: Parsing dates in %d/%m/%Y format")


def test_unreadable_text_names_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(TransformFailed) as caught:
        built(file(tmp_path, "a,b\n1,2\n3,4,5\n"), {})
    assert "'data.csv' cannot be read as csv" in str(caught.value)
    assert caught.value.detail["row"] == 3
    assert caught.value.hint == "to keep the file as it is, write in a build file: {file: data.csv, transform: id}"
    with pytest.raises(TransformFailed, match="'int99' not understood") as caught:
        built(file(tmp_path, "a,b\n1,2\n"), {"dtype": {"a": "int99"}})
    assert caught.value.hint.startswith("correct its kwargs (dtype), or to keep the file as it is")


@pytest.mark.parametrize(
    ("body", "kwargs", "reason"),
    [
        ("", {}, "No columns to parse"),
        ("a,b\n1,2\n", {"dtype": {"b": "complex"}}, "complex"),
        ("a,b\n1,2\n", {"encoding": "no-such"}, "no-such"),
        (b"a,b\n1,\xff\n", {}, "can't decode"),
        ("a\n1.5\n", {"dtype": {"a": "int"}}, "1.5|safely|convert"),
        ("a\nx\n", {"dtype": {"a": "nonsense"}}, "nonsense"),
        (b"no gzip", {"compression": "gzip"}, "[Gg]zip"),
        ("a\n1\n", {"usecols": ["b"]}, "Usecols|columns"),
    ],
)
def test_error_reason_is_one_line(tmp_path: Path, body: str | bytes, kwargs: dict[str, Any], reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason) as caught:
        built(file(tmp_path, body), kwargs)
    assert "\n" not in str(caught.value)


def test_floats_beside_missing_values_are_correctly_rounded(tmp_path: Path) -> None:
    frame, _ = built(file(tmp_path, "a\n0.30000000000000004\n\n"), {"skip_blank_lines": False})
    assert frame["a"][0] == pytest.approx(0.3)
    assert np.isnan(frame["a"][1])
