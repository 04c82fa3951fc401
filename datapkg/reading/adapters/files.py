"""The Parquet objects of a table as files, for libraries that read these by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.reading.tables import row_filters

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def paths(table: TableLike) -> list[Path]:
    """The files of all objects in the order of their rows; raises `ObjectNotFound`, `CorruptObject`."""
    path = table.path
    return sorted(path.iterdir()) if len(table.__entry__.blocks) > 1 else [path]


def known(table: TableLike, columns: Sequence[str]) -> list[str]:
    """These names of columns, each once; raises `NodeNotFound` for one that is not there, as `node()` does."""
    return row_filters.known(table.__stored__, columns)
