"""What the database does alike on SQLite and PostgreSQL: migrations, and who may see what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import event, text

from registry_server.db import accounts, grants, packages
from registry_server.db.database import Database, sqlite_url
from registry_server.db.schema import configuration, migrate
from tests.conftest import find_program
from tests.postgres import postgres

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    if kind == "sqlite":
        found = Database(sqlite_url(folder / "registry.db"))
        yield found
        found.close()
        return
    program = find_program("initdb")
    assert program is not None
    with postgres(Path(program).parent, "s3cr3t-pass") as address:
        found = Database(address.replace("postgresql:", "postgresql+psycopg:"))
        yield found
        found.close()


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb"))]


@pytest.mark.parametrize("kind", KINDS)
def test_grants_of_an_older_database_name_their_users(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as db:
        with db.write() as connection:
            command.upgrade(configuration(connection), "0001")
            ada, bob = (accounts.add_user(connection, name, NOW) for name in ("ada", "bob"))
            package = packages.add(connection, ada.id, "ada", "secret", False, NOW)
            connection.execute(text(f"INSERT INTO grants (package_id, user_id) VALUES ({package.id}, {bob.id})"))
        migrate(db)
        with db.write() as connection:
            assert grants.readers_of(connection, package.id) == ["bob"]
            assert not grants.add(connection, package.id, "bob")
            assert grants.add(connection, package.id, "cyd")
            cyd, dan = (accounts.add_user(connection, name, NOW) for name in ("cyd", "dan"))
        with db.read() as connection:
            found = {
                user: packages.find(connection, "ada", "secret", user)
                for user in (ada.id, bob.id, cyd.id, dan.id, None)
            }
        assert [each and each.granted for each in found.values()] == [False, True, True, None, None]
        with db.write() as connection:
            assert grants.writers_of(connection, package.id) == []
            assert grants.add(connection, package.id, "bob", write=True)
            assert not grants.add(connection, package.id, "bob", write=True)
            assert not grants.add(connection, package.id, "bob")
            assert grants.writers_of(connection, package.id) == ["bob"]
        with db.read() as connection:
            found = {user: packages.find(connection, "ada", "secret", user) for user in (ada.id, bob.id, cyd.id)}
        assert [each and each.writable for each in found.values()] == [False, True, False]
        with db.write() as connection:
            packages.remove(connection, package.id)
            assert grants.readers_of(connection, package.id) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_invisible_package_is_looked_for_as_an_absent_one(kind: str, tmp_path: Path) -> None:
    asked: list[str] = []
    with database(kind, tmp_path) as db:
        migrate(db)
        with db.write() as connection:
            ada, bob = (accounts.add_user(connection, name, NOW) for name in ("ada", "bob"))
            packages.add(connection, ada.id, "ada", "secret", False, NOW)
        event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))
        for user in (bob.id, None):
            with db.read() as connection:
                asked.clear()
                assert packages.find(connection, "ada", "secret", user) is None
                hidden = list(asked)
                asked.clear()
                assert packages.find(connection, "ada", "absent", user) is None
            assert hidden == asked
            assert len(asked) == 1
