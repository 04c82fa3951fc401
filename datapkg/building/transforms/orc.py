"""orc: a table in an ORC file, in the types that Arrow has for its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datapkg.building.transforms.columnar import chosen_columns, chosen_schema


def orc(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table in the file, read a stripe at a time."""
    import pyarrow as pa
    from pyarrow.orc import ORCFile

    from datapkg.building.transforms.batches import batches

    def read() -> Iterator[Any]:
        with pa.OSFile(str(path), "rb") as file:
            stripes = ORCFile(file)
            for number in range(stripes.nstripes):
                yield chosen_columns(pa.Table.from_batches([stripes.read_stripe(number)]), kwargs)

    with pa.OSFile(str(path), "rb") as file:
        return batches(chosen_schema(ORCFile(file).schema, kwargs), read)
