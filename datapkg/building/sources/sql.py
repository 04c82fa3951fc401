"""Read the rows of a query through SQLAlchemy; it is sent once, in a read-only transaction.

Types are those that the cursor reports (PostgreSQL) or else inferred from the values of all rows; so the rows are kept
in a temporary file until the last one was fetched. The URL, which contains a password, comes from the caller and does
not appear in anything that leaves this module: no error, no cause of an error, no record.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any
from urllib.parse import quote, unquote

from datapkg.building.sources.base import Identity, SourceContext, SourceHandler
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.spec.model import NodeSpec, SqlSource
from datapkg.errors import DatapkgError, InvalidInput, MissingDependency, TransformFailed, Unreachable, exhausted
from datapkg.objects.progress import QUERYING, Progress, silent

_AT_ONCE = 10_000
# Statements that make a transaction read-only, for databases whose URL cannot request it.
# In UTC, so that the same rows give the same times whatever the zone of the session is.
_READ_ONLY = {
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SET LOCAL TIME ZONE 'UTC'"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY",),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY",),
    "sqlite": ("PRAGMA query_only = on", "PRAGMA trusted_schema = off"),
}
# PostgreSQL adds the line and a marker below an error message.
_LINE = re.compile(r"\s*\bLINE \d+: ")
_DRIVERS = {"mysqldb": "mysqlclient"}


class SqlHandler(SourceHandler[SqlSource]):
    """The rows of a query, which is sent at every build."""

    def code(self, source: SqlSource) -> str:
        """Return a description of the database that is queried."""
        return f"a query of the database in {source.connection}"

    def identity(self, spec: NodeSpec, source: SqlSource, context: SourceContext) -> Identity:
        """Return an identity without a key: only the database knows whether its rows changed."""
        record = {"path": spec.path, "sql": source.query, "connection": source.connection}
        return Identity(record, why_read="asked")

    @contextmanager
    def read(
        self, spec: NodeSpec, source: SqlSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield a stream of the rows; raise `InvalidInput` if the environment variable is not set."""
        url = context.secret(source.connection)
        with translated_errors(spec, None) as warnings:
            yield query(source, url, spec.kwargs, context.progress), warnings


def query(source: SqlSource, url: str, kwargs: dict[str, Any], progress: Progress = silent) -> Any:
    """Return a `TableStream` of the rows, all of which have been fetched.

    `url` is a SQLAlchemy URL; `progress` gets the bytes that came. Raise `Unreachable` if the database does not answer,
    `TransformFailed` if it rejects the query, `MissingDependency` if the driver is not installed, `InvalidInput` for an
    invalid URL or kwargs, and for columns that no type can hold.
    """
    if kwargs:
        raise InvalidInput("a query takes no kwargs", hint="cast the columns in the query")
    found = _attempt(_address(url), url, source.query, progress)
    # Raised here, so that its traceback and cause do not lead to the library's exception, which may contain the
    # password.
    if isinstance(found, DatapkgError):
        raise found
    return found


def _attempt(address: Any, url: str, text: str, progress: Progress) -> Any:
    """Return the stream, or the error that explains why there is none."""
    try:
        with _connected(address) as connection:
            return _stream(connection, text, progress)
    except DatapkgError as error:
        return error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like, and any of it may name the password
        return exhausted(error, "querying the database") or _failure(error, address, url)


def _address(url: str) -> Any:
    sqlalchemy = _sqlalchemy()
    try:
        address = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        address = None
    if address is None:
        form = "postgresql://user:password@host/database"
        raise InvalidInput(
            "the address of the database cannot be read; it is not shown, since it may hold a password",
            hint=f"give it the form {form}",
        )
    if address.get_backend_name() == "sqlite" and address.database and address.database != ":memory:":
        # Otherwise sqlite would create a missing file.
        path = quote(address.database.removeprefix("file:").partition("?")[0])
        address = address.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    return address


def _sqlalchemy() -> Any:
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        line = "pip install sqlalchemy"
        raise MissingDependency(
            f"queries go through sqlalchemy, which is not installed; type: {line}", hint=line
        ) from None
    return sqlalchemy


