"""verify of a whole store: several files at once, and repair from the registry that has the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from datapkg.api import verify as verify_module
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.store import Store
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


def compacted(ada: Person, flowers: str, iris: Path) -> list[bytes]:
    """Push four versions of a large file; `gc` keeps the oldest two as recipes."""
    data, versions = os.urandom(2 << 20), []
    for _ in range(4):
        data = os.urandom(50) + data[50:]
        (iris / "large.bin").write_bytes(data)
        versions.append(data)
        changed(ada, flowers, iris)
    planned = ada("gc", "--dry-run", "--json").json
    assert planned["bytes_freed"] == planned["bytes_compacted"] > 2 << 20
    assert "that older states share with newer ones" in ada("gc", "--dry-run").out
    freed = ada("gc", "--yes", "--json").json
    assert freed == {**planned, "dry_run": False}
    assert "nothing to free" in ada("gc", "--dry-run").out
    return versions


def test_recipe_without_its_base_is_damaged_and_repaired(ada: Person, flowers: str, iris: Path) -> None:
    versions = compacted(ada, flowers, iris)
    packed = Home().store.objects.packed
    recipe = hash_bytes(versions[0])
    for base in {str(each.source) for each in packed.recipes.find(recipe)}:
        if packed.loose.path(base).exists():
            packed.loose.delete(base)
    found = ada("verify", "--json")
    assert found.code == 6
    assert {recipe, hash_bytes(versions[1])} <= {each["hash"] for each in found.json["damaged"]}
    assert found.json["absent"] == 0
    assert found.error["hint"] == "datapkg verify --repair"
    assert ada("verify", "--repair").code == 0
    assert ada("verify", "--json").json["damaged"] == []
    assert [Home().store.objects.read(hash_bytes(each)) for each in versions] == versions


def test_package_that_is_removed_meanwhile_is_not_damaged(
    ada: Person, flowers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(store: Store, *args: Any) -> set[str]:
        with Home().store.writing():
            assert ada("rm", flowers, "--now").code == 0
        return set()

    monkeypatch.setattr(verify_module, "check", check)
    found = verify_module.verify(Home())
    assert found.damaged == []
