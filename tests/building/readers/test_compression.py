"""Compressed text is read and named as its decompressed content."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from datapkg.building.readers import guess, node_name
from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zst,
}
TEXTS = {
    ".csv": b"id,t\n1,a\n2,\xc3\xa9\n",
    ".tsv": b"id\tt\n1\ta\n2\t\xc3\xa9\n",
    ".ssv": b"id;t\n1;a\n2;\xc3\xa9\n",
    ".json": '[{"id": 1, "t": "a"}, {"id": 2, "t": "é"}]'.encode(),
    ".jsonl": '{"id": 1, "t": "a"}\n{"id": 2, "t": "é"}\n'.encode(),
    ".ndjson": '{"id": 1, "t": "a"}\n{"id": 2, "t": "é"}\n'.encode(),
}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("extension", TEXTS)
def test_every_text_under_every_compression(tmp_path: Path, extension: str, packed: str) -> None:
    bench = Bench()
    built = bench.build(write(tmp_path, {f"a{extension}{packed}": PACKERS[packed](TEXTS[extension])}))
    assert kinds(built) == {"a": "table"}
    assert bench.frame(built, "a").to_dict("list") == {"id": [1, 2], "t": ["a", "é"]}


@pytest.mark.parametrize("packed", PACKERS)
def test_kwargs_reach_the_text(tmp_path: Path, packed: str) -> None:
    pack = PACKERS[packed]
    files = {
        f"a.csv{packed}": pack("x;é\n1;2\n".encode("latin-1")),
        f"b.jsonl{packed}": pack(b'{"a": "2024-01-02"}\n'),
        f"c.csv{packed}": pack(b"1::2\n3::4\n"),
        f"d.csv{packed}": pack(b"a,b\n1,2\n3,4,5\n"),
        "build.yml": f"""\
contents:
  a: {{file: a.csv{packed}, kwargs: {{sep: ";", encoding: latin-1}}}}
  b: {{file: b.jsonl{packed}, kwargs: {{convert_dates: [a]}}}}
  c: {{file: c.csv{packed}, kwargs: {{sep: "::", header: , dtype: {{one: int, two: int}}}}}}
  d: {{file: d.csv{packed}, kwargs: {{on_bad_lines: skip}}}}
""",
    }
    bench = Bench()
    built = bench.build(write(tmp_path, files))
    assert bench.frame(built, "a").to_dict("list") == {"x": [1], "é": [2]}
    assert bench.frame(built, "b")["a"].dt.year.tolist() == [2024]
    assert bench.frame(built, "c").to_dict("list") == {"one": [1, 3], "two": [2, 4]}
    assert bench.frame(built, "d").to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.parametrize("compression", ["zstd", "{method: zstd}"])
def test_compression_kwarg_overrides_the_file_name(tmp_path: Path, compression: str) -> None:
    build_file = f"contents:\n  a: {{file: a.dat, transform: csv, kwargs: {{compression: {compression}}}}}\n"
    bench = Bench()
    built = bench.build(write(tmp_path, {"a.dat": zst(TEXTS[".csv"]), "build.yml": build_file}))
    assert bench.frame(built, "a")["id"].tolist() == [1, 2]


def test_null_compression_kwarg_disables_a_misleading_suffix(tmp_path: Path) -> None:
    build_file = "contents:\n  a: {file: a.csv.zst, kwargs: {compression: }}\n"
    bench = Bench()
    built = bench.build(write(tmp_path, {"a.csv.zst": TEXTS[".csv"], "build.yml": build_file}))
    assert bench.frame(built, "a")["id"].tolist() == [1, 2]


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("extension", [".csv", ".jsonl"])
def test_truncated_file_is_rejected(tmp_path: Path, extension: str, packed: str) -> None:
    body = PACKERS[packed](TEXTS[extension] * 1_000)
    with pytest.raises(TransformFailed, match="cannot be read"):
        Bench().build(write(tmp_path, {f"a{extension}{packed}": body[:-12]}))


def test_concatenated_members_are_all_read(tmp_path: Path) -> None:
    first, second = b"id\n1\n", b"2\n"
    files = {f"a{end[1:]}.csv{end}": pack(first) + pack(second) for end, pack in PACKERS.items()}
    bench = Bench()
    built = bench.build(write(tmp_path, files))
    assert {path: bench.frame(built, path)["id"].tolist() for path in kinds(built)} == {
        path: [1, 2] for path in ("abz2", "agz", "axz", "azst")
    }


@pytest.mark.parametrize(
    ("name", "transform", "node"),
    [
        ("a.csv.zst", "csv", "a"),
        ("a.CSV.ZST", "csv", "a"),
        ("a.b.tsv.gz", "tsv", "a.b"),
        ("a.xlsx.gz", "id", "a.xlsx.gz"),
        ("a.parquet.zst", "id", "a.parquet.zst"),
        ("a.arrow.gz", "id", "a.arrow.gz"),
        ("a.zst", "id", "a.zst"),
        ("a.tar.zst", "id", "a.tar.zst"),
        (".csv.gz", "id", ".csv.gz"),
    ],
)
def test_transform_and_node_name_from_file_name(tmp_path: Path, name: str, transform: str, node: str) -> None:
    assert (guess(tmp_path / name), node_name(name, transform)) == (transform, node)
