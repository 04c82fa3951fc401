"""The Parquet objects of a table as files, for libraries that read these by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapkg.reading import filtering
from datapkg.reading.nodes.interchange import Exchanged


def paths(table: Exchanged) -> list[Path]:
    """The files of all objects in the order of their rows; raises `ObjectNotFound`, `CorruptObject`."""
    path = table.path
    return sorted(path.iterdir()) if len(table.__entry__.objects_) > 1 else [path]


def known(table: Exchanged, columns: Sequence[str]) -> list[str]:
    """These names of columns, each once; raises `NodeNotFound` for one that is not there, as `node()` does."""
    return filtering.known(table.__source__, table.__entry__, columns)
