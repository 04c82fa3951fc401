"""Objects that came as deltas are kept as ranges of others: served alike, never lost with what they rely on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from datapkg.errors import CorruptObject
from datapkg.format import wire
from datapkg.format.chunks import Step
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import encode_delta
from registry_server.db import objects
from registry_server.db.tables import recipe_bases
from registry_server.services import recipes
from registry_server.services.check import check
from registry_server.services.exports import export
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import GRACE, sweep
from tests.registry_server.asgi import Client, Contents, House, sha256, wheel_objects

DATA = f"{wire.PACKAGES}/ada/data"


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


FIRST = Random(1).randbytes(1 << 20)
VERSIONS = [FIRST]
for number in range(1, 6):
    VERSIONS.append(edited(VERSIONS[-1], number * 100_000, b"version %d" % number))


def push(client: Client, old: bytes, new: bytes, at: int, parent: str) -> str:
    """Push a state whose file differs by ten bytes, as a delta; return the hash of the manifest."""
    contents = Contents({"raw/a": new})
    id = client.start("ada/data", contents.manifest)["push"]
    source = sha256(old)
    steps = [Step(source, 0, at), Step(None, at, 9), Step(source, at + 9, len(old) - at - 9)]
    body = b"".join(encode_delta(steps, memoryview(new)))
    assert client.put(f"{DATA}/pushes/{id}/objects/{sha256(new)}/delta", body=body).status == 200
    client.post(f"{DATA}/pushes/{id}/objects", body=b"".join(encode_frames(contents.needed([contents.manifest.hash]))))
    done = client.post(f"{DATA}/pushes/{id}/publish", {"manifest": contents.manifest.hash, "parent": parent})
    assert done.status == 200
    return contents.manifest.hash


@pytest.fixture
def owner(ada: Client) -> Client:
    """Return the owner of a package of which five versions came as deltas."""
    parent = ada.publish("ada/data", {"raw/a": FIRST})
    for number, (old, new) in enumerate(pairwise(VERSIONS), start=1):
        parent = push(ada, old, new, number * 100_000, parent)
    return ada


def is_whole(house: House, data: bytes) -> bool:
    return house.registry.objects.loose.path(sha256(data)).exists()


def disk_bytes(house: House) -> int:
    folders = (house.settings.data / name for name in ("objects", "packs", "recipes"))
    wheels = {house.registry.objects.loose.path(hash) for hash in wheel_objects(house)}
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return sum(path.stat().st_size for path in files - wheels)


def sweep_later(house: House, times: int) -> None:
    for number in range(1, times + 1):
        moment = datetime.now(UTC) + number * (GRACE + GRACE / 60)
        house.registry = replace(house.registry, now=lambda moment=moment: moment)  # type: ignore[misc]
        sweep(house.registry, THE_OPERATOR)


def test_versions_take_the_space_of_one(house: House, owner: Client) -> None:
    assert [is_whole(house, data) for data in VERSIONS] == [True] + [False] * 5
    assert disk_bytes(house) < 1.02 * len(FIRST)
    for data in VERSIONS:
        path = f"{DATA}/objects/{sha256(data)}"
        assert owner.get(path).body == data
        part = owner.get(path, headers={"range": "bytes=299990-300020"})
        assert (part.status, part.body) == (206, data[299_990:300_021])
    assert check(house.registry, THE_OPERATOR).damaged == []


def test_sweep_keeps_what_recipes_rely_on(house: House, owner: Client) -> None:
    before = disk_bytes(house)
    sweep_later(house, 3)
    assert disk_bytes(house) == before
    assert owner.get(f"{DATA}/objects/{sha256(VERSIONS[5])}").body == VERSIONS[5]


def test_a_base_stays_while_another_package_needs_it(house: House, owner: Client) -> None:
    contents = Contents({"raw/copy": VERSIONS[5]})
    id = owner.start("ada/copy", contents.manifest)["push"]
    path = f"{wire.PACKAGES}/ada/copy/pushes/{id}"
    owner.post(f"{path}/objects", body=b"".join(encode_frames(contents.needed([contents.manifest.hash]))))
    assert owner.post(f"{path}/publish", {"manifest": contents.manifest.hash}).status == 200
    assert owner.delete(DATA).status in (200, 204)
    sweep_later(house, 3)
    assert owner.get(f"{wire.PACKAGES}/ada/copy/objects/{sha256(VERSIONS[5])}").body == VERSIONS[5]
    assert is_whole(house, FIRST)
    assert [*house.registry.objects.recipes] == [sha256(VERSIONS[5])]
    assert owner.delete(f"{wire.PACKAGES}/ada/copy").status in (200, 204)
    sweep_later(house, 6)
    assert disk_bytes(house) == 0
    with house.registry.db.read() as connection:
        assert connection.execute(select(recipe_bases)).all() == []


def test_a_base_never_becomes_a_recipe(house: House, owner: Client) -> None:
    first, last = sha256(FIRST), sha256(VERSIONS[5])
    at = 100_000
    steps = [Step(last, 0, at), Step(None, at, 500_000), Step(last, at + 500_000, len(FIRST) - at - 500_000)]
    recipes.prepare(house.registry, first, steps)
    recipes.replace_wholes(house.registry, [first])
    assert is_whole(house, FIRST)
    assert owner.get(f"{DATA}/objects/{last}").body == VERSIONS[5]


def test_a_damaged_base_is_reported_and_comes_back_with_the_next_push(house: House, owner: Client) -> None:
    path = house.registry.objects.loose.path(sha256(FIRST))
    path.chmod(0o600)
    path.write_bytes(edited(FIRST, 900_000, b"?"))
    damaged = {entry.hash for entry in check(house.registry, THE_OPERATOR).damaged}
    assert damaged == {sha256(data) for data in VERSIONS}
    contents = Contents({"raw/a": VERSIONS[5], "raw/b": FIRST})
    id = owner.start("ada/data", contents.manifest)["push"]
    for data in (VERSIONS[5], FIRST):
        assert owner.put(f"{DATA}/pushes/{id}/objects/{sha256(data)}", body=data).status == 200
    assert check(house.registry, THE_OPERATOR).damaged == []
    sweep(house.registry, THE_OPERATOR)
    assert owner.get(f"{DATA}/objects/{sha256(VERSIONS[3])}").body == VERSIONS[3]


def test_a_kill_before_the_whole_is_deleted_is_made_good_by_the_sweep(house: House, owner: Client) -> None:
    house.registry.new_writer().put_bytes(VERSIONS[4])
    assert is_whole(house, VERSIONS[4])
    sweep(house.registry, THE_OPERATOR)
    assert not is_whole(house, VERSIONS[4])
    assert owner.get(f"{DATA}/objects/{sha256(VERSIONS[4])}").body == VERSIONS[4]


def test_damaged_recipe_is_noted_and_sent_again(house: House, owner: Client) -> None:
    """Its readers are not told where the registry keeps its files."""
    bad = sha256(VERSIONS[3])
    path = house.registry.objects.recipes.path(bad)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    for address in (f"{DATA}/objects/{bad}", f"{DATA}/objects/{bad}/chunks"):
        with house.registry.db.write() as connection:
            objects.set_whole(connection, [bad])
        refused = owner.get(address)
        assert isinstance(refused.error, CorruptObject)
        assert str(house.settings.data) not in refused.text
        assert "datapkg verify" not in refused.text
        assert owner.start("ada/data", Contents({"raw/a": VERSIONS[3]}).manifest)["damaged"] == [bad]
    parent = owner.get(DATA).json()["latest"]
    assert owner.publish("ada/data", {"raw/a": VERSIONS[3]}, parent=parent)
    assert owner.get(f"{DATA}/objects/{bad}").body == VERSIONS[3]


def test_registry_with_a_damaged_recipe_is_exported_without_its_object(
    house: House, owner: Client, tmp_path: Path
) -> None:
    bad = sha256(VERSIONS[3])
    path = house.registry.objects.recipes.path(bad)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptObject, match=f"object {bad} of the registry is damaged"):
        export(house.registry, THE_OPERATOR, tmp_path / "export")
    assert export(house.registry, THE_OPERATOR, tmp_path / "export").left_out == [bad]
