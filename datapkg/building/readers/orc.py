"""orc: read the table in an ORC file, in Arrow's types for those of ORC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datapkg.building.readers.columnar import chosen_columns, chosen_schema

_BATCH_ROWS = 65_536


def orc(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return the table in the file, read in batches: a stripe of a few bytes may contain any number of rows."""
    import pyarrow as pa
    from pyarrow.orc import ORCFile

    from datapkg.building.readers.batches import batches

    with pa.OSFile(str(path), "rb") as file:
        found = ORCFile(file)
        schema, rows = found.schema, found.nrows
    is_odd = len(set(schema.names)) < len(schema.names)

    def read() -> Iterator[Any]:
        for batch in _stripes(path) if is_odd else _batches(path):
            yield chosen_columns(pa.Table.from_batches([batch]), kwargs)

    return batches(chosen_schema(schema, kwargs), read, rows)


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    fragment = ds.OrcFileFormat().make_fragment(str(path), LocalFileSystem())
    return iter(fragment.to_batches(batch_size=_BATCH_ROWS, batch_readahead=0, fragment_readahead=0, use_threads=False))


def _stripes(path: Path) -> Iterator[Any]:
    """Yield the rows stripe by stripe, for files with duplicate column names, which a dataset cannot distinguish."""
    import pyarrow as pa
    from pyarrow.orc import ORCFile

    with pa.OSFile(str(path), "rb") as file:
        stripes = ORCFile(file)
        for number in range(stripes.nstripes):
            yield stripes.read_stripe(number)
