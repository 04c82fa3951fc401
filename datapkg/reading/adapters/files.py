"""The Parquet objects of a table as files, for libraries that read these by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapkg.errors import InvalidInput
from datapkg.format.names import shown
from datapkg.reading import parquet
from datapkg.reading.nodes.interchange import Exchanged


def paths(table: Exchanged) -> list[Path]:
    """The files of all objects in the order of their rows; raises `ObjectNotFound`, `CorruptObject`."""
    path = table.path
    return sorted(path.iterdir()) if len(table.__entry__.objects_) > 1 else [path]


def known(table: Exchanged, columns: Sequence[str]) -> list[str]:
    """These names of columns, each once; raises `NodeNotFound` for one that is not there, as `node()` does."""
    if isinstance(columns, str):
        raise InvalidInput(f"columns is a list of names; for one column write [{shown(columns)}]")
    for name in columns:
        if name not in table.columns:
            raise parquet.no_column(table.__source__, table.__entry__, name)
    return list(dict.fromkeys(columns))
