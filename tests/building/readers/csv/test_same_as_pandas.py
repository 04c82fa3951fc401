"""Compare every engine bit by bit with pandas : handwritten files, generated files, arbitrary characters.

`test_large_integers` has the exceptions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.building.readers.csv.engines import EngineDeclined, by_pandas, difference, fast, in_chunks
from tests.building.readers.csv.odd_tables import odd_table
from tests.examples import examples, seeds

# (description, text, kwargs): the fast engine reads all of these itself.
FAST: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("integers", "a,b\n1,2\n3,4\n5,6\n", {}),
    ("no newline at the end", "a,b\n1,x\n2,y", {}),
    ("carriage returns and newlines", "a,b\r\n1,x\r\n2,y\r\n", {}),
    ("mixed ends of lines", "a,b\n1,x\r\n2,y\n3,z\r\n", {}),
    ("carriage returns alone", "a,b\n1,x\r2,y\r3,z\n", {}),
    ("a mark of byte order", b"\xef\xbb\xbfa,b\n1,x\n2,y\n", {}),
    ("a mark of byte order without a header", b"\xef\xbb\xbf1,x\n2,y\n", {"header": None}),
    ("blank lines", "a,b\n\n1,x\n\n\n2,y\n\n", {}),
    ("blank lines of carriage returns", "a,b\r\n\r\n1,x\r\n\r\n2,y\r\n", {}),
    ("blank lines of one column", "a\n1\n\n  \n2\n", {}),
    ("blanks before values", "a,b\n 1, 2\n 3, 4\n", {}),
    ("short rows", "a,b,c\n1,2,3\n4,5\n6\n7,8,9\n", {}),
    ("long rows that are not asked for", "a,b,c\n1,2,3\n4,5,6,7\n8,9,10\n", {"usecols": ["a", "c"]}),
    ("NUL", "a,b\n1,x\n2,y\0z\n3,w\n", {}),
    ("quotes", 'a,b\n"1","x, y"\n"2","say ""hi"""\n"3",""\n', {}),
    ("newlines in quotes", 'a,b\n1,"x\ny\n\nz"\n2,"\n"\n3,w\n', {}),
    ("quotes in the middle", 'a,b\n1,5"\n2,x"y"\n3,"z"w\n4," ""q"\n', {}),
    ("quoted header", '"a\nx","b"\n1,2\n3,4\n', {}),
    ("duplicate headers", "a,a,a.1,a\n1,2,3,4\n5,6,7,8\n", {}),
    ("empty headers", "a,,\n1,2,3\n4,5,6\n", {}),
    ("names", "1,x\n2,y\n", {"names": ["n", "t"]}),
    ("names for a header", "a,b\n1,x\n2,y\n", {"names": ["n", "t"], "header": 0}),
    ("no header", "1,x\n2,y\n", {"header": None}),
    ("some columns", "a,b,c\n1,x,2\n3,y,4\n", {"usecols": ["c", "a"]}),
    ("some columns by number", "a,b,c\n1,x,2\n3,y,4\n", {"usecols": [0, 2]}),
    ("tabs", "a\tb\n1\tx\n\t\n2\ty\n", {"sep": "\t"}),
    ("semicolons", "a;b\n1;x,y\n2;z\n", {"delimiter": ";"}),
    ("scripts", "😀,日本\n1,русский\n2,é\n", {}),
    ("missing integers", "a,b\n1,x\n,y\n3,\n", {}),
    ("negative zeros", "a,b,c,d\n-0,-0,-0,-0.0\n1,,1.5,\n0,-0,-0,-0\n", {}),
    ("negative zeros before floats", "a\n1\nNA\n-0\n3\n1.5\n", {}),
    ("all missing", "a,b\n1,\n2,\n3,NA\n", {}),
    ("words for missing", "a,b\nNA,null\nNaN,nan\n#N/A,n/a\nNone,x\n-1.#IND,y\n", {}),
    ("words for missing kept", "a,b\nNA,1\nnull,2\n,3\n", {"keep_default_na": False}),
    ("own words for missing", "a,b\n-,x\n1,?\n2,y\n", {"na_values": ["-", "?"]}),
    ("nothing missing", "a,b\n1,\n2,NA\n", {"na_filter": False}),
    ("missing words with blanks", "a,b\n1, NA\n2,NA \n", {}),
    ("quoted missing words", 'a,b\n1,"NA"\n2,""\n3,x\n', {}),
    ("booleans", "a,b,c\nTrue,true,tRuE\nFalse,false,FALSE\n", {}),
    ("booleans with missing", "a,b\nTrue,1\n,2\nFalse,3\n", {}),
    ("booleans, then numbers", "a\nTrue\nFalse\n1\n", {}),
    ("numbers, then booleans", "a\n1\n0\nTrue\n", {}),
    ("leading zeros and plus signs", "a,b\n007,+5\n010,6\n", {}),
    ("hexadecimal", "a,b\n0x10,1\n0x11,2\n", {}),
    ("floats", "a\n1.5\n-0.0\n1e-300\ninf\n-inf\nInfinity\n1e400\n5e-324\n", {}),
    ("floats, then integers", "a\n1.5\n2\n3\n", {}),
    ("integers, then floats", "a\n9007199254740992\n2\n3.5\n", {}),
    ("large integers beside missing ones", f"a,b\n1,1\n,-{2**60}\n{2**53 + 1},\n-0,\n5,-0\n", {}),
    ("large integers as a program writes floats", "a\n1152921504606847200\n2\n\n0.5\n", {}),
    ("long floats", "a\n0.1234567890123456789\n123456789012345678901234.5\n0.30000000000000004\n", {}),
    ("big integers among floats", "a\n1.5\n18446744073709551616\n", {}),
    ("words that Arrow takes for numbers", "a\nx\nnan(1)\n", {"keep_default_na": False}),
    ("nan as text", "a\nnan\n1.5\n", {"keep_default_na": False}),
    ("the largest integers", "a,b\n9223372036854775807,-9223372036854775808\n1,2\n", {}),
    ("text late", "a,b\n" + "1,2\n" * 50 + "x,3\n", {}),
    ("text late, then numbers", "a,b\n" + "1,2\n" * 20 + "x,3.5\n" + "4,5\n" * 20, {}),
    ("dates as text", "d\n2024-01-02\n2024-12-31\n", {}),
    ("all text", "a,b\n1,\nNA,x\n007,1.0\n", {"dtype": "str"}),
    ("typed", "a,b,c\n1,2,x\n3,4,5\n", {"dtype": {"a": "float64", "b": "int", "c": "str"}}),
    ("nullable", "a,b\n1,True\n,\n3,false\n", {"dtype": {"a": "Int64", "b": "boolean"}}),
    ("kwargs with their defaults", "a,b\n1,2\n", {"skiprows": None, "quotechar": '"', "thousands": None}),
    ("one long line", "a,b\n1," + "x" * 3000 + "\n2,y\n", {}),
]
# Read by pandas in chunks, whether or not the fast engine reads them.
CHUNKED: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("utf-16", "a,b\n1,é\n2,x\n3,y\n".encode("utf-16"), {"encoding": "utf-16"}),
    ("latin-1", "a,b\n1,é\n2,x\n".encode("latin-1"), {"encoding": "latin-1"}),
    ("thousands", 'a,b\n"1,234",x\n"12,345,678",y\n3,z\n', {"thousands": ","}),
    ("decimal commas", "a;b\n1,5;x\n2;y\n;z\n", {"sep": ";", "decimal": ","}),
    ("comments", "a,b\n1,2 # end\n# about\n3,4\n5,6\n", {"comment": "#"}),
    ("skipped rows", "about\nmore\na,b\n1,2\n3,4\n5,6\n", {"skiprows": 2}),
    ("single quotes", "a,b\n1,'x,y'\n2,'z\nw'\n", {"quotechar": "'"}),
    ("escapes", "a,b\n1,x\\,y\n2,z\n", {"escapechar": "\\"}),
    ("other booleans", "a\nyes\nno\n\nyes\n", {"true_values": ["yes"], "false_values": ["no"]}),
    ("booleans, missing late", "a,b\nyes,1\nno,2\nyes,3\n,4\n", {"true_values": ["yes"], "false_values": ["no"]}),
    ("missing by column", "a,b\n0,0\n1,1\n2,0\n", {"na_values": {"a": ["0"]}}),
    ("missing numbers", "a,b\n-999,1.5\n1,-999.0\n2,3\n", {"na_values": [-999]}),
    ("blanks after separators", "a, b\n1, x\n2, y\n3,z\n", {"skipinitialspace": True}),
    ("blanks that separate", "a b\n1   2\n3 4\n5 x\n", {"sep": r"\s+"}),
    ("integers, then floats, then text", "a,b,c\n1,1,\n2,2,\n3.5,3,\n4,4,\n5,x,1\n", {"skipinitialspace": True}),
    ("small types", "a,b\n1,2\n3,4\n5,6\n", {"dtype": {"a": "int8", "b": "float32"}}),
    ("large integers, missing ones late", f"a\n1\n{2**53 + 1}\n\n\n2\n", {"skip_blank_lines": False}),
    ("large integers beside missing ones", f"a,b\n,'1\n{2**60 + 1},'2\n7,'{2**53 + 1}\n,\n", {"thousands": "'"}),
    (
        "large integers with points",
        "a;b\n9.007.199.254.740.993;1\n;2\n7;3\n",
        {"sep": ";", "thousands": ".", "decimal": ","},
    ),
    ("unsigned integers", f"a,b\n1,x\n2,y\n{2**63},z\n{2**64 - 1},x\n", {}),
    ("long rows skipped", "a,b\n1,2\n3,4,5\n6,7\n", {"on_bad_lines": "skip"}),
]
# Chunks would read these wrongly: the result depends on the whole file.
WHOLE: list[tuple[str, str | bytes, dict[str, Any]]] = [
    ("integers beyond 64 bits", f"a\n1\n2\n{2**70}\n", {}),
    ("integers beyond 64 bits, then text", f"a\n1\nNA\n{2**70}\nx\n", {}),
    ("unsigned integers beside missing ones", f"a\n1\nNA\n{2**63}\n", {}),
    ("unsigned integers beside negative ones", f"a\n1\n-1\n{2**63}\n", {}),
    ("unsigned integers beside -0", f"a\n1\n-0\n2\n{2**63}\n", {}),
    ("unsigned integers, then floats", f"a\n1\n{2**63}\n1.5\n2\n3\n", {}),
    ("negative zeros among perhaps integers", "a\n-0\nNA\n2.0\nNA\n", {"skipinitialspace": True}),
    ("numbers that are booleans", "a\n1\n1\nyes\n0\n", {"true_values": ["1", "yes"], "false_values": ["0"]}),
    ("categories", "a\nx\ny\nx\n", {"dtype": "category"}),
    ("an index of the first column", "a,b\n1,2,\n3,4,\n", {}),
    ("an index by name", "k,v\nx,1\ny,2\n", {"index_col": "k"}),
    ("a footer", "a,b\n1,2\ntotal,2\n", {"skipfooter": 1, "engine": "python"}),
    ("two headers", "a,a\nx,y\n1,2\n", {"header": [0, 1]}),
]