@contextmanager
def _connected(address: Any) -> Iterator[Any]:
    """Yield a connection in a read-only transaction that is always rolled back."""
    sqlalchemy = _sqlalchemy()
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.pool.NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            for statement in _READ_ONLY.get(address.get_backend_name(), ()):
                connection.exec_driver_sql(statement)
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _failure(error: Exception, address: Any, url: str) -> DatapkgError:
    import sqlalchemy

    if isinstance(error, ModuleNotFoundError | sqlalchemy.exc.NoSuchModuleError):
        missing = getattr(error, "name", None)
        name = str(missing or address.drivername)
        line = f"pip install {_DRIVERS.get(name.lower(), name)}" if missing else ""
        what = f"for databases of {address.drivername!r} {name} is needed, which is not installed"
        return MissingDependency(what + (f"; type: {line}" if line else ""), hint=line)
    reason = _without(_LINE.split(str(getattr(error, "orig", None) or error))[0], address, url)
    reached = not isinstance(error, sqlalchemy.exc.OperationalError) or getattr(error, "statement", None)
    if not reached:
        return Unreachable(f"the database cannot be reached: {reason}")
    return TransformFailed(f"the database rejected the query: {reason}")


def _without(text: str, address: Any, url: str) -> str:
    """Return a text on one line with every part of the URL removed; only the server's and the query's words remain."""
    query_values = [each for value in address.query.values() for each in ([value] if isinstance(value, str) else value)]
    # Parts of up to three letters (`mode=ro`) occur inside ordinary words; a password is removed whatever its length.
    parts = [str(each) for each in (address.username, address.host, address.database, *query_values) if each]
    known = {url, str(address.password or ""), url.partition("://")[2], *(each for each in parts if len(each) > 3)}
    for secret in sorted(
        {form for each in known for form in (each, quote(each, safe=""), unquote(each))}, key=len, reverse=True
    ):
        if secret:
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:500]


def _stream(connection: Any, text: str, progress: Progress) -> Any:
    from datapkg.building.readers.batches import Batches

    options = {"no_parameters": True, "stream_results": True, "yield_per": _AT_ONCE}
    result = connection.execution_options(**options).exec_driver_sql(text)
    if not result.returns_rows:
        raise InvalidInput("the query gives no rows, as SELECT does")
    columns = _columns(result)
    spool = tempfile.TemporaryFile(prefix="datapkg-")  # noqa: SIM115 - lives as long as the stream
    try:
        places, count = [], 0
        for rows in result.partitions(_AT_ONCE):
            places.append(_keep(spool, columns, rows))
            count += len(rows)
            progress(QUERYING, places[-1][1], 0)  # only the database knows how many more there are
        schema = _schema(columns)
    except BaseException:
        spool.close()
        raise
    stream = Batches(schema, partial(_kept, spool, places, columns, schema), count)
    weakref.finalize(stream, spool.close)
    return stream


def _columns(result: Any) -> list[Any]:
    from datapkg.building.sources.sql_types import QueryColumn

    description = list(result.cursor.description)
    if not description:
        raise InvalidInput("the query gives no column")
    return [QueryColumn.of(each) for each in description]


def _schema(columns: list[Any]) -> Any:
    import pyarrow as pa

    from datapkg.building.readers.batches import described
    from datapkg.tables.frame_to_arrow import table_from_arrow

    schema = pa.schema([(each.name, each.type) for each in columns])
    if len(set(schema.names)) < len(schema.names):
        return table_from_arrow(schema.empty_table()).schema
    return described(schema, {each.name: each.nulls for each in columns})


def _keep(spool: IO[bytes], columns: list[Any], rows: Any) -> tuple[int, int]:
    """Append rows to the temporary file, in the types of this batch; return where they begin and end."""
    import pyarrow as pa

    arrays = [column.see(values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)]
    batch = pa.record_batch(arrays, names=[str(at) for at in range(len(arrays))])
    start = spool.seek(0, 2)
    with pa.ipc.new_stream(spool, batch.schema) as writer:
        writer.write_batch(batch)
    return start, spool.tell()


def _kept(spool: IO[bytes], places: list[tuple[int, int]], columns: list[Any], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for start, stop in places:
        spool.seek(start)
        with pa.ipc.open_stream(spool.read(stop - start)) as reader:
            table = reader.read_all()
        arrays = [column.settled(each) for column, each in zip(columns, table.columns, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=schema)
