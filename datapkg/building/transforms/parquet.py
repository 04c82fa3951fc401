"""parquet: one readable Parquet file is a table as it lies; with `rewrite: true` it is written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO


def content(stream: BinaryIO) -> Any:
    """The `Content` of an open Parquet file, for which all of it is read."""
    from datapkg.format.content import content_of_objects

    return content_of_objects([stream])


def parquet(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """The table in a Parquet file, read to be written by our writer."""
    import pyarrow.parquet as pq

    from datapkg.building.frames import normal_schema

    with pq.ParquetFile(path) as file:
        return normal_schema(file.read())
