"""xls, xlsx and ods: one sheet of a workbook, read as `pandas.read_excel` reads it with calamine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datapkg.errors import InvalidInput


def excel(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table on a sheet: the first, or the one that `sheet_name` names."""
    import pandas

    from datapkg.building.frames import table_from_frame

    if isinstance(kwargs.get("sheet_name", 0), bool) or not isinstance(kwargs.get("sheet_name", 0), (str, int)):
        raise InvalidInput(
            "`sheet_name` is the name or the number of one sheet", hint="give every sheet a node of its own"
        )
    return table_from_frame(pandas.read_excel(path, engine="calamine", **kwargs))
