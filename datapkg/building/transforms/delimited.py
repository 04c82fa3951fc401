"""csv, tsv and ssv: delimited text, read as `pandas.read_csv` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.frames import table_from_frame

if TYPE_CHECKING:
    import pandas


def csv(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """Text with commas."""
    return _read(path, {"sep": ","}, kwargs, warn)


def tsv(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """Text with tabs."""
    return _read(path, {"sep": "\t"}, kwargs, warn)


def ssv(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """Text with semicolons."""
    return _read(path, {"sep": ";"}, kwargs, warn)


def _read(path: Path, defaults: dict[str, Any], kwargs: dict[str, Any], warn: Any) -> Any:
    import pandas

    return table_from_frame(pandas.read_csv(path, low_memory=False, **{**defaults, **kwargs}))
