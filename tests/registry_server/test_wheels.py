"""Thin wheels are built once, and are kept as they were built."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from datapkg.format import wire
from datapkg.format.simple_index import JSON_TYPE
from datapkg.format.thin_wheel import wheel_version
from registry_server.db import tables
from registry_server.services import wheels
from registry_server.services.check import check
from registry_server.services.exports import export, load
from registry_server.services.policy import THE_OPERATOR
from tests.registry_server.asgi import Client, House, check_clean, sha256
from tests.registry_server.test_sweep import sweep_later

IRIS = f"{wire.PACKAGES}/ada/iris"


def rows(house: House) -> dict[str, dict[str, Any]]:
    """Return all wheels, by version."""
    with house.registry.db.read() as connection:
        return {row["version"]: dict(row) for row in connection.execute(select(tables.wheels)).mappings()}


def pinned(house: House, version: str) -> str:
    """Return what the pin file in a wheel says, after the wheel's object was verified."""
    row = rows(house)[version]
    data = house.registry.objects.read(row["object"])
    assert (sha256(data), len(data)) == (row["object"], row["size"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("datapkg/data/ada/iris.pin.json").decode()


def test_state_has_a_wheel_and_one_for_each_version(house: House, ada: Client) -> None:
    one = ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    two = ada.publish("ada/iris", {"a": b"two"})
    assert ada.publish("ada/iris", {"a": b"one"}) == one
    for version in ("1.1", "1.1", "2.0"):
        answer = ada.put(f"{IRIS}/versions/{version}", {"hash": two})
    named = {("1.0", 1, one), (None, 1, one), (None, 2, two), ("1.1", 2, two), ("2.0", 2, two)}
    built = rows(house)
    assert built.keys() == {wheel_version(*each) for each in named}
    for version, number, hash in named:
        pin = pinned(house, wheel_version(version, number, hash))
        assert f'"hash":"{hash}"' in pin
        assert '"registry":"https://data.example.org"' in pin
    listed = {each["version"]: each["wheel"] for each in answer.json()["versions"]}
    assert listed == {v: built[wheel_version(v, n, h)]["object"] for v, n, h in named if v}
    entries = ada.get(f"{IRIS}/log").json()["entries"]
    assert [(each["number"], each["wheel"]) for each in entries] == [
        (number, built[wheel_version(None, number, hash)]["object"]) for number, hash in ((1, one), (2, two), (1, one))
    ]


def test_wheel_is_what_was_built_first_also_after_a_deletion(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    before = rows(house)
    monkeypatch.setattr("datapkg.format.thin_wheel.REQUIRES_PYTHON", ">=3.99")  # as a later version of the program
    assert ada.delete(IRIS).status < 300
    for _ in range(2):
        sweep_later(house)
    ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    after = rows(house)
    assert {version: after[version] for version in before} == before
    assert [after[version]["requires_python"] for version in after.keys() - before.keys()] == [">=3.99"]
    for version in after:
        pinned(house, version)
    check_clean(house)


def test_wheels_of_earlier_states_are_built_once(house: House, ada: Client) -> None:
    one = ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    ada.publish("ada/iris", {"a": b"two"})
    ada.publish("ada/iris", {"a": b"one"})
    before = rows(house)
    with house.registry.db.write() as connection:
        connection.execute(delete(tables.wheels).where(tables.wheels.c.state == one))
    assert len(ada.get(f"{IRIS}/log").json()["entries"]) == 3
    for _ in range(2):
        wheels.build_all_missing(house.registry, lambda: False)
        after = rows(house)
        assert {version: row["object"] for version, row in after.items()} == {
            version: row["object"] for version, row in before.items()
        }
    with house.registry.db.read() as connection:
        first = connection.execute(select(tables.log.c.pushed_at).order_by(tables.log.c.id)).scalars().first()
    assert after[wheel_version(None, 1, one)]["built_at"] == first
    check_clean(house)


def test_number_that_another_push_took_gets_a_new_wheel(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = wheels.StateWheels.prepare

    def prepared(self: wheels.StateWheels, *args: Any) -> None:
        prepare(self, *args)
        monkeypatch.undo()
        ada.publish("ada/iris", {"a": b"first"})

    monkeypatch.setattr(wheels.StateWheels, "prepare", prepared)
    second = ada.publish("ada/iris", {"a": b"second"}, force=True)
    assert f'"hash":"{second}"' in pinned(house, wheel_version(None, 2, second))
    assert len(rows(house)) == 2


def test_wheels_are_exported(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    export(house.registry, THE_OPERATOR, tmp_path / "export")
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, tmp_path / "export")
    assert rows(other) == rows(house)
    for version in rows(other):
        pinned(other, version)
    check_clean(other)
    other.close()


def test_lost_wheel_is_built_again_by_a_repair_if_that_gives_the_same_bytes(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.publish("ada/iris", {"a": b"one"})
    ((_, row),) = rows(house).items()
    house.damage(row["object"])
    (damaged,) = check(house.registry, THE_OPERATOR).damaged
    assert (damaged.hash, damaged.packages) == (row["object"], ["ada/iris"])
    monkeypatch.setattr("datapkg.format.thin_wheel.REQUIRES_PYTHON", ">=3.99")  # as a later version of the program
    assert len(check(house.registry, THE_OPERATOR, repair=True).damaged) == 1
    monkeypatch.undo()
    assert check(house.registry, THE_OPERATOR, repair=True).repaired == [f"object {row['object']}: missing"]
    check_clean(house)
    page = ada.get("/simple/datapkg-ada-iris/", headers={"accept": JSON_TYPE}).json()
    assert sha256(ada.get("/simple/datapkg-ada-iris/" + page["files"][0]["url"]).body) == row["object"]


def test_builders_at_once_end_with_one_wheel(house: House, ada: Client) -> None:
    hash = ada.publish("ada/iris", {"a": b"one"}, version="1.0")
    before = {version: row["object"] for version, row in rows(house).items()}
    with house.registry.db.write() as connection:
        connection.execute(delete(tables.wheels))
        package_id = connection.execute(select(tables.packages.c.id)).scalar_one()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(wheels.build_missing, house.registry, package_id, "ada/iris") for _ in range(8)]:
            done.result()
    assert {version: row["object"] for version, row in rows(house).items()} == before
    assert pinned(house, wheel_version("1.0", 1, hash))
