"""orc: a table in an ORC file, in the types that Arrow has for its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datapkg.building.transforms.columnar import chosen_columns


def orc(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table in the file."""
    import pyarrow as pa
    from pyarrow.orc import ORCFile

    from datapkg.building.frames import table_from_arrow

    with pa.OSFile(str(path), "rb") as file:
        table = ORCFile(file).read()
    return table_from_arrow(chosen_columns(table, kwargs))
