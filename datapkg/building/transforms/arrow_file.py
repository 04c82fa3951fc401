"""feather and arrow: a table in one of Arrow's own forms, whichever of them its first bytes say.

These are the IPC file (Feather's version 2), the IPC stream, and Feather's version 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datapkg.building.transforms.columnar import chosen_columns

_FILE, _OLD_FEATHER = b"ARROW1", b"FEA1"


def arrow(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table in the file; nothing in it is believed before it was checked, since its bytes are used as they lie."""
    import pyarrow as pa

    from datapkg.building.frames import table_from_arrow

    with pa.OSFile(str(path), "rb") as file:
        start = file.read(len(_FILE))
        file.seek(0)
        table = _read(file, start, path)
    table.validate(full=True)
    return table_from_arrow(chosen_columns(table, kwargs))


def _read(file: Any, start: bytes, path: Path) -> Any:
    import pyarrow as pa

    if start.startswith(_OLD_FEATHER):
        from pyarrow import feather

        return feather.read_table(path, memory_map=False)
    open_reader = pa.ipc.open_file if start == _FILE else pa.ipc.open_stream
    with open_reader(file) as reader:
        return reader.read_all()
