"""Objects whose hash is right, made to break what reads them: each is one of our errors, or is read without harm."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.building.readers.numpy_array import header
from datapkg.errors import CorruptObject, InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import ArrayNode, Block, Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.nodes.base import node_at
from datapkg.reading.source import Source

HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
HEADERS = {
    "cut short": "{'descr': '<f8', 'shape': (1L, ",
    "many brackets": "(" * 5000,
    "many signs": "-" * 4000 + "1",
    "no text": "\0",
    "another length": HEADER % "(3,)",
    "a length without measure": HEADER % "(10000000000000,)",
    "a length of many digits": HEADER % f"({'9' * 5000},)",
    "a length below zero": HEADER % "(-1,)",
    "nothing of much": HEADER % "(0, 4611686018427387904, 9)",
    "objects": HEADER.replace("<f8", "O") % "(1,)",
    "no type": "{'descr': 5, 'fortran_order': False, 'shape': (1,), }",
    "half a record": "{'descr': [('a',)], 'fortran_order': False, 'shape': (1,), }",
    "text without measure": HEADER.replace("<f8", "<U999999999999") % "(1,)",
}


def npy(text: str, data: bytes = bytes(8)) -> bytes:
    padded = text.encode("latin-1")
    padded += b" " * (64 - (len(padded) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded + data


def opened(tmp_path: Path, node: Node, data: bytes) -> Source:
    """The state of a package of one node, whose object has these bytes."""
    home = Home({"DATAPKG_HOME": str(tmp_path)})
    home.store.prepare()
    home.store.objects.put_bytes(data)
    manifest = Manifest.make([node], {})
    return Source(home.store, Ref("me", "x"), home.store.save(manifest))


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_of_an_array(tmp_path: Path, name: str) -> None:
    data = npy(HEADERS[name])
    entry = ArrayNode(path="a", file_name="a.npy", dtype="<f8", hash=hash_bytes(data), shape=[1], size=len(data))
    node = node_at(opened(tmp_path, entry, data), "a")
    with pytest.raises(CorruptObject, match="cannot be read as an array"):
        node()  # type: ignore[operator]
    assert "<div" in node._repr_html_()  # type: ignore[attr-defined]
    (tmp_path / "a.npy").write_bytes(data)
    with open(tmp_path / "a.npy", "rb") as stream, pytest.raises(InvalidInput):
        header(stream)


def test_hostile_shape_is_rejected_even_if_the_manifest_has_it(tmp_path: Path) -> None:
    data = npy(HEADER % "(1000000000000,)")
    shape = [1_000_000_000_000]
    entry = ArrayNode(path="a", file_name="a.npy", dtype="<f8", hash=hash_bytes(data), shape=shape, size=len(data))
    with pytest.raises(CorruptObject, match="promises 8,000,000,000,000 bytes of data, there are 8"):
        node_at(opened(tmp_path, entry, data), "a")()  # type: ignore[operator]


def table(tmp_path: Path, columns: list[tuple[str, str]], metadata: dict[bytes, bytes] | None = None) -> Source:
    data = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]}).replace_schema_metadata(metadata)
    pq.write_table(data, tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    block = Block(hash=hash_bytes(whole), rows=3, size=len(whole))
    content = "c1:" + "0" * 64
    entry = TableNode(path="t", file_name="t", columns=columns, content=content, blocks=[block], rows=3)
    return opened(tmp_path, entry, whole)


RIGHT = [("a", "int64"), ("b", "string")]


@pytest.mark.parametrize(
    "value",
    [
        b'{"index_columns":' + b"[" * 100_000,
        b'{"index_columns":[5,null,{}],"columns":[1,{"name":[]}],"column_indexes":[{}, 3]}',
        b'{"index_columns":[{"kind":"range","start":"a","stop":null,"step":0}],"columns":[],"column_indexes":[]}',
        b"\xff\xfe",
    ],
)
def test_unusable_pandas_metadata_are_ignored(tmp_path: Path, value: bytes) -> None:
    node = node_at(table(tmp_path, RIGHT, {b"pandas": value}), "t")
    frame = node()  # type: ignore[operator]
    assert frame["a"].tolist() == [1, 2, 3]
    assert np.asarray(node[["a"]]).tolist() == [[1], [2], [3]]  # type: ignore[index]
    assert len(node.head(2)) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [[("a", "double"), RIGHT[1]], [RIGHT[0], ("b", "dictionary<string>")]])
def test_types_that_differ_from_the_object_are_rejected(tmp_path: Path, columns: list[tuple[str, str]]) -> None:
    node = node_at(table(tmp_path, columns), "t")
    wrong = next(name for (name, kind), right in zip(columns, RIGHT, strict=True) if (name, kind) != right)
    for read in (node, node.arrow, node.head, node.describe):  # type: ignore[attr-defined]
        with pytest.raises(CorruptObject, match=f"column '{wrong}' of its object is .*, but the manifest says"):
            read()
