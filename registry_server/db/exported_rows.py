"""The rows of all tables as text, to carry them from one database to another, also of another kind.

A table is JSON Lines: the names of its columns, then an array for each row, with times in microseconds. Tables are read
as they are in the database and not as the program defines them, so rows of an older version are loaded into tables of
that version, which are migrated after that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import ColumnElement, Connection, MetaData, Table, insert, select, text

from datapkg.errors import CorruptObject, InvalidInput
from registry_server.db.roots import is_held
from registry_server.db.schema import configuration
from registry_server.db.tables import damaged_objects, metadata, objects, recipe_bases, users

AT_ONCE = 1_000
# Unfinished pushes stay where they are, and builds fill the run caches again.
LEFT_OUT = frozenset({"pushes", "push_objects", "stage_results", "stage_objects"})


def version(connection: Connection) -> str:
    """Return the version of the tables that this program reads and writes."""
    return str(ScriptDirectory.from_config(configuration(connection)).get_current_head())


def table_names(*, tokens: bool) -> list[str]:
    """Return the tables to export, in the order in which their rows can be inserted."""
    left_out = LEFT_OUT if tokens else LEFT_OUT | {"tokens"}
    return [table.name for table in metadata.sorted_tables if table.name not in left_out]


def write(connection: Connection, name: str, file: IO[bytes]) -> int:
    """Write the rows of a table, without objects that no package holds; return their number."""
    table = _reflected(connection, name)
    query, count = select(table), 0
    if name in (objects.name, damaged_objects.name, recipe_bases.name):
        query = query.where(table.c.hash.in_(select(objects.c.hash).where(_is_exported())))
    file.write(_line([column.name for column in table.columns]))
    # In the order of the key: unchanged rows give the same object, which is not copied again.
    for row in connection.execute(query.order_by(*table.primary_key).execution_options(yield_per=AT_ONCE)):
        file.write(_line(list(row)))
        count += 1
    return count


def sizes(connection: Connection) -> dict[str, int]:
    """Return the objects to export (hash to size in bytes), without those that are damaged."""
    query = select(objects.c.hash, objects.c.size).where(
        _is_exported(), objects.c.hash.not_in(select(damaged_objects.c.hash))
    )
    return {row.hash: row.size for row in connection.execute(query)}


def _is_exported() -> ColumnElement[bool]:
    """Return the condition that a package holds an object, or one that is made of its ranges."""
    used = select(recipe_bases.c.base).where(recipe_bases.c.base == objects.c.hash, is_held(recipe_bases.c.hash))
    return is_held(objects.c.hash) | used.correlate(objects).exists()


def check_empty(connection: Connection) -> None:
    """Raise `InvalidInput` if the database has users."""
    if connection.execute(select(users.c.name).limit(1)).first():
        raise InvalidInput(
            "the registry has users; an export is imported into an empty registry only",
            hint="give a new folder with --data",
        )


def prepare(connection: Connection, revision: str) -> None:
    """Make the tables of an empty database those of this version; raise `InvalidInput` for a version of the future."""
    config = configuration(connection)
    scripts = ScriptDirectory.from_config(config)
    if revision not in {each.revision for each in scripts.walk_revisions()}:
        raise InvalidInput(
            f"the export has database version {revision!r}, which a newer datapkg-registry wrote",
            hint="upgrade datapkg-registry",
        )
    if revision != scripts.get_current_head():
        # The tables were made in the current version when the registry was opened.
        metadata.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
        command.upgrade(config, revision)


def read(connection: Connection, name: str, lines: Iterable[bytes]) -> int:
    """Insert the rows of a table; return their number. Raise `CorruptObject` for what cannot be its rows."""
    table, count = _reflected(connection, name), 0
    rows = parsed(name, lines)
    while batch := list(islice(rows, AT_ONCE)):
        if batch[0].keys() != set(table.columns.keys()):
            raise CorruptObject(f"the table {name} has other columns than its version of the database")
        connection.execute(insert(table), batch)
        count += len(batch)
    if connection.dialect.name == "postgresql" and "id" in table.c and table.c.id.autoincrement:
        newest = f"(SELECT max(id) FROM {name})"  # the next row counts on from there
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), {newest}) WHERE {newest} > 0"))
    return count


def parsed(name: str, lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
    """Yield the rows of a table by column; raise `CorruptObject`."""
    columns: list[str] | None = None
    for line in lines:
        try:
            values = json.loads(line)
            if columns is not None:
                yield dict(zip(columns, values, strict=True))
            else:
                columns = values
        except (ValueError, TypeError) as error:
            raise CorruptObject(f"a row of the table {name} cannot be read: {error}") from error


def finish(connection: Connection) -> None:
    """Migrate what was read to the current version."""
    command.upgrade(configuration(connection), "head")


def _reflected(connection: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=connection, resolve_fks=False)


def _line(values: list[object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
