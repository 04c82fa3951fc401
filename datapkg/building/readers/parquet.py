"""parquet: store a readable Parquet file unchanged as a table; with `rewrite: true`, write it again.

Files that readers would misread are always rewritten: those with extension types below the top level, which become
their storage type, and those with INT96 times beyond the range of nanoseconds, which become microseconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.objects.progress import Share, ignore_share

# The largest number of seconds in an int64 of nanoseconds and of microseconds.
_NS_SECONDS, _US_SECONDS = (2**63 - 1) // 10**9, (2**63 - 1) // 10**6


def content(stream: BinaryIO, share: Share = ignore_share) -> Any:
    """Return the `Content` of an open Parquet file, all of which is read; None if it has to be rewritten.

    Raise `InvalidInput` for a file without columns, with two columns of one name, which readers cannot distinguish,
    with invalid values, or with another number of rows than its footer states.
    """
    import pyarrow.parquet as pq

    from datapkg.building.readers.validity import check_values
    from datapkg.tables.content_hash import content_of_objects
    from datapkg.tables.extension_types import has_inner_extensions

    file = pq.ParquetFile(stream)
    names = file.schema_arrow.names
    if not names:
        raise InvalidInput("it has no columns")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"column {quoted(twice)} is in it twice", hint="set kwargs: {rewrite: true}")
    if has_inner_extensions(file.schema_arrow) or _int96_unit(stream) is not None:
        return None

    def check(table: Any, row: int) -> None:
        share(row / max(file.metadata.num_rows, 1))
        check_values(table, row)

    found = content_of_objects([stream], check)
    if found.rows != file.metadata.num_rows:
        raise InvalidInput(
            f"its footer states {file.metadata.num_rows:,} rows, but there are {found.rows:,}",
            hint="to read the rows that are there, set kwargs: {rewrite: true}",
        )
    return found


def parquet(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    """Return the table in a Parquet file, to be written again by datapkg's writer."""
    import pyarrow.parquet as pq

    from datapkg.building.readers.batches import batches
    from datapkg.tables.block_reader import rows_at_once
    from datapkg.tables.content_hash import READ_ROWS

    unit = _int96_unit(path)
    if unit is not None:
        warnings.warn("INT96 times beyond what nanoseconds can hold are kept in microseconds", stacklevel=2)

    def read() -> Iterator[Any]:
        with pq.ParquetFile(path, page_checksum_verification=True, coerce_int96_timestamp_unit=unit) as file:
            yield from file.iter_batches(rows_at_once(file, READ_ROWS))

    with pq.ParquetFile(path, coerce_int96_timestamp_unit=unit) as file:
        return batches(file.schema_arrow, read, file.metadata.num_rows)


def _int96_unit(source: Path | BinaryIO) -> str | None:
    """Return "us" if a file has INT96 times that nanoseconds cannot represent, else None.

    pyarrow reads INT96 as nanoseconds and silently overflows: the year 9999 becomes 1816. Raise `InvalidInput` for
    times that microseconds cannot represent either.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from datapkg.building.readers.validity import leaves

    furthest = 0
    # Seconds never overflow: INT96 counts days in 32 bits.
    file = pq.ParquetFile(source, coerce_int96_timestamp_unit="s")
    columns = [file.schema.column(at) for at in range(len(file.schema))]
    paths = [each.path for each in columns if each.physical_type == "INT96"]
    for batch in file.iter_batches(columns=paths) if paths else ():
        for leaf in (leaf for column in batch.columns for leaf in leaves(column)):
            if pa.types.is_timestamp(leaf.type):
                found = pc.min_max(leaf.cast(pa.int64())).as_py()
                furthest = max(furthest, *(abs(value or 0) + 1 for value in found.values()))
    if furthest > _US_SECONDS:
        raise InvalidInput("it has INT96 times beyond the year 294,000, which no type of Arrow can hold")
    return "us" if furthest > _NS_SECONDS else None
