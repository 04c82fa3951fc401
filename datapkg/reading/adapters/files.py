"""The Parquet objects of a table as files, for libraries that read Parquet themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.reading.tables import row_filters

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def paths(table: TableLike) -> list[Path]:
    """Return the files of all objects in the order of their rows; raise `ObjectNotFound`, `CorruptObject`."""
    path = table.path
    if len(table.__entry__.blocks) == 1:
        return [path]
    # Each name is the number of its block; leading zeros sort up to 99,999 of them.
    return sorted(path.iterdir(), key=lambda file: (len(file.name), file.name))


def known(table: TableLike, columns: Sequence[str]) -> list[str]:
    """Return these names of columns, each once; raise `NodeNotFound` for an unknown one, as `node()` does."""
    return row_filters.known(table.__stored__, columns)
