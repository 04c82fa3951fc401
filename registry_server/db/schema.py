"""The database brought to the form that this program writes."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datapkg.errors import InvalidInput, NotFound
from registry_server.db.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(database: Database, *, create: bool = True) -> bool:
    """Bring an older database up, or fill an empty one if that is allowed; all in one transaction.

    Return whether it was empty. Raises `InvalidInput` for one that a newer program wrote, and `NotFound` for one that
    is empty and may not be filled.
    """
    with database.write() as connection:
        config = configuration(connection)
        scripts = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return False
        if current is None and not create:
            raise NotFound("the database is empty")
        if current is not None and current not in {each.revision for each in scripts.walk_revisions()}:
            raise InvalidInput(
                f"the registry's database has form {current!r}, which a newer datapkg-registry wrote",
                hint="upgrade datapkg-registry, or give --data another folder",
            )
        command.upgrade(config, "head")
        return current is None


def configuration(connection: Connection) -> Config:
    """What Alembic needs to work on this connection, in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
