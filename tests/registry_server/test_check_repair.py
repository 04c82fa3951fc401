"""A check finds every kind of damage, and repairs what can be repaired."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from datapkg.format import wire
from datapkg.format.chunks import Step
from datapkg.objects.cloud import single_key
from datapkg.objects.packs import PackedObjects
from registry_server.db.tables import objects, package_objects, recipe_bases, search, states
from registry_server.services import downloads
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import GRACE
from tests.registry_server.asgi import Client, Contents, House, check_clean, sha256
from tests.registry_server.test_sweep import bodies, hashes, later, on_disk, send, sweep_later

FILES = {"a": b"one", "b": b"two", "README.md": b"# Iris"}
IRIS = f"{wire.PACKAGES}/ada/iris"


def reasons(house: House, *, quick: bool = False, repair: bool = False) -> dict[str, str]:
    found = check(house.registry, THE_OPERATOR, quick=quick, repair=repair)
    return {each.hash: each.reason for each in found.damaged}


def loose(house: House, data: bytes) -> Path:
    return house.registry.objects.loose.path(sha256(data))


def test_each_kind_of_damage_is_named(house: House, ada: Client) -> None:
    ada.publish("ada/iris", FILES)
    loose(house, b"one").unlink()
    house.damage(sha256(b"two"))
    path = loose(house, b"# Iris")
    path.chmod(0o600)
    path.write_bytes(b"# Iris, longer")
    one, two, three = (sha256(data) for data in FILES.values())
    assert reasons(house, quick=True) == {one: "missing", three: "size"}
    assert reasons(house) == {one: "missing", two: "bytes", three: "size"}


def test_file_that_may_not_be_read_is_not_called_damaged(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.publish("ada/iris", FILES)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(PackedObjects, "open", refused)
    with pytest.raises(PermissionError):
        reasons(house, repair=True)
    monkeypatch.undo()
    assert reasons(house) == {}


@pytest.mark.parametrize("count", [1, 100])
def test_damaged_files_are_set_aside_and_sent_again_by_the_next_push(house: House, ada: Client, count: int) -> None:
    files = bodies("x", count)
    ada.publish("ada/iris", files)
    wrong = sha256(files["x0"])
    house.damage(wrong)
    assert reasons(house, repair=True) == {wrong: "missing"}
    assert on_disk(house) == hashes(files) - {wrong}
    assert [each for each in (house.settings.data / "quarantine").rglob("*") if each.is_file()]
    again = Contents(files)
    started = ada.start("ada/iris", again.manifest)
    assert started["missing"] == [wrong]
    assert ada.push("ada/iris", again).status == 200
    assert check_clean(house) == count + 1


def test_intact_copy_takes_the_place_of_a_damaged_one(house: House, ada: Client) -> None:
    files = bodies("x", 100)
    ada.publish("ada/iris", {"x0": files["x0"]})
    ada.publish("ada/other", files)
    send(ada, "ada/other", files)
    shutil.copy(loose(house, files["x0"]), house.settings.data / "kept")
    with house.registry.new_writer().batch():
        house.registry.new_writer().put_many(files.values())
    house.damage(sha256(files["x0"]))
    assert reasons(house) == {sha256(files["x0"]): "bytes"}
    found = check(house.registry, THE_OPERATOR, repair=True)
    assert found.repaired == [f"object {sha256(files['x0'])}: bytes"]
    assert not loose(house, files["x0"]).exists()
    check_clean(house)


def test_object_in_the_trash_is_restored(house: House, ada: Client) -> None:
    ada.publish("ada/iris", FILES)
    house.registry.trash.move(single_key(sha256(b"one")))
    assert reasons(house) == {sha256(b"one"): "missing"}
    assert reasons(house, repair=True) == {}
    assert check_clean(house) == len(hashes(FILES))


def test_derived_rows_are_made_anew(house: House, ada: Client) -> None:
    first = ada.publish("ada/iris", FILES)
    ada.publish("ada/iris", {**FILES, "c": b"three"})
    with house.registry.db.write() as connection:
        connection.execute(delete(package_objects).where(package_objects.c.hash == sha256(b"one")))
        connection.execute(update(states).where(states.c.hash == first).values(bytes_logical=1))
        connection.execute(update(objects).where(objects.c.hash == sha256(b"three")).values(size=9))
        connection.execute(delete(search))
    assert reasons(house) == {sha256(b"three"): "listed size"}
    found = check(house.registry, THE_OPERATOR)
    assert sorted(line.split(" of ada/iris")[0] for line in found.rows) == [
        "the listed size of an object",
        "the objects held (1 missing)",
        "the objects held (1 missing)",
        "the texts of the search",
        "title, description or size",
    ]
    assert ada.get(f"{IRIS}/objects/{sha256(b'one')}").status == 404
    assert check(house.registry, THE_OPERATOR, repair=True).is_clean
    check_clean(house)
    assert ada.get(f"{IRIS}/objects/{sha256(b'one')}").body == b"one"
    assert len(ada.get(wire.PACKAGES).json()["packages"]) == 1


def test_lost_rows_of_objects_are_listed_again(house: House, ada: Client) -> None:
    ada.publish("ada/iris", FILES)
    loose(house, b"two").unlink()
    with contextlib.closing(sqlite3.connect(house.settings.database)) as connection:
        connection.execute("DELETE FROM objects WHERE hash IN (?, ?)", [sha256(b"one"), sha256(b"two")])
        connection.commit()
    assert check(house.registry, THE_OPERATOR).database
    found = check(house.registry, THE_OPERATOR, repair=True)
    assert (found.database, found.rows, [each.hash for each in found.damaged]) == ([], [], [sha256(b"two")])
    assert ada.push("ada/iris", Contents(FILES)).status == 200
    check_clean(house)


def test_what_an_object_is_made_of_is_noted_again(house: House, ada: Client) -> None:
    base, rest = b"base" * 1_000, b"the rest"
    ada.publish("ada/iris", {"base": base, "derived": base + rest, "rest": rest})
    derived = sha256(base + rest)
    house.registry.objects.recipes.keep(derived, [Step(sha256(base), 0, len(base)), Step(sha256(rest), 0, len(rest))])
    sweep_later(house, GRACE * 3)
    assert not loose(house, base + rest).exists()
    with house.registry.db.write() as connection:
        connection.execute(delete(recipe_bases).where(recipe_bases.c.base == sha256(base)))
    line = f"what object {derived} is made of"
    assert check(house.registry, THE_OPERATOR).rows == [line]
    assert check(house.registry, THE_OPERATOR, repair=True).repaired == [line]
    ada.publish("ada/iris", {"derived": base + rest})
    check_clean(house)


def test_unused_objects_are_counted_and_are_no_damage(house: House, ada: Client) -> None:
    ada.publish("ada/iris", FILES)
    ada.publish("ada/gone", {"gone": b"gone"})
    house.registry.new_writer().put_bytes(b"never listed")
    with house.registry.db.write() as connection:
        row = {"hash": "0" * 64, "size": 1, "created_at": house.registry.now()}
        connection.execute(insert(objects).values(**row))
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    found = check(house.registry, THE_OPERATOR)
    assert (found.is_clean, found.unused_objects) == (True, 3)
    later(house, GRACE * 3)
    sweep_later(house, GRACE * 3, GRACE * 6)
    assert check(house.registry, THE_OPERATOR).unused_objects == 0


def test_what_is_noted_beside_recipes_is_removed_by_a_repair(house: House, ada: Client) -> None:
    base, rest = b"base" * 1_000, b"the rest"
    ada.publish("ada/iris", {"base": base, "derived": base + rest, "rest": rest})
    derived = sha256(base + rest)
    house.registry.objects.recipes.keep(derived, [Step(sha256(base), 0, len(base)), Step(sha256(rest), 0, len(rest))])
    sweep_later(house, GRACE * 3)
    with house.registry.db.write() as connection:  # as if the base, which is whole, were a recipe of another object
        connection.execute(delete(recipe_bases))
        connection.execute(insert(recipe_bases).values(hash=sha256(base), base=sha256(rest)))
    line = f"what object {derived} is made of"
    assert check(house.registry, THE_OPERATOR, repair=True).repaired == [line]
    assert check(house.registry, THE_OPERATOR).is_clean
    ada.publish("ada/iris", {"derived": base + rest})
    sweep_later(house, GRACE * 6)
    check_clean(house)


@pytest.mark.parametrize("repair", [False, True])
def test_a_package_that_is_deleted_during_a_check_is_no_damage(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    ada.publish("ada/iris", FILES)
    map_checked = downloads.map_checked

    def deleted_then(*given: Any) -> Any:
        found = map_checked(*given)
        ada.delete(IRIS)
        return found

    monkeypatch.setattr(downloads, "map_checked", deleted_then)
    found = check(house.registry, THE_OPERATOR, repair=repair)
    assert (found.rows, found.repaired, found.damaged) == ([], [], [])
    assert ada.get(IRIS).status == 404
