"""A table for narwhals, based on a table of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def convert(table: TableLike) -> Any:
    """Return what narwhals expects of `__narwhals_dataframe__`: its wrapper around a native frame."""
    return nw.from_native(table.arrow())._compliant_frame
