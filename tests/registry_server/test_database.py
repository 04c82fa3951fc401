"""Migrations and visibility, which work alike on SQLite and PostgreSQL."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import DatabaseError

from datapkg.errors import Refused, ResourceExhausted
from registry_server.db import accounts, grants, objects, packages, pushes, stage_results, states
from registry_server.db.database import Database, sqlite_url
from registry_server.db.schema import configuration, migrate
from registry_server.db.stage_results import StageRow
from registry_server.services.registry import unusable
from registry_server.settings import Settings
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
def test_migrated_grants_name_their_users(kind: str, tmp_path: Path) -> None:
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
def test_invisible_and_missing_packages_use_the_same_query(kind: str, tmp_path: Path) -> None:
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


# One row or more for each table of the first form, which later ones have to keep.
FIRST_ROWS = """
INSERT INTO users VALUES (1, 'ada', 1), (2, 'bob', 2);
INSERT INTO tokens VALUES (1, 1, 'aa', 1);
INSERT INTO packages VALUES (1, 1, 'ada', 'iris', false, 1, 1);
INSERT INTO states VALUES (1, 'ab', 3, 4, 'Iris', '', '{}');
INSERT INTO log VALUES (1, 1, 'ab', NULL, 'ada', 'first', 1, '{}');
INSERT INTO tags VALUES (1, 'latest', 'ab');
INSERT INTO versions VALUES (1, '1', '1.0', 'ab', 1);
INSERT INTO grants VALUES (1, 2);
INSERT INTO objects VALUES ('ab', 3, 1), ('cd', 1, 1);
INSERT INTO damaged_objects VALUES ('cd', 1);
INSERT INTO package_objects VALUES (1, 'ab');
INSERT INTO pushes VALUES ('p', 1, 'ada/iris', 'ab', 1);
INSERT INTO push_objects VALUES ('p', 'cd');
INSERT INTO search VALUES (1, 'ada/iris', 'iris', '', '');
INSERT INTO events VALUES (1, 1, 'package:add', 'ada', 'ada/iris', '{}');
INSERT INTO events VALUES (2, 4, 'package:tag', 'ada', 'ada/iris', '{"tag": "latest"}');
INSERT INTO events VALUES (3, 5, 'package:tag', 'ada', 'ada/iris', '{"tag": "latest"}');
INSERT INTO events VALUES (4, 6, 'package:tag', 'ada', 'ada/other', '{"tag": "latest"}');
"""


@pytest.mark.parametrize("kind", KINDS)
def test_first_database_version_is_migrated_with_its_rows(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as db:
        with db.write() as connection:
            command.upgrade(configuration(connection), "0001")
            for statement in filter(str.strip, FIRST_ROWS.split(";")):
                connection.execute(text(statement))
            before = rows(connection)
        assert migrate(db) is False
        with db.write() as connection:
            after = rows(connection)
            command.check(configuration(connection))  # raises where the tables differ from those of the program
        assert before.pop("grants") == [(1, 2)]
        assert after.pop("grants") == [(1, "bob", False)]
        assert after["tags"] == [(1, "latest", "ab", 5)]
        assert [row[-1] for row in after["states"]] == [1]
        for longer in ("states", "search", "log", "tags", "versions"):  # by columns at the end
            length = len(before[longer][0])
            after[longer] = [row[:length] for row in after[longer]]
        assert {table: after[table] for table in before} == before
        with db.write() as connection:
            assert objects.unreferenced_after(connection, "", 10) == []
            assert pushes.remove_older(connection, NOW) == 1
            assert objects.unreferenced_after(connection, "", 10) == ["cd"]
            objects.remove(connection, ["cd"])
            packages.remove(connection, 1)
            assert objects.unreferenced_after(connection, "", 10) == ["ab"]


def rows(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables."""
    names = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
    return {name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}")))) for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_versions_of_before_yanks_are_not_yanked(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as db:
        with db.write() as connection:
            command.upgrade(configuration(connection), "0009")
            ada = accounts.add_user(connection, "ada", NOW)
            package = packages.add(connection, ada.id, "ada", "iris", False, NOW)
            values = f"({package.id}, '1', '1.0', '{'a' * 64}', 0)"
            connection.execute(
                text(f"INSERT INTO versions (package_id, key, version, hash, created_at) VALUES {values}")
            )
        migrate(db)
        with db.write() as connection:
            assert [each.yanked for each in states.versions_of(connection, package.id)] == [None]
            states.set_yanked(connection, package.id, "1", "why")
            assert [each.yanked for each in states.versions_of(connection, package.id)] == ["why"]


