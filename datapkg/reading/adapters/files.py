"""The Parquet objects of a table as files, for libraries that read these by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapkg.reading.nodes.interchange import TableInterchange
from datapkg.reading.tables import row_filters


def paths(table: TableInterchange) -> list[Path]:
    """The files of all objects in the order of their rows; raises `ObjectNotFound`, `CorruptObject`."""
    path = table.path
    return sorted(path.iterdir()) if len(table.__entry__.blocks) > 1 else [path]


def known(table: TableInterchange, columns: Sequence[str]) -> list[str]:
    """These names of columns, each once; raises `NodeNotFound` for one that is not there, as `node()` does."""
    return row_filters.known(table.__stored__, columns)
