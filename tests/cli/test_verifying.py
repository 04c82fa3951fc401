"""verify of a whole store: several files at once, and repair from the registry that has the data."""

from __future__ import annotations

import os
from pathlib import Path

from datapkg.format.names import Ref
from datapkg.home import Home
from tests.cli.conftest import Person, changed


def damage(path: Path) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def files(home: Home, *folders: str) -> list[Path]:
    return [path for folder in folders for path in (home.store.folder / folder).rglob("*") if path.is_file()]


def test_all_that_a_registry_has_is_repaired(ada: Person, flowers: str, iris: Path) -> None:
    (iris / "large.bin").write_bytes(os.urandom(1 << 20))
    changed(ada, flowers, iris)
    home = Home()
    before = {path: path.read_bytes() for path in files(home, "objects", "packs")}
    checked = ada("verify", "--all", "--json").json["checked"]
    for path in before:
        damage(path)
    found = ada("verify", "--all", "--json")
    assert found.code == 6
    assert found.error["hint"] == "datapkg verify --repair"
    repaired = ada("verify", "--all", "--repair", "--json")
    assert (repaired.code, repaired.json["damaged"], repaired.json["checked"]) == (0, [], checked)
    assert repaired.json["repaired"] >= len(found.json["damaged"])
    assert ada("verify", "--json").json["damaged"] == []
    objects = {hash: Home().store.objects.read(hash) for hash in Home().store.objects}
    assert len(objects) == checked


def test_state_of_before_is_repaired_too(ada: Person, flowers: str, iris: Path) -> None:
    home = Home()
    old = home.store.refs.current(Ref.parse(flowers))
    assert old
    changed(ada, flowers, iris)
    damage(home.store.objects.packed.loose.path(old.hash))
    assert ada("verify", "--repair", flowers).code == 0, "the current state is intact"
    ended = ada("verify", "--repair", "--json")
    assert (ended.code, ended.json["repaired"]) == (0, 1)
    assert Home().store.has(old.hash)


def test_what_was_never_pushed_stays_damaged(ada: Person, iris: Path) -> None:
    assert ada("build", f"{ada.name}/own", str(iris)).code == 0
    (pack,) = files(Home(), "packs")
    damage(pack)
    ended = ada("verify", "--repair")
    assert ended.code == 6
    assert f"datapkg install {ada.name}/own, or build again" in ended.err
    assert ada("build", f"{ada.name}/own", str(iris)).code == 0
    assert ada("verify").code == 0


def test_whole_store_and_a_package_are_not_named_together(ada: Person, flowers: str) -> None:
    assert ada("verify", "--all", flowers).code == 2
