"""Tags move, versions never do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from datapkg.errors import Conflict, InvalidInput, InvalidName, ObjectNotFound, TagNotFound
from datapkg.format import wire
from registry_server.db import tables
from registry_server.services.exports import export, load
from registry_server.services.policy import THE_OPERATOR
from tests.registry_server.asgi import Client, Contents, House

IRIS = f"{wire.PACKAGES}/ada/iris"


@pytest.fixture
def states(ada: Client) -> tuple[str, str]:
    """Publish two states of ada/iris, the second one the latest."""
    return ada.publish("ada/iris", {"a": b"one"}), ada.publish("ada/iris", {"a": b"two"})


def tags(client: Client) -> dict[str, str]:
    found: dict[str, str] = client.get(f"{IRIS}/tags").json()["tags"]
    return found


def test_tags_are_sorted_and_move(ada: Client, states: tuple[str, str]) -> None:
    one, two = states
    for tag, hash in (("stable", one), ("beta", two), ("stable", two), ("stable", two)):
        answer = ada.put(f"{IRIS}/tags/{tag}", {"hash": hash})
        assert answer.json()["tags"][tag] == hash
    assert list(tags(ada).items()) == [("beta", two), ("latest", two), ("stable", two)]
    assert ada.delete(f"{IRIS}/tags/beta").json()["tags"] == {"latest": two, "stable": two}
    assert isinstance(ada.delete(f"{IRIS}/tags/beta").error, TagNotFound)


def test_latest_can_be_moved_but_not_removed(ada: Client, states: tuple[str, str]) -> None:
    one, two = states
    assert ada.put(f"{IRIS}/tags/latest", {"hash": one}).json()["tags"] == {"latest": one}
    assert ada.get(f"{IRIS}/resolve").json()["hash"] == one
    answer = ada.delete(f"{IRIS}/tags/latest")
    assert (answer.status, isinstance(answer.error, InvalidInput)) == (400, True)
    assert tags(ada) == {"latest": one}
    assert [entry["hash"] for entry in ada.get(f"{IRIS}/log").json()["entries"]] == [two, one]


@pytest.mark.parametrize("kind", ["tags/stable", "versions/1.0"])
def test_only_states_of_the_package_can_be_named(ada: Client, states: tuple[str, str], kind: str) -> None:
    other = ada.publish("ada/other", {"a": b"three"})
    for hash in ("0" * 64, other):
        answer = ada.put(f"{IRIS}/{kind}", {"hash": hash})
        assert (answer.status, isinstance(answer.error, ObjectNotFound)) == (404, True)
    assert ada.put(f"{IRIS}/{kind}", {"hash": "x"}).status == 400
    assert ada.put(f"{wire.PACKAGES}/ada/absent/{kind}", {"hash": other}).status == 404
    assert tags(ada) == {"latest": states[1]}


@pytest.mark.parametrize("tag", ["1.0", "Upper", "a b", "x" * 65, "%07", "-a"])
def test_invalid_tag_name_is_rejected(ada: Client, states: tuple[str, str], tag: str) -> None:
    for answer in (ada.put(f"{IRIS}/tags/{tag}", {"hash": states[0]}), ada.delete(f"{IRIS}/tags/{tag}")):
        assert (answer.status, isinstance(answer.error, InvalidName)) == (400, True)


def test_versions_are_normal_sorted_and_never_move(ada: Client, states: tuple[str, str]) -> None:
    one, two = states
    for version in ("1.10", "v1.9", "1.9.0", "1.10.0", "2.0-alpha1"):
        ada.put(f"{IRIS}/versions/{version}", {"hash": one})
    found = ada.get(f"{IRIS}/versions").json()["versions"]
    assert [each["version"] for each in found] == ["1.9.0", "1.10", "2.0a1"]
    assert all(each["hash"] == one and each["created_at"].endswith("+00:00") for each in found)
    for same in ("1.10", "1.10.0", "1.010"):
        answer = ada.put(f"{IRIS}/versions/{same}", {"hash": two})
        assert (answer.status, isinstance(answer.error, Conflict)) == (409, True)
        assert answer.error.detail == {"expected": two, "actual": one}


def test_a_version_cannot_be_deleted(ada: Client, states: tuple[str, str]) -> None:
    ada.put(f"{IRIS}/versions/1.0", {"hash": states[0]})
    answer = ada.delete(f"{IRIS}/versions/1.0")
    assert (answer.status, isinstance(answer.error, InvalidInput)) == (405, True)
    assert ada.get(f"{IRIS}/resolve?state=1.0").json()["hash"] == states[0]


@pytest.mark.parametrize("version", ["x", "1.0+local", "1..0", "v1", "1" * 65, "%20"])
def test_invalid_version_is_rejected(ada: Client, states: tuple[str, str], version: str) -> None:
    answer = ada.put(f"{IRIS}/versions/{version}", {"hash": states[0]})
    assert (answer.status, isinstance(answer.error, InvalidName)) == (400, True)


def test_reader_cannot_change_tags_or_versions(ada: Client, bob: Client, states: tuple[str, str]) -> None:
    ada.put(f"{IRIS}/access/bob", {})
    assert tags(bob) == {"latest": states[1]}
    for method, path in (("PUT", "tags/x"), ("DELETE", "tags/latest"), ("PUT", "versions/1.0")):
        answer = bob.request(method, f"{IRIS}/{path}", sends={"hash": states[0]} if method == "PUT" else None)
        assert answer.status == 403
    assert bob.post(f"{IRIS}/pushes", {"manifest": states[0], "hashes": []}).status == 403
    assert tags(ada) == {"latest": states[1]}


def test_exceeded_limit_names_its_setting(tmp_path: Path) -> None:
    house = House(tmp_path, max_tags=2, max_versions=1)
    ada = house.user("ada")
    hash = ada.publish("ada/iris", {"a": b"1"}, tag="one", version="1")
    for kind, setting in (("tags/two", "MAX_TAGS"), ("versions/2", "MAX_VERSIONS")):
        answer = ada.put(f"{IRIS}/{kind}", {"hash": hash})
        assert answer.status == 413
        assert f"DATAPKG_REGISTRY_{setting}" in answer.error.message
    assert ada.put(f"{IRIS}/tags/one", {"hash": hash}).status == 200
    house.close()


def test_owner_grants_and_revokes_reading(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    assert ada.get(f"{IRIS}/access").json() == {"public": False, "owner": "ada", "readers": [], "writers": []}
    for _ in range(2):
        assert ada.put(f"{IRIS}/access/bob", {}).json()["readers"] == ["bob"]
    assert bob.get(f"{IRIS}/access").json()["readers"] == ["bob"]
    assert bob.get(IRIS).status == 200
    for _ in range(2):
        assert ada.delete(f"{IRIS}/access/bob").json()["readers"] == []
    assert bob.get(IRIS).status == 404


def test_owner_can_always_read(ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    assert ada.put(f"{IRIS}/access/ada", {}).json()["readers"] == []
    assert ada.delete(f"{IRIS}/access/ada").status == 403
    assert ada.get(IRIS).status == 200


@pytest.mark.parametrize("who", ["Upper", "a b", "%00", "x" * 500])
def test_invalid_reader_name_is_rejected(ada: Client, who: str) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    for answer in (ada.put(f"{IRIS}/access/{who}", {}), ada.delete(f"{IRIS}/access/{who}")):
        assert (answer.status, isinstance(answer.error, InvalidName)) == (400, True)


def test_adding_a_reader_does_not_reveal_which_users_exist(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    for method in ("PUT", "PUT", "DELETE", "DELETE", "PUT"):
        there, absent = (ada.request(method, f"{IRIS}/access/{who}", sends={}) for who in ("bob", "cyd"))
        assert there.status == absent.status == 200
    assert ada.get(f"{IRIS}/access").json()["readers"] == ["bob", "cyd"]
    assert house.user("cyd").get(IRIS).status == bob.get(IRIS).status == 200  # whoever gets the name later
    assert house.user("dan").get(IRIS).status == 404


@pytest.mark.parametrize("version", ["0.dev1", "0.0.dev7", "0.DEV12", "0dev3"])
def test_reserved_version_form_is_rejected(ada: Client, version: str) -> None:
    hash = ada.publish("ada/iris", {"a": b"1"})
    put = ada.put(f"{IRIS}/versions/{version}", {"hash": hash})
    pushed = ada.push("ada/iris", Contents({"a": b"2"}), version=version)
    for answer in (put, pushed):
        assert (answer.status, isinstance(answer.error, InvalidName)) == (400, True)
    assert ada.put(f"{IRIS}/versions/0.1.dev1", {"hash": hash}).status == 200


def test_making_public_needs_confirmation_and_can_be_revoked(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    for sends in (None, {}, {"confirm": False}):
        answer = ada.put(f"{IRIS}/access/public", sends)
        assert answer.status == 403
        assert "shows all its earlier pushes" in answer.error.message
        assert house.nobody.get(IRIS).status == 404
    for _ in range(2):
        assert ada.put(f"{IRIS}/access/public", {"confirm": True}).json()["public"] is True
    assert house.nobody.get(IRIS).status == 200
    ada.put(f"{IRIS}/access/bob", {})
    assert house.nobody.get(f"{IRIS}/access").json() == {"public": True, "owner": "ada", "readers": [], "writers": []}
    for _ in range(2):
        assert ada.delete(f"{IRIS}/access/public").json()["public"] is False
    assert house.nobody.get(IRIS).status == 404


def numbers_of(house: House) -> dict[str, int]:
    with house.registry.db.read() as connection:
        return {row.hash: row.number for row in connection.execute(select(tables.states))}


def test_states_are_numbered_and_no_number_is_used_again(house: House, ada: Client) -> None:
    one, two = ada.publish("ada/iris", {"a": b"one"}), ada.publish("ada/iris", {"a": b"two"})
    assert ada.publish("ada/iris", {"a": b"one"}) == one
    assert numbers_of(house) == {one: 1, two: 2}
    for last in (3, 4):
        assert ada.delete(IRIS).status < 300
        assert numbers_of(house) == {}
        three = ada.publish("ada/iris", {"a": b"%d" % last})
        assert numbers_of(house) == {three: last}


def test_version_of_a_deleted_package_names_no_other_content(ada: Client) -> None:
    one = ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    for _ in range(2):
        assert ada.delete(IRIS).status < 300
        refused = ada.push("ada/iris", Contents({"a": b"two"}), version="1.0.0")
        assert isinstance(refused.error, Conflict)
        assert "before the package was deleted" in refused.error.message
        assert ada.get(IRIS).status == 404
        assert refused.error.detail["actual"] == one
        two = ada.publish("ada/iris", {"a": b"two"}, version="1.1")
        assert isinstance(ada.put(f"{IRIS}/versions/1.0", {"hash": two}).error, Conflict)
        assert ada.delete(IRIS).status < 300
        assert ada.publish("ada/iris", {"a": b"one"}, version="1.0") == one  # the same content may have it again
        assert ada.get(f"{IRIS}/resolve?state=1.0").json()["hash"] == one


def test_retired_versions_come_along_in_an_export(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    assert ada.delete(IRIS).status < 300
    export(house.registry, THE_OPERATOR, tmp_path / "export")
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, tmp_path / "export")
    there = Client(other.app, ada.token, "ada")
    assert isinstance(there.push("ada/iris", Contents({"a": b"two"}), version="1.0").error, Conflict)
    there.publish("ada/iris", {"a": b"two"})
    assert list(numbers_of(other).values()) == [2]
    other.close()


def test_a_yanked_version_is_no_longer_in_a_range(ada: Client, bob: Client, states: tuple[str, str]) -> None:
    one, two = states
    ada.put(f"{IRIS}/versions/1.0", {"hash": one})
    ada.put(f"{IRIS}/versions/1.1", {"hash": two})
    found = ada.put(f"{IRIS}/versions/1.1.0/yank", {"reason": "wrong unit"}).json()["versions"]
    assert [(each["version"], each["yanked"]) for each in found] == [("1.0", None), ("1.1", "wrong unit")]
    assert ada.get(f"{IRIS}/resolve?state=>=1").json()["hash"] == one
    exact = ada.get(f"{IRIS}/resolve?state=1.1").json()
    assert (exact["hash"], exact["yanked"]) == (two, {"1.1": "wrong unit"})
    assert bob.put(f"{IRIS}/versions/1.0/yank", {"reason": ""}).status == 403
    assert ada.put(f"{IRIS}/versions/2.0/yank", {"reason": ""}).status == 404
    assert ada.put(f"{IRIS}/versions/1.0/yank", {"reason": "a\0b"}).status == 400
    assert ada.put(f"{IRIS}/versions/1.0/yank", {"reason": "x" * 1_001}).status == 400
    ada.delete(f"{IRIS}/versions/1.1/yank")
    assert ada.get(f"{IRIS}/resolve?state=>=1").json()["hash"] == two


def test_yanks_are_in_the_audit_once(house: House, ada: Client, states: tuple[str, str]) -> None:
    ada.put(f"{IRIS}/versions/1.0", {"hash": states[0]})
    for _ in range(2):
        ada.put(f"{IRIS}/versions/1.0/yank", {"reason": "why"})
    for _ in range(2):
        ada.delete(f"{IRIS}/versions/1.0/yank")
    with house.registry.db.read() as connection:
        rows = connection.execute(
            select(tables.events.c.action, tables.events.c.detail).where(tables.events.c.action.contains("yank"))
        )
        found = [(action, json.loads(detail)) for action, detail in rows]
    assert found == [
        ("package:yank", {"reason": "why", "version": "1.0"}),
        ("package:unyank", {"version": "1.0"}),
    ]