@pytest.mark.parametrize("kind", KINDS)
def test_writers_wait_for_each_other(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as db:
        with db.write() as connection:
            connection.execute(text("CREATE TABLE counter (number INTEGER)"))
            connection.execute(text("INSERT INTO counter VALUES (0)"))

        def add_one(_: int) -> None:
            with db.write() as connection:
                number = connection.execute(text("SELECT number FROM counter")).scalar_one()
                time.sleep(0.01)
                connection.execute(text("UPDATE counter SET number = :number"), {"number": number + 1})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add_one, range(12)))
        with db.read() as before:
            seen = [before.execute(text("SELECT number FROM counter")).scalar_one()]
            add_one(0)
            seen.append(before.execute(text("SELECT number FROM counter")).scalar_one())
        assert seen == [12, 12], "a reader sees one moment"


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_run_caches_are_replaced_renewed_and_dropped(kind: str, tmp_path: Path) -> None:
    key, other, body = "a" * 64, "b" * 64, "c" * 64
    with database(kind, tmp_path) as db:
        migrate(db)
        with db.write() as connection:
            ada = accounts.add_user(connection, "ada", NOW)
            package = packages.add(connection, ada.id, "ada", "iris", False, NOW).id
            objects.list_stored(connection, {body: 3, key: 4}, NOW)

            def keep(row: StageRow, day: int) -> bool:
                times = {"now": NOW, "until": NOW + timedelta(days=day)}
                return stage_results.keep(connection, package, row, {body, row.manifest}, author="ada", **times)

            def found(*keys: str, day: int = 0) -> list[tuple[str, str, int]]:
                rows = stage_results.find(connection, package, keys, NOW + timedelta(days=day), 1000)
                return [(row.key, row.manifest, row.manifest_size) for row in rows]

            assert [keep(StageRow(key, "1" * 64, {"a.py": key}, body, 7), 1) for _ in range(2)] == [True, False]
            assert keep(StageRow(key, "1" * 64, {"a.py": key}, key, 7), 2)
            assert keep(StageRow(key, "2" * 64, {}, body, 7), 3)
            assert keep(StageRow(other, "2" * 64, {}, body, 7), 4)
            assert found(other, key) == [(other, body, 3), (key, body, 3), (key, key, 4)]
            assert found(key, day=2) == [(key, body, 3)]
            objects.set_damaged(connection, key, NOW)
            assert found(key) == [(key, body, 3)]
            stage_results.keep_variants(connection, package, [key, other], 1)
            assert objects.unreferenced_after(connection, "", 10) == [key]
            (row,) = stage_results.find(connection, package, [key], NOW, 1000)
            stage_results.renew(connection, [row.id], NOW + timedelta(days=5))
            stage_results.make_room(connection, package, 2, 13)
            assert found(key, other) == [(key, body, 3)]
            day = NOW + timedelta(days=5)
            assert (stage_results.count_older(connection, day), stage_results.remove_older(connection, day)) == (1, 1)
            assert keep(StageRow(key, "2" * 64, {}, body, 7), 3)
            packages.remove(connection, package)
            assert objects.unreferenced_after(connection, "", 10) == [key, body]


def test_open_files_that_run_out_do_not_make_a_database_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, *_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    error = DatabaseError("", None, sqlite3.OperationalError("unable to open database file"))
    assert isinstance(unusable(Settings(data=tmp_path), error), Refused)
    monkeypatch.setattr(os, "open", refuse)
    assert isinstance(unusable(Settings(data=tmp_path), error), ResourceExhausted)


def test_migrations_that_cannot_be_listed_do_not_make_a_database_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic takes a folder that it cannot list for an empty one."""

    def refuse(path: Any = ".") -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with database("sqlite", tmp_path) as db:
        migrate(db)
        monkeypatch.setattr(os, "walk", lambda *_, **__: iter(()))
        monkeypatch.setattr(os, "listdir", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            migrate(db)


def test_each_commit_of_sqlite_is_on_the_disk(tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as db, db.read() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full
