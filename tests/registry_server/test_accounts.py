"""Users, their tokens, and the database, which stores only their hashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from datapkg.errors import Conflict, Forbidden, InvalidInput, InvalidName, NotFound, NotLoggedIn
from datapkg.format import wire
from registry_server.db import tables
from registry_server.db.database import Database, sqlite_url
from registry_server.db.schema import configuration, migrate
from registry_server.services import accounts
from registry_server.services.policy import ANONYMOUS, THE_OPERATOR, Actor
from registry_server.services.registry import open_registry
from registry_server.settings import Settings
from tests.registry_server.asgi import Client, House


def test_only_the_hash_of_a_token_is_stored(house: House) -> None:
    token = accounts.add_user(house.registry, THE_OPERATOR, "ada")
    assert token.startswith("dpk_")
    assert len(token) >= 4 + 43
    house.close()
    stored = b"".join(path.read_bytes() for path in house.settings.data.glob("registry.db*"))
    assert b"ada" in stored
    assert token.encode() not in stored
    assert token[4:].encode() not in stored


def test_tokens_are_added_and_revoked(house: House) -> None:
    first = accounts.add_user(house.registry, THE_OPERATOR, "ada")
    second = accounts.add_token(house.registry, THE_OPERATOR, "ada")
    for token in (first, second):
        assert accounts.authenticate(house.registry, token).name == "ada"
    assert accounts.revoke_tokens(house.registry, THE_OPERATOR, "ada") == 2
    for token in (first, second):
        with pytest.raises(NotLoggedIn):
            accounts.authenticate(house.registry, token)
        assert Client(house.app, token).get(wire.PACKAGES).status == 401


@pytest.mark.parametrize("name", ["", "Ada", "a_b", "api", "class", "x" * 40, "ada\n", "1a", "ä"])
def test_invalid_user_name_is_rejected(house: House, name: str) -> None:
    with pytest.raises(InvalidName):
        accounts.add_user(house.registry, THE_OPERATOR, name)
    assert accounts.list_users(house.registry, THE_OPERATOR) == []


def test_existing_user_name_is_rejected(house: House) -> None:
    accounts.add_user(house.registry, THE_OPERATOR, "ada")
    with pytest.raises(Conflict):
        accounts.add_user(house.registry, THE_OPERATOR, "ada")
    assert [each.name for each in accounts.list_users(house.registry, THE_OPERATOR)] == ["ada"]


def test_tokens_of_an_unknown_user_are_not_found(house: House) -> None:
    for act in (accounts.add_token, accounts.revoke_tokens):
        with pytest.raises(NotFound):
            act(house.registry, THE_OPERATOR, "nosuch")


@pytest.mark.parametrize("actor", [ANONYMOUS, Actor(1, "ada")])
def test_only_the_operator_manages_users(house: House, actor: Actor) -> None:
    for act in (accounts.add_user, accounts.add_token, accounts.revoke_tokens):
        with pytest.raises(Forbidden):
            act(house.registry, actor, "bob")
    with pytest.raises(Forbidden):
        accounts.list_users(house.registry, actor)


def test_migrations_create_exactly_the_declared_tables(house: House) -> None:
    with house.registry.db.write() as connection:
        command.check(configuration(connection))


def test_migrating_again_changes_nothing(house: House, ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    migrate(house.registry.db)
    assert ada.get(f"{wire.PACKAGES}/ada/iris").status == 200


def test_database_of_a_newer_program_is_rejected(house: House, tmp_path: Path) -> None:
    with house.registry.db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInput, match="newer") as caught:
        migrate(house.registry.db)
    assert "upgrade" in caught.value.hint


def test_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(sqlite_url(tmp_path / "registry.db"))
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", _half)
        with pytest.raises(RuntimeError):
            migrate(database)
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one() == 0
    migrate(database)
    with database.read() as connection:
        assert connection.execute(tables.users.select()).all() == []
    database.close()


def _half(config: object, _: str) -> None:
    connection = config.attributes["connection"]  # type: ignore[attr-defined]
    connection.execute(text("CREATE TABLE half (x INTEGER)"))
    raise RuntimeError("the power went out")


def test_copied_data_folder_is_a_working_registry(house: House, ada: Client, tmp_path: Path) -> None:
    hash = ada.publish("ada/iris", {"a": b"1"})
    house.close()
    shutil.copytree(tmp_path / "registry", tmp_path / "copy" / "registry")
    copy = House(tmp_path / "copy")
    assert Client(copy.app, ada.token).get(f"{wire.PACKAGES}/ada/iris").json()["latest"] == hash
    copy.close()


def test_data_folder_is_accessible_to_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "registry")
    open_registry(settings, create=True).close()
    assert settings.data.stat().st_mode & 0o777 == 0o700
    assert settings.database.stat().st_mode & 0o777 == 0o600
