"""Connections to the database: transactions that read, transactions that write."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    TableValuedAlias,
    cast,
    column,
    create_engine,
    event,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL

BUSY_TIMEOUT_MS = 30_000
POOL_CONNECTIONS = 64
"""How many stay open; as many more may be open at once. Together they suffice for every thread that may ask: 40 of
requests, 64 of uploads (`max_uploads`), and ten that make pages, searches and chunk maps."""
T = TypeVar("T")
BATCH = 5_000
"""SQLite allows 32,766 parameters in a statement (since 3.32), PostgreSQL 65,535."""
_WRITERS = 0x64617461  # the lock that writers of a database hold; "data"


class WouldWait(Exception):
    """Raised in place of a transaction that writes, in the thread of an event loop: do this again in another thread.

    Writers wait for each other, up to `BUSY_TIMEOUT_MS`, and all requests would wait with an event loop. Reading does
    not wait, with the write-ahead log of SQLite.
    """


class Database:
    """One database and its pool of connections."""

    def __init__(self, url: str | URL) -> None:
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(datapkg_writes=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the database."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it at the end of the block, or nothing; raise `WouldWait`."""
        if _is_in_event_loop():
            raise WouldWait
        with self._writing.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _engine(url: str | URL) -> Engine:
    engine = create_engine(url, pool_size=POOL_CONNECTIONS, max_overflow=POOL_CONNECTIONS)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin in `_begin_sqlite`, not where the driver would start one
    try:
        for pragma in (
            # First, since the next one may have to wait for a lock.
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=wal",
            # Each commit is on the disk before it is answered, as the objects of a push are: with a write-ahead log,
            # `normal` would let a power cut take back a push that the client knows as published.
            "synchronous=full",
            # SQLite ignores them otherwise, in each connection.
            "foreign_keys=on",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise


def _begin_sqlite(connection: Connection) -> None:
    # SQLite refuses to turn a read transaction into a write transaction if another one wrote meanwhile; so lock first.
    writes = connection.get_execution_options().get("datapkg_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    # One writer at a time, as in SQLite: what a transaction decides follows from rows that it reads, such as a tag.
    if connection.get_execution_options().get("datapkg_writes"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def insert_new(connection: Connection, table: Table, rows: Collection[Mapping[str, Any]]) -> None:
    """Insert the rows whose key does not exist yet."""
    if not rows:
        return
    connection.execute(_insert(connection)(table).on_conflict_do_nothing(), list(rows))


def insert_hashes(connection: Connection, table: Table, hashes: Mapping[str, int | None], **same: Any) -> None:
    """Insert a row for each hash, except for keys that exist; the other columns are the same in all rows.

    A number that a hash has in the mapping is its `size`. All rows are one parameter of one statement: with one set of
    parameters per row, preparing these takes most of the time. Hashes are inserted in order, since the tables are
    clustered by them.
    """
    rows = _rows_of(connection, {hash: hashes[hash] for hash in sorted(hashes)})
    sized = {"size": cast(rows.c.value, BigInteger)} if "size" in table.c else {}
    values = {"hash": rows.c.key, **sized, **{name: literal(value, table.c[name].type) for name, value in same.items()}}
    chosen = select(*values.values()).where(true())  # without a condition, SQLite takes ON CONFLICT for one of a join
    connection.execute(_insert(connection)(table).from_select(list(values), chosen).on_conflict_do_nothing())


def is_among(connection: Connection, hash: ColumnElement[str], hashes: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these hashes, which are one parameter however many they are."""
    return hash.in_(select(_rows_of(connection, dict.fromkeys(hashes)).c.key))


def _rows_of(connection: Connection, values: Mapping[str, int | None]) -> TableValuedAlias:
    """Return a mapping as a table with the columns `key` and `value`, in its order."""
    columns, text = (column("key", String), column("value", String)), msgspec.json.encode(values).decode()
    if connection.dialect.name == "sqlite":
        return func.json_each(text).table_valued(*columns)
    return func.json_each_text(cast(literal(text, String), postgresql.JSON)).table_valued(*columns)


def _insert(connection: Connection) -> Any:
    return {"sqlite": sqlite, "postgresql": postgresql}[connection.dialect.name].insert


def batches(values: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield the values in lists short enough for the parameters of one statement."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def sqlite_url(path: Path) -> URL:
    """Return the URL of an SQLite database in this file."""
    return URL.create("sqlite", database=str(path))
