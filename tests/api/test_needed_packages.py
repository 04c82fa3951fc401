"""A lock lists the packages whose nodes its packages contain, and what an import of these means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapkg.api import sharing
from datapkg.api.build import build_package
from datapkg.api.lock import install_locked, write_lock
from datapkg.api.push import push_package
from datapkg.api.requirements import remove_requirements
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.resolve import find_installed
from tests.conftest import Person
from tests.static_registry import Static


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def publish(person: Person, name: str, source: Any) -> str:
    """Build a package on the machine `publisher`, push it and return its hash."""
    home = person.home("publisher")
    build_package(home, person.ref(name), source)
    return push_package(home, person.ref(name)).hash


def composed(tmp_path: Path, **nodes: str) -> Path:
    """Return a build file whose nodes are taken from other packages."""
    path = tmp_path / "composed.yml"
    path.write_text("contents:\n" + "".join(f"  {node}: {{package: {ref}}}\n" for node, ref in nodes.items()))
    return path


def text(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(content)
    return path


@pytest.fixture
def chain(person: Person, tmp_path: Path) -> dict[str, str]:
    """Push `top`, which contains nodes of `middle`, which contains nodes of `base`, of which there is a newer state."""
    name = person.name
    hashes = {"base": publish(person, "base", text(tmp_path, "1"))}
    hashes["middle"] = publish(person, "middle", composed(tmp_path, b=f"{name}/base"))
    hashes["top"] = publish(person, "top", composed(tmp_path, m=f"{name}/middle"))
    hashes["newer"] = publish(person, "base", text(tmp_path, "2"))
    return hashes


def needed(pins: list[Pin] | tuple[Pin, ...]) -> list[tuple[str, str, str]]:
    return [(pin.package.partition("/")[2], pin.hash, pin.needed_by.partition("/")[2]) for pin in pins if pin.needed_by]


def test_lock_lists_what_packages_contain(person: Person, chain: dict[str, str], project: Path) -> None:
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/top]\n")
    home = person.home()
    done = write_lock(home, project)
    assert needed(done.pins) == [("base", chain["base"], "middle"), ("middle", chain["middle"], "top")]
    assert done.warnings == []
    assert needed(Lock.parse(done.path.read_bytes()).pins) == needed(done.pins)
    (installed,) = install_locked(home, project, frozen=True)
    assert installed.installed
    assert find_installed(home, person.ref("base")).hash == chain["base"]
    assert home.store.refs.current(person.ref("base")) is None
    package: Any = load(person.ref("base"), home)
    assert Path(package.text_txt.path).read_text() == "1"  # what `top` holds of it
    nowhere = Home({**person.environ(), "DATAPKG_REGISTRY": "http://127.0.0.1:9"})
    assert needed(write_lock(nowhere, project).pins) == needed(done.pins)
    assert remove_requirements(nowhere, project, [person.ref("top")]).pins == []


def test_requirement_counts_more_than_what_is_contained(person: Person, chain: dict[str, str], project: Path) -> None:
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/middle, {person.name}/base]\n")
    home = person.home()
    (note,) = write_lock(home, project).warnings
    assert note == (
        f"{person.name}/middle contains nodes of {person.name}/base in another state than the one required, "
        "which imports use"
    )
    install_locked(home, project)
    assert find_installed(home, person.ref("base")).hash == chain["newer"]


def test_two_contained_states_pin_none(person: Person, chain: dict[str, str], project: Path, tmp_path: Path) -> None:
    name = person.name
    publish(person, "other", composed(tmp_path, b=f"{name}/base"))
    (project / "datapkg.yml").write_text(f"packages: [{name}/middle, {name}/other]\n")
    done = write_lock(person.home(), project)
    assert {hash for package, hash, _ in needed(done.pins) if package == "base"} == {chain["base"], chain["newer"]}
    assert Lock(tuple(done.pins)).hash_of(f"{name}/base") is None
    assert f"(in {name}/middle, {name}/other), so that the lock pins none" in done.warnings[0]
    assert f"datapkg add {name}/base@sha256:" in done.warnings[0]


def test_package_that_may_not_be_seen_is_not_named(
    person: Person, chain: dict[str, str], project: Path, new_person: Callable[[], Person]
) -> None:
    reader = new_person()
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/top]\n")
    sharing.grant(person.home("publisher"), person.ref("top"), reader.name)
    done = write_lock(reader.home(), project)
    assert needed(done.pins) == []
    assert "top contains nodes of 1 package that you may not see" in done.warnings[0]
    assert "middle" not in done.path.read_text()
    sharing.grant(person.home("publisher"), person.ref("middle"), reader.name)
    done = write_lock(reader.home(), project, renew=None)
    assert needed(done.pins) == [("middle", chain["middle"], "top")]
    assert "middle contains nodes of 1 package that you may not see" in done.warnings[0]
    (outcome,) = install_locked(reader.home(), project, frozen=True)
    assert outcome.installed


def test_update_finds_what_a_new_state_contains(
    person: Person, chain: dict[str, str], project: Path, tmp_path: Path
) -> None:
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/middle]\n")
    write_lock(person.home(), project)
    # Named by its hash, since a build in this folder follows the lock too.
    publish(person, "middle", composed(tmp_path, b=f"{person.name}/base@sha256:{chain['newer']}"))
    assert needed(write_lock(person.home(), project).pins) == [("base", chain["base"], "middle")]
    assert needed(write_lock(person.home(), project, renew=None).pins) == [("base", chain["newer"], "middle")]


def test_registry_without_a_server_names_what_packages_contain(static: Static, project: Path, tmp_path: Path) -> None:
    base = static.push(Ref.parse("u/base"), "1", "one").hash
    home = static.home("one")
    build_package(home, Ref.parse("u/made"), composed(tmp_path, x="u/base"))
    push_package(home, Ref.parse("u/made"))
    (project / "datapkg.yml").write_text("packages: [u/made]\n")
    done = write_lock(static.home("two"), project)
    assert needed(done.pins) == [("base", base, "made")]
