"""How a pandas DataFrame becomes an Arrow table from which the same DataFrame comes back."""

from __future__ import annotations

from typing import Any


def table_from_frame(frame: Any) -> Any:
    """The frame as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)
