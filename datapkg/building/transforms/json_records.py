"""json and jsonl: a list of records, or one record a line, as a table.

Without kwargs the values are what JSON says: text stays text, whole numbers stay whole beside nulls, nothing is taken
for a date. With kwargs `pandas.read_json` reads it, which guesses.
"""

from __future__ import annotations

import json as json_library
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datapkg.building.transforms.compressed import ERRORS, for_pandas, open_text
from datapkg.errors import InvalidInput
from datapkg.format.names import shown

_FIRST_BYTES = 65_536
_RECORDS = re.compile(rb"\s*\[\s*\{")


def begins_with_records(path: Path) -> bool:
    """Whether a JSON file begins as a list of records does: `[{`."""
    try:
        with open_text(path) as stream:
            return _RECORDS.match(stream.read(_FIRST_BYTES).removeprefix(b"\xef\xbb\xbf")) is not None
    except ERRORS:
        return False


def json(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table that a list of records is."""
    if kwargs:
        return _by_pandas(path, kwargs)
    records = json_library.loads(_read(path))
    if not isinstance(records, list):
        raise InvalidInput("a table is a list of records, [{…}, …]")
    return _table(records, "record")


def jsonl(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """The table that one record a line is; empty lines do not count."""
    if kwargs:
        return _by_pandas(path, {"lines": True, **kwargs})
    records = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        try:
            records += [json_library.loads(line)] if line.strip() else []
        except ValueError as error:
            raise InvalidInput(f"line {number} is no JSON: {error}") from error
    return _table(records, "line")


def _read(path: Path) -> bytes:
    with open_text(path) as stream:
        return bytes(stream.read()).removeprefix(b"\xef\xbb\xbf")


def _by_pandas(path: Path, kwargs: dict[str, Any]) -> Any:
    import pandas

    from datapkg.building.frames import table_from_frame

    with for_pandas(path, kwargs) as (source, options):
        return table_from_frame(pandas.read_json(source, **options))


def _table(records: list[Any], what: str) -> Any:
    import pyarrow as pa

    from datapkg.building.frames import with_dtypes

    names: dict[str, None] = {}
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InvalidInput(f"{what} {number} is no record {{…}}: {shown(json_library.dumps(record))}")
        names.update(dict.fromkeys(record))
    table = pa.table({name: _column(name, [record.get(name) for record in records]) for name in names})
    return with_dtypes(table, {name: dtype for name in names if (dtype := _nullable(table.column(name)))})


def _column(name: str, values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        what = f"values of several types: {', '.join(kinds)}" if len(kinds) > 1 else f"{' '.join(str(error).split())}"
        raise InvalidInput(f"column {shown(name)} holds {what}", column=name) from error


def _nullable(column: Any) -> str:
    """The dtype of pandas that keeps whole numbers and booleans beside nulls; "" where the type's own does."""
    import pyarrow as pa

    if not column.null_count:
        return ""
    return {pa.int64(): "Int64", pa.uint64(): "UInt64", pa.bool_(): "boolean"}.get(column.type, "")
