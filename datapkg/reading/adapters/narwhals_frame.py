"""A table as narwhals works with it, on a table of Arrow."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from datapkg.reading.nodes.interchange import TableInterchange


def convert(table: TableInterchange) -> Any:
    """What narwhals asks `__narwhals_dataframe__` for: the inner side of its DataFrame."""
    return nw.from_native(table.arrow())._compliant_frame
