"""sqlite: read the tables of an SQLite database, with types inferred from their values.

SQLite allows any value in any column, whatever its declared type; so the types are inferred in a first pass over all
rows, and the values are read in a second. `sqlite_types` has the rules.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from datapkg.building.readers.source_file import first_pass, part
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

MAGIC = b"SQLite format 3\0"
_HOT_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_WAL_HEADER_BYTES = 32
_OURS = "sqlite_"
# Limits of what is held in memory: a generated column may produce values of any length, and each row another one.
MAX_VALUE_BYTES, _BATCH_BYTES = 256 << 20, 32 << 20
# The part of the work that inferring the types takes.
_COUNTED = 0.4


def is_database(path: Path) -> bool:
    """Return whether a file begins with SQLite's magic bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def sqlite(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return the table or view named by `table`, or all tables by name; views are read only if named."""
    _check_beside(path, warn)
    wanted = kwargs.get("table")
    with _opened(path) as database, first_pass(_COUNTED):
        kinds = _tables(database)
        if wanted is not None:
            return _stream(path, database, _known(kinds, wanted), warn)
        names = [name for name, kind in kinds.items() if kind == "table"]
        if not names:
            raise InvalidInput("there is no table in it" + (f", only {_listed(kinds)}" if kinds else ""))
        if virtual := [name for name, kind in kinds.items() if kind == "virtual"]:
            warn(f"left out, since they are virtual tables: {', '.join(map(quoted, virtual))}; `table` names one")
        streams = {}
        for number, name in enumerate(names):
            with part(number / len(names), (number + 1) / len(names)):
                streams[name] = _stream(path, database, name, warn, among=True)
        return streams


def _check_beside(path: Path, warn: Callable[[str], None]) -> None:
    """Raise `InvalidInput` if the file is not a database or a journal beside it is active; warn about a WAL file.

    Only the file itself is read, not the changes that a journal would add or roll back.
    """
    if not is_database(path):
        raise InvalidInput("it is not an SQLite database")
    if _start(path, "-journal", len(_HOT_JOURNAL)) == _HOT_JOURNAL:
        raise InvalidInput(
            f"{path.name}-journal beside it shows that a change is in progress or was interrupted",
            hint="close the programs that use it; opening it once with sqlite3 takes back what broke off",
        )
    if len(_start(path, "-wal", _WAL_HEADER_BYTES + 1)) > _WAL_HEADER_BYTES:
        warn(f"what is only in {path.name}-wal beside it is not read; `PRAGMA wal_checkpoint(TRUNCATE)` brings it in")


def _start(path: Path, ending: str, size: int) -> bytes:
    try:
        with path.with_name(path.name + ending).open("rb") as stream:
            return stream.read(size)
    except OSError:
        return b""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only database: nothing is written, no lock is taken, no extension loaded, no schema function run."""
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    # A stream may be read, and closed, in another thread than the one that began it.
    database = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        for setting in ("trusted_schema = off", "query_only = on", "cell_size_check = on", "mmap_size = 0"):
            database.execute(f"PRAGMA {setting}")
        yield database
    finally:
        database.close()


def _tables(database: sqlite3.Connection) -> dict[str, str]:
    """Return the tables and views of a database, ordered by name, each with its kind."""
    found = database.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow'")
    return {name: kind for name, kind in sorted(found) if not name.lower().startswith(_OURS)}


def _known(kinds: dict[str, str], wanted: Any) -> str:
    if not isinstance(wanted, str):
        raise InvalidInput(f"`table` is the name of a table or view, got {wanted!r}")
    # Names in SQLite are case-insensitive.
    for name in kinds:
        if name == wanted or name.lower() == wanted.lower():
            return name
    hint = suggestion(wanted, kinds) or ";"
    raise InvalidInput(f"there is no table or view {quoted(wanted)}{hint} there are {_listed(kinds) or 'none'}")


def _listed(kinds: dict[str, str]) -> str:
    return ", ".join(quoted(name) + ("" if kind == "table" else f" ({kind})") for name, kind in kinds.items())


def _stream(
    path: Path, database: sqlite3.Connection, name: str, warn: Callable[[str], None], among: bool = False
) -> Any:
    from datapkg.building.readers.batches import Batches
    from datapkg.building.readers.sqlite_types import infer_types

    # Without indexes, rows come in the order of rowid or primary key.
    is_view = _tables(database)[name] != "table"
    source = f"main.{sql_quoted(name)}" + ("" if is_view else " NOT INDEXED")
    try:
        columns, schema, rows = infer_types(database, name, source, warn)
    except (InvalidInput, sqlite3.Error) as error:
        if not among:
            raise
        raise InvalidInput(f"table {quoted(name)}: {error}", hint=getattr(error, "hint", "")) from error
    return Batches(schema, partial(_rows, path, source, columns, schema), rows)


def _rows(path: Path, source: str, columns: list[Any], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    from datapkg.building.readers.batches import BATCH_ROWS

    with _opened(path) as database:
        cursor = database.execute(f"SELECT * FROM {source}")
        for rows in _groups(
            cursor, [at for at, each in enumerate(schema.types) if not pa.types.is_primitive(each)], BATCH_ROWS
        ):
            values = [column.array(each) for column, each in zip(columns, zip(*rows, strict=True), strict=True)]
            yield pa.Table.from_arrays(values, schema=schema)


def _groups(cursor: Iterable[Any], long: Sequence[int], most: int) -> Iterator[list[Any]]:
    """Yield rows in groups that fit easily in memory; `long` are the columns of text and bytes."""
    rows: list[Any] = []
    size = 0
    for row in cursor:
        rows.append(row)
        for at in long:
            size += len(row[at]) if isinstance(row[at], (str, bytes)) else 0
        if len(rows) == most or size > _BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def sql_quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
