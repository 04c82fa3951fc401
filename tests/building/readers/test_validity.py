"""Everything that a build accepts can be read in every way; invalid values are reported at build time."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

import datapkg
from datapkg.api.cat import cat
from datapkg.errors import DatapkgError, InvalidInput, TransformFailed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.tables.cell_text import not_as_text
from tests.building.builds import Bench, write

BAD_TEXT = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffA"))
BAD: dict[str, tuple[pa.Array, str]] = {
    "text": (BAD_TEXT, "UTF8"),
    "text in a list": (pa.ListArray.from_arrays([0, 1], BAD_TEXT), "UTF8"),
    "text in a struct": (pa.StructArray.from_arrays([BAD_TEXT], ["s"]), "UTF8"),
    "categories": (pa.DictionaryArray.from_arrays(pa.array([0]), BAD_TEXT), "UTF8"),
    "time before midnight": (pa.array([-1]).view(pa.time64("us")), "acceptable range"),
    "time after the day": (pa.array([86_400_000], pa.int32()).view(pa.time32("ms")), "acceptable range"),
    "date": (pa.array([3_000_000], pa.int32()).view(pa.date32()), "year 10,183"),
    "date in a list": (pa.ListArray.from_arrays([0, 1], pa.array([-(10**6)], pa.int32()).view(pa.date32())), "year -"),
    "time with a zone": (pa.array([10**15], pa.timestamp("ms", "UTC")), "years 1 to 9999"),
    "unknown zone": (pa.array([1], pa.timestamp("ms", "Nowhere/Else")), "time zone"),
    "decimal": (pa.array([123]).view(pa.int64()).cast(pa.decimal128(19)).view(pa.decimal128(2)), "precision"),
}
# At the limits of what can be read, or unusual.
ODD = [
    pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
    pa.array([-62_135_596_800 * 10**6, 253_402_300_799 * 10**6], pa.timestamp("us")),
    pa.array([8 * 10**15], pa.timestamp("ms")),
    pa.array([-62 * 10**15, 253 * 10**15], pa.timestamp("us", "Asia/Tokyo")),
    pa.array([0, 86_399_999_999], pa.int64()).view(pa.time64("us")),
    pa.array([2**62], pa.duration("ms")),
    pa.array([b"\xff", None]),
    pa.array([None, None], pa.null()),
    pa.array([2**64 - 1, None], pa.uint64()),
    pa.array([[{"a": 1}], None, []]),
    pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    pa.array([[8 * 10**15]], pa.list_(pa.timestamp("ms"))),
    pa.array([[2**62]], pa.list_(pa.duration("ms"))),
    pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
]
# Types that Parquet lacks, or on which Arrow's writer or dictionary lookup fails, some by ending the process.
OTHERS = {
    "seconds": pa.array([1, None], pa.timestamp("s", "UTC")),
    "times": pa.array([1, None], pa.time32("s")),
    "days": pa.array([0, None], pa.date64()),
    "text": pa.array(["a", None], pa.string_view()),
    "bytes": pa.array([b"a", None], pa.binary_view()),
    "decimal": pa.array([decimal.Decimal("1.5"), None], pa.decimal32(4, 1)),
    "half": pa.array([np.float16(1.5), None]),
    "null": pa.nulls(2),
    "categories": pa.array([1, None], pa.timestamp("s")).dictionary_encode(),
}
WRAPPED: dict[str, Any] = {
    "list": lambda array: pa.ListArray.from_arrays([0, 1, 2], array),
    "struct": lambda array: pa.StructArray.from_arrays([array], ["x"]),
    "list of structs": lambda array: pa.ListArray.from_arrays([0, 1, 2], pa.StructArray.from_arrays([array], ["x"])),
    "map": lambda array: pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "k"]), array),
    "dictionary": lambda array: pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), array),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("form", ["parquet", "rewritten", "arrow", "value"])
def test_invalid_values_are_reported_at_build(what: str, form: str, tmp_path: Path) -> None:
    array, reason = BAD[what]
    table = pa.table({"ok": [1], "bad": array})
    source: Any = tmp_path
    if form == "value":
        source = {"t": table}
    elif form == "arrow":
        with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    else:
        try:
            pq.write_table(table, tmp_path / "t.parquet")
        except pa.ArrowException:
            return  # Parquet has no way to write it
        kwargs = ", kwargs: {rewrite: true}" if form == "rewritten" else ""
        write(tmp_path, {"build.yml": f"contents:\n  t: {{file: t.parquet{kwargs}}}\n"})
    with pytest.raises(TransformFailed, match=reason) as caught:
        Bench().build(source)
    if what != "categories" or form in ("arrow", "value"):  # pyarrow's reader of Parquet refuses these itself
        assert "column 'bad'" in str(caught.value)


def test_orc_and_feather_version_1_are_checked_too(tmp_path: Path) -> None:
    table = pa.table({"bad": BAD_TEXT})
    orc.write_table(table, tmp_path / "t.orc")
    feather.write_feather(table, tmp_path / "u.feather")
    for name in ("t.orc", "u.feather"):
        with pytest.raises(TransformFailed, match="column 'bad'"):
            Bench().build(tmp_path / name)


@pytest.mark.parametrize("at", range(len(ODD)))
def test_built_tables_can_be_read_in_every_way(at: int, tmp_path: Path, own_home: Path) -> None:
    table = pa.table({"v": ODD[at]})
    pq.write_table(table, tmp_path / "t.parquet")
    datapkg.build("me/odd", tmp_path / "t.parquet")
    node = datapkg.load("me/odd").t
    assert node.arrow().equals(pq.read_table(tmp_path / "t.parquet"))
    assert len(node()) == len(table)
    assert printed(own_home).startswith("v\n")
    assert len(json.loads(printed(own_home, as_json=True))) == len(table)
    datapkg.export("me/odd", tmp_path / "parquet", format="parquet")
    if not_as_text(table.schema):
        with pytest.raises(InvalidInput, match="text cannot hold the values of column"):
            datapkg.export("me/odd", tmp_path / "csv", format="csv")
    else:
        datapkg.export("me/odd", tmp_path / "csv", format="csv")


def printed(home: Path, as_json: bool = False) -> str:
    pieces: list[bytes] = []
    cat(Home({"DATAPKG_HOME": str(home)}), Ref.parse("me/odd/t"), pieces.append, as_json=as_json)
    return b"".join(pieces).decode()


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("inside", WRAPPED)
def test_types_that_parquet_lacks_become_types_it_has(what: str, inside: str) -> None:
    array = WRAPPED[inside](OTHERS[what])
    bench = Bench()
    found = bench.table(bench.build({"t": pa.table({"v": array})}), "t").column("v")
    assert found.to_pylist() == array.to_pylist()


def test_cat_shows_values_without_a_python_type(own_home: Path) -> None:
    columns = {
        "far": pa.array([8 * 10**15], pa.timestamp("ms")),
        "exact": pa.array([[1]], pa.list_(pa.time64("ns"))),
        "pairs": ODD[-1],
        "map": pa.array([[("k", b"\xff")]], pa.map_(pa.string(), pa.binary())),
        "zone": pa.array([{"t": 1_500_000}], pa.struct([("t", pa.timestamp("us", "Asia/Tokyo"))])),
        "flag": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())),
        "id": pa.array([b"a" * 16], pa.uuid()),
    }
    datapkg.build("me/odd", {"t": pa.table(columns)})
    assert json.loads(printed(own_home, as_json=True)) == [
        {
            "far": "255479-11-28 14:13:20",
            "exact": ["00:00:00.000000001"],
            "pairs": [["a", 1], ["a", 2]],
            "map": [["k", "/w=="]],
            "zone": {"t": "1970-01-01T09:00:01.5+09:00"},
            "flag": True,
            "id": "61616161-6161-6161-6161-616161616161",
        }
    ]
    assert printed(own_home).splitlines()[1].startswith('255479-11-28 14:13:20,"[""00:00:00.000000001""]"')


def footer_with_rows(path: Path, rows: int, stated: int) -> None:
    """Write a Parquet file whose footer states another number of rows than its row group has."""
    pq.write_table(pa.table({"id": range(rows)}), path)
    data = path.read_bytes()
    at = data.rindex(bytes([0x16, rows * 2, 0x19]))
    path.write_bytes(data[: at + 1] + bytes([stated * 2]) + data[at + 2 :])


def test_footer_with_a_wrong_number_of_rows(tmp_path: Path) -> None:
    footer_with_rows(tmp_path / "t.parquet", 6, 0)
    with pytest.raises(TransformFailed, match="states 0 rows, but there are 6") as caught:
        Bench().build(tmp_path)
    assert "rewrite: true" in str(caught.value.hint)
    write(tmp_path, {"build.yml": "contents:\n  t: {file: t.parquet, kwargs: {rewrite: true}}\n"})
    bench = Bench()
    assert bench.table(bench.build(tmp_path), "t").column("id").to_pylist() == list(range(6))


def test_message_names_the_row(tmp_path: Path) -> None:
    text = pa.chunked_array([pa.array(["x"] * 65_536), BAD_TEXT])
    pq.write_table(pa.table({"s": text}), tmp_path / "t.parquet")
    with pytest.raises(DatapkgError, match="in row 65,537: "):
        Bench().build(tmp_path)