def written(folder: Path, body: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


def ids(cases: list[tuple[str, str | bytes, dict[str, Any]]]) -> list[str]:
    return [each[0] for each in cases]


@pytest.mark.parametrize(("name", "body", "kwargs"), FAST, ids=ids(FAST))
def test_fast_engine_equals_pandas(tmp_path: Path, name: str, body: str | bytes, kwargs: dict[str, Any]) -> None:
    path = written(tmp_path, body)
    expected = by_pandas(path, kwargs)
    for piece in (1, 7, 20, 10_000):
        assert difference(fast(path, kwargs, piece), expected) == ""


@pytest.mark.parametrize(("name", "body", "kwargs"), CHUNKED, ids=ids(CHUNKED))
def test_reading_in_chunks_equals_reading_the_whole(
    tmp_path: Path, name: str, body: str | bytes, kwargs: dict[str, Any]
) -> None:
    path = written(tmp_path, body)
    expected = by_pandas(path, kwargs)
    for rows in (1, 2, 100):
        assert difference(in_chunks(path, kwargs, rows), expected) == ""


@pytest.mark.parametrize(("name", "body", "kwargs"), WHOLE, ids=ids(WHOLE))
def test_texts_that_need_the_whole_file_are_not_read_in_chunks(
    tmp_path: Path, name: str, body: str | bytes, kwargs: dict[str, Any]
) -> None:
    path = written(tmp_path, body)
    with pytest.raises(EngineDeclined):
        fast(path, kwargs)
    with pytest.raises(EngineDeclined):
        in_chunks(path, kwargs)


def test_non_ascii_header_is_rejected_as_in_pandas(tmp_path: Path) -> None:
    path = written(tmp_path, "é,b\n1,2\n3,4\n")
    with pytest.raises(EngineDeclined):
        fast(path, {"encoding": "ascii"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_two_byte_order_marks_are_left_to_pandas(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(EngineDeclined):
        fast(written(tmp_path, b"\xef\xbb\xbf" * 2 + b"a,b\n1,2\n3,4\n"), {"encoding": encoding})


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7])
def test_carriage_returns_that_pandas_cannot_chunk_are_not_an_error(tmp_path: Path, rows: int) -> None:
    path = written(tmp_path, "c0;c1\r-7;9\r;False\r1x;nan\r1x;False\rabc;False\r;True\r;False\r;True\r;")
    _check(_result(in_chunks, path, {"sep": ";"}, rows), by_pandas(path, {"sep": ";"}), str(rows))


@pytest.mark.parametrize("tens", seeds(15, 60))
def test_generated_tables(tmp_path: Path, tens: int) -> None:
    """If pandas raises, the engines leave the file to pandas or raise too."""
    for seed in range(tens * 10, tens * 10 + 10):
        table = odd_table(seed)
        path = written(tmp_path, table.body)
        expected = _result(by_pandas, path, table.kwargs)
        for engine, sizes in ((fast, (1, 20, 1000)), (in_chunks, (1, 3, 100))):
            found = _result(engine, path, table.kwargs, sizes[seed % 3])
            _check(found, expected, f"{engine.__name__} {table.body!r} {table.kwargs}")


def test_most_generated_tables_are_read_by_the_fast_engine(tmp_path: Path) -> None:
    """Otherwise the tests above would prove little."""
    read = [_is_read_fast(written(tmp_path, odd_table(seed).body), odd_table(seed).kwargs) for seed in range(200)]
    assert sum(read) > 40


@settings(derandomize=True, max_examples=examples(60, 300), deadline=None)
@given(
    body=st.text(st.sampled_from(',"\n\r a1.\0é'), max_size=60),
    header=st.sampled_from(["a,b\n", "a\n", "a,b,c\r\n"]),
    piece=st.sampled_from([1, 5, 40]),
)
def test_arbitrary_characters(tmp_path_factory: pytest.TempPathFactory, body: str, header: str, piece: int) -> None:
    path = written(tmp_path_factory.getbasetemp(), header + body)
    _check(_result(fast, path, {}, piece), _result(by_pandas, path, {}), repr(header + body))


def _result(read: Callable[..., pa.Table], *arguments: Any) -> pa.Table | Exception:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(*arguments)
    except Exception as error:  # noqa: BLE001
        return error


def _check(found: pa.Table | Exception, expected: pa.Table | Exception, what: str) -> None:
    if isinstance(found, EngineDeclined):
        return
    if isinstance(expected, Exception):
        given_room = "NA values" in str(expected)
        assert given_room or type(found) is type(expected) or isinstance(found, UnicodeDecodeError), f"{what} {found}"
        return
    assert isinstance(found, pa.Table), f"{what}: {found!r}"
    assert difference(found, expected) == "", what


def _is_read_fast(path: Path, kwargs: dict[str, Any]) -> bool:
    return isinstance(_result(fast, path, kwargs), pa.Table)
