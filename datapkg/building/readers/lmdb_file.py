"""lmdb: read the keys and values of an LMDB database, as key order gives them.

LMDB follows the offsets in a file without checking them, so a damaged one crashes the process that reads it: it is
read in a child process (`limited_reader`).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datapkg.building.readers import limited_reader
from datapkg.building.readers.text_columns import TEXT, as_text, text_columns
from datapkg.errors import InvalidInput, MissingDependency
from datapkg.format.texts import quoted

DATABASE = "database"
LMDB_KWARGS = frozenset({DATABASE, TEXT})
_MAGIC = struct.pack("<I", 0xBEEFC0DE)
_MAGIC_AT = 16
"""Behind the header of the first page, on machines of 64 bits."""


def lmdb(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return a table with the columns `key` and `value`, both bytes; `database` selects a named one.

    Raise `InvalidInput` for another or a damaged file, or an unknown database.
    """
    import pyarrow as pa

    from datapkg.building.readers.batches import Batches
    from datapkg.tables.frame_to_arrow import table_from_arrow

    text, name = text_columns(kwargs), kwargs.get(DATABASE)
    if name is not None and not isinstance(name, str):
        raise InvalidInput(f"`{DATABASE}` is the name of a database, got {name!r}")
    with path.open("rb") as file:
        if file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] != _MAGIC:
            raise InvalidInput("it is not an LMDB database", hint="name the file data.mdb of a database's folder")
    library = _library(path)
    stored = pa.schema([("key", pa.binary()), ("value", pa.binary())])
    schema = table_from_arrow(as_text(stored.empty_table(), text)).schema
    # The file is mapped whole, which counts as memory.
    options = {DATABASE: name, "most": limited_reader.max_bytes() + path.stat().st_size}

    def read() -> Iterator[Any]:
        with tempfile.TemporaryFile() as converted:
            try:
                limited_reader.run("lmdb", path, library, pa, output=converted, options=options)
            except limited_reader.ReaderDied as died:
                raise InvalidInput("it is damaged: LMDB fails on it") from died
            converted.seek(0)
            with pa.ipc.open_stream(converted) as reader:
                for batch in reader:
                    yield as_text(pa.Table.from_batches([batch]), text)

    return Batches(schema, read)


def _library(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise MissingDependency(
            f"{quoted(path.name)} is read with lmdb, which is not installed", hint="pip install lmdb"
        ) from error
    return lmdb
