"""Small packages made by hand into a home: Parquet, files and arrays, without the rooms that build."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.refs import Current
from datapkg.tables.content_hash import column_texts
from datapkg.tables.pandas_metadata import remember_categories
from datapkg.tables.storage_types import to_storage_types

CONTENT = "c1:" + "0" * 64


def parquet_bytes(data: pd.DataFrame | pa.Table) -> bytes:
    table = to_storage_types(data if isinstance(data, pa.Table) else pa.Table.from_pandas(data))
    sink = io.BytesIO()
    pq.write_table(remember_categories(table.unify_dictionaries()), sink, compression="zstd")
    return sink.getvalue()


def table_node(home: Home, path: str, *blocks: pd.DataFrame | pa.Table, **more: Any) -> TableNode:
    """A table whose objects, one a block, are put into the store."""
    tables = [each if isinstance(each, pa.Table) else pa.Table.from_pandas(each) for each in blocks]
    data = [parquet_bytes(each) for each in tables]
    hashes = home.store.objects.put_many(data)
    objects = [Block(hash, len(t), len(d)) for hash, t, d in zip(hashes, tables, data, strict=True)]
    columns = column_texts(tables[0].schema)
    rows = sum(map(len, tables))
    return TableNode(path=path, columns=columns, content=CONTENT, blocks=objects, rows=rows, **more)


def file_node(home: Home, path: str, data: bytes, **more: Any) -> FileNode:
    return FileNode(path=path, hash=home.store.objects.put_bytes(data), size=len(data), **more)


def array_node(home: Home, path: str, array: np.ndarray[Any, Any], **more: Any) -> ArrayNode:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    data = sink.getvalue()
    hash, shape = home.store.objects.put_bytes(data), list(array.shape)
    return ArrayNode(path=path, dtype=array.dtype.str, hash=hash, shape=shape, size=len(data), **more)


def group_node(path: str, **meta: Any) -> GroupNode:
    return GroupNode(path=path, meta=meta)


def install(home: Home, package: str, *nodes: Node, meta: dict[str, Any] | None = None) -> str:
    """Makes a package of these nodes the current state; gives its hash."""
    user, name = package.split("/")
    home.store.prepare()
    manifest = Manifest.make(nodes, meta)
    home.store.save(manifest)
    home.store.refs.set_current(Ref(user, name), Current(manifest.hash, "local"))
    return manifest.hash


def iris_frame() -> pd.DataFrame:
    kinds = ["setosa", "versicolor", "virginica"]
    return pd.DataFrame({"petal_length": [1.4, 4.7, 6.0], "petal_width": [0.2, 1.4, 2.5], "class": kinds})


def install_iris(home: Home, package: str = "uciml/iris") -> str:
    """Iris in small: a table, a README, two raw files in a group, and an array."""
    return install(
        home,
        package,
        table_node(home, "measurements", iris_frame(), file_name="iris.data"),
        file_node(home, "README.md", b"# Iris\n", file_name="README.md"),
        file_node(home, "raw/a.jpg", b"\xff\xd8a", file_name="a.jpg"),
        file_node(home, "raw/b.jpg", b"\xff\xd8b", file_name="b.jpg"),
        array_node(home, "weights", np.arange(6.0).reshape(2, 3)),
        meta={"title": "Iris", "licence": "CC-BY-4.0"},
    )
