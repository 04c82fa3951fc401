"""parquet: one readable Parquet file is a table as it lies; with `rewrite: true` it is written anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from datapkg.errors import InvalidInput
from datapkg.format.names import shown


def content(stream: BinaryIO) -> Any:
    """The `Content` of an open Parquet file, for which all of it is read.

    Raises `InvalidInput` for one without columns, or with two of one name, which readers cannot tell apart.
    """
    from datapkg.format.content import content_of_objects

    found = content_of_objects([stream])
    names = [name for name, _ in found.columns]
    if not names:
        raise InvalidInput("there is no column in it")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"column {shown(twice)} is in it twice", hint="say kwargs: {rewrite: true}")
    return found


def parquet(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """The table in a Parquet file, read to be written by our writer."""
    import pyarrow.parquet as pq

    from datapkg.building.transforms.batches import batches

    def read() -> Iterator[Any]:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches()

    with pq.ParquetFile(path) as file:
        return batches(file.schema_arrow, read)
