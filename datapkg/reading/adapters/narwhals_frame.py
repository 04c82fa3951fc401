"""A table as narwhals works with it, on a table of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def convert(table: TableLike) -> Any:
    """What narwhals asks `__narwhals_dataframe__` for: the inner side of its DataFrame."""
    return nw.from_native(table.arrow())._compliant_frame
