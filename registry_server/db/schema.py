"""The version of the database: migrations and integrity checks."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from datapkg.errors import InvalidInput, NotFound
from registry_server.db.database import Database
from registry_server.db.tables import metadata

MAX_PROBLEMS = 10
MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(database: Database, *, create: bool = True) -> bool:
    """Migrate an older database, or fill an empty one if that is allowed, in one transaction.

    Return whether it was empty. Raise `InvalidInput` for one that a newer program wrote, and `NotFound` for an empty
    one that may not be filled.
    """
    with database.write() as connection:
        config = configuration(connection)
        scripts = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return False
        if current is None and not create:
            raise NotFound("the database is empty")
        os.listdir(scripts.versions)  # it takes a folder that it cannot list, for want of open files, for an empty one
        if current is not None and current not in {each.revision for each in scripts.walk_revisions()}:
            raise InvalidInput(
                f"the registry's database has version {current!r}, which a newer datapkg-registry wrote",
                hint="upgrade datapkg-registry, or give --data another folder",
            )
        command.upgrade(config, "head")
        return current is None


def problems(connection: Connection) -> list[str]:
    """Return what is damaged in an SQLite database: pages, indexes that differ from their tables, lost rows.

    This reads all of it. PostgreSQL has its own tools (pg_amcheck).
    """
    if connection.dialect.name != "sqlite":
        return []
    absent = metadata.tables.keys() - set(inspect(connection).get_table_names())
    found = [f"table {name} is missing" for name in sorted(absent)]
    found += [row[0] for row in connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_PROBLEMS})") if row[0] != "ok"]
    if not found:
        orphans = islice(connection.exec_driver_sql("PRAGMA foreign_key_check"), MAX_PROBLEMS)
        found += [f"a row of {table} refers to a missing row of {parent}" for table, _, parent, _ in orphans]
    return list(dict.fromkeys(" ".join(each.split()) for each in found))[:MAX_PROBLEMS]


def repair(connection: Connection) -> None:
    """Make the indexes of an SQLite database anew from their tables."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("REINDEX")


def configuration(connection: Connection) -> Config:
    """Return the Alembic configuration for this connection, in its transaction."""
    config = Config()
    # The configuration interpolates "%".
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
