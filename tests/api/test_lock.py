"""The requirements of a project are locked, installed exactly, and used by imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.lock import install_locked, write_lock
from datapkg.api.lock_registry import move_registry
from datapkg.api.maintenance import remove
from datapkg.api.push import push_package
from datapkg.errors import Conflict, InvalidInput, InvalidLock, NotFound, PackageNotFound, Refused, VersionNotFound
from datapkg.format.lockfile import Lock
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import find_installed
from tests.conftest import Person
from tests.live_registry import live_registry


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    return folder


@pytest.fixture
def hashes(person: Person, tmp_path: Path) -> list[str]:
    """Push two states of a package, versions 1.0 and 2.0, and return their hashes."""
    home, pushed = person.home("publisher"), []
    for number in (1, 2):
        (tmp_path / "data.csv").write_text(f"n\n{number}\n")
        build_package(home, person.ref("p"), tmp_path / "data.csv")
        pushed.append(push_package(home, person.ref("p"), version=f"{number}.0").hash)
    return pushed


def require(project: Path, *texts: str) -> None:
    (project / "datapkg.yml").write_text("packages:\n" + "".join(f"- '{text}'\n" for text in texts))


def locked(project: Path) -> dict[str, str]:
    return {pin.requirement: pin.hash for pin in Lock.parse((project / "datapkg.lock").read_bytes()).pins}


def installed_hashes(home: Home, project: Path, frozen: bool = False) -> list[str]:
    outcomes = install_locked(home, project, frozen=frozen)
    return [outcome.installed.hash if outcome.installed else str(outcome.error) for outcome in outcomes]


def imported(person: Person, folder: Path) -> str:
    code = f"from datapkg.data.{person.name} import p; print(p().n[0])"
    environ = {**person.environ(), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True)
    return (done.stdout or done.stderr.splitlines()[-1]).strip()


def test_import_uses_the_locked_state(person: Person, hashes: list[str], project: Path) -> None:
    require(project, f"{person.name}/p@sha256:{hashes[0]}")
    home = person.home()
    assert installed_hashes(home, project) == [hashes[0]]
    assert install_packages(home, [person.ref("p")])[0].installed is not None
    assert imported(person, project / "deep") == "1"
    assert imported(person, project.parent) == "2"


def test_lock_has_the_resolved_state(person: Person, hashes: list[str], project: Path) -> None:
    requirement = f"{person.name}/p@1.0"
    require(project, requirement)
    done = write_lock(person.home(), project / "deep")
    assert done.path == project / "datapkg.lock"
    assert done.warnings == []
    assert locked(project) == {requirement: hashes[0]}


def test_only_changed_requirements_are_resolved(
    person: Person, hashes: list[str], project: Path, tmp_path: Path
) -> None:
    require(project, f"{person.name}/p")
    write_lock(person.home(), project)
    (tmp_path / "data.csv").write_text("n\n3\n")
    build_package(person.home("publisher"), person.ref("p"), tmp_path / "data.csv")
    third = push_package(person.home("publisher"), person.ref("p")).hash
    assert installed_hashes(person.home(), project) == [hashes[1]]
    write_lock(person.home(), project)
    assert locked(project) == {f"{person.name}/p": hashes[1]}
    write_lock(person.home(), project, renew=None)
    assert locked(project) == {f"{person.name}/p": third}
    require(project, f"{person.name}/p@<2")
    assert installed_hashes(person.home(), project) == [hashes[0]]


def test_frozen_changes_nothing(person: Person, hashes: list[str], project: Path) -> None:
    require(project, f"{person.name}/p@1.0")
    with pytest.raises(InvalidLock, match="there is no lock"):
        installed_hashes(person.home(), project, frozen=True)
    assert not (project / "datapkg.lock").exists()
    write_lock(person.home(), project)
    assert installed_hashes(person.home(), project, frozen=True) == [hashes[0]]
    before = (project / "datapkg.lock").read_bytes()
    require(project, f"{person.name}/p@2.0")
    with pytest.raises(InvalidLock) as caught:
        installed_hashes(person.home(), project, frozen=True)
    assert f"{person.name}/p@2.0 is asked for and not locked" in str(caught.value)
    assert f"{person.name}/p@1.0 is locked and not asked for" in str(caught.value)
    assert (project / "datapkg.lock").read_bytes() == before


def test_locked_local_state_installs_offline(person: Person, hashes: list[str], project: Path) -> None:
    require(project, f"{person.name}/p@1.0")
    installed_hashes(person.home(), project)
    nowhere = Home({**person.environ(), "DATAPKG_REGISTRY": "http://127.0.0.1:9"})
    assert installed_hashes(nowhere, project) == [hashes[0]]


def test_unknown_registry_in_a_lock_is_not_used(person: Person, hashes: list[str], project: Path) -> None:
    require(project, f"{person.name}/p@1.0")
    write_lock(person.home(), project)
    stranger = Home({"DATAPKG_HOME": str(project / "home"), "DATAPKG_REGISTRY": "https://data.example.org"})
    (outcome,) = install_locked(stranger, project)
    assert isinstance(outcome.error, Refused)
    assert person.url in str(outcome.error)


def test_requirement_that_cannot_be_resolved_is_named(person: Person, hashes: list[str], project: Path) -> None:
    for text, error in ((f"{person.name}/p@9.9", VersionNotFound), (f"{person.name}/nope", PackageNotFound)):
        require(project, text)
        with pytest.raises(error, match=text.partition("@")[0]):
            write_lock(person.home(), project)
    assert not (project / "datapkg.lock").exists()


def test_missing_requirements_suggest_init(person: Person, project: Path) -> None:
    with pytest.raises(InvalidLock, match=r"no datapkg\.yml") as caught:
        write_lock(person.home(), project)
    assert caught.value.hint == "datapkg init"


def test_requirements_file_is_installed_in_order(person: Person, hashes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "wanted.yml"
    path.write_text(f"packages: ['{person.name}/p:v:1.0', '{person.name}/nope']\n")
    first, second = install_locked(person.home(), tmp_path, requirements=path)
    assert first.installed
    assert first.installed.hash == hashes[0]
    assert isinstance(second.error, PackageNotFound)
    assert not (tmp_path / "datapkg.lock").exists()


def test_another_registry_is_a_conflict(person: Person, hashes: list[str], tmp_path: Path) -> None:
    home = person.home()
    install_packages(home, [person.ref("p")])
    other = Home({**person.environ(), "DATAPKG_REGISTRY": person.url.replace("127.0.0.1", "localhost")})
    (outcome,) = install_packages(other, [person.ref("p")])
    assert isinstance(outcome.error, Conflict)
    (outcome,) = install_packages(other, [person.ref("p")], replace=True)
    assert outcome.error is None


def test_unpushed_build_is_kept_in_the_log(person: Person, hashes: list[str], tmp_path: Path) -> None:
    home = person.home()
    (tmp_path / "data.csv").write_text("n\n7\n")
    built = build_package(home, person.ref("p"), tmp_path / "data.csv").hash
    (outcome,) = install_packages(home, [person.ref("p")])
    assert outcome.installed
    assert built in outcome.installed.note
    assert find_installed(home, person.ref(f"p@sha256:{built}")).hash == built
    assert find_installed(home, person.ref("p")).hash == hashes[1]
    assert remove(home, Ref(person.name, "p"))


def test_all_requirements_that_cannot_be_resolved_are_named(person: Person, project: Path, hashes: list[str]) -> None:
    require(project, f"{person.name}/p@9.0", f"{person.name}/p2", f"{person.name}/p3@stable", "nobody/p")
    with pytest.raises(VersionNotFound, match="4 of the requirements") as caught:
        write_lock(person.home("reader"), project)
    named = [f"{person.name}/p@9.0", f"{person.name}/p2", f"{person.name}/p3@stable", "nobody/p"]
    assert [ref for ref, _ in caught.value.detail["problems"]] == named
    assert all(f"  {ref}: " in caught.value.message for ref in named)
    assert not (project / "datapkg.lock").exists()


def test_lock_settles_the_conflicts_of_a_merge(person: Person, hashes: list[str], project: Path) -> None:
    for name in ("q", "r"):
        build_package(person.home("publisher"), person.ref(name), project.parent / "data.csv")
        push_package(person.home("publisher"), person.ref(name))
    sides = []
    for wanted in (f"{person.name}/p@1.0", f"{person.name}/p"):
        require(project, wanted, f"{person.name}/q", f"{person.name}/r")
        (project / "datapkg.lock").unlink(missing_ok=True)
        write_lock(person.home(), project)
        sides.append((project / "datapkg.lock").read_bytes())
    (project.parent / "data.csv").write_text("n\n9\n")
    build_package(person.home("publisher"), person.ref("r"), project.parent / "data.csv")
    push_package(person.home("publisher"), person.ref("r"))
    before = {pin.package: pin.hash for pin in Lock.parse(sides[1]).pins}
    (project / "datapkg.lock").write_bytes(b"<<<<<<< HEAD\n" + sides[0] + b"=======\n" + sides[1] + b">>>>>>> them\n")
    with pytest.raises(InvalidLock, match="conflict markers"):
        install_locked(person.home(), project)
    done = write_lock(person.home(), project)
    assert {pin.package: pin.hash for pin in done.pins} == before
    assert "2 pins" in done.warnings[0]
    assert locked(project) == {pin.requirement: pin.hash for pin in done.pins}


def test_lock_follows_a_registry_that_moved(project: Path, tmp_path: Path) -> None:
    with live_registry(tmp_path) as live:
        token, old = live.add_user("u"), live.url
        ada = Person("u", token, old, tmp_path / "ada")
        hashes = [push_state(ada, tmp_path, number) for number in (1, 2)]
        (project / "datapkg.yml").write_text(f"packages:\n- {old}/u/p@sha256:{hashes[0]} # the first\n")
        write_lock(ada.home(), project)
        assert installed_hashes(ada.home("reader"), project) == [hashes[0]]
        lock = (project / "datapkg.lock").read_text()
    with live_registry(tmp_path) as live:
        assert live.url != old
        new = Person("u", token, live.url, tmp_path / "new")
        # The pinned hashes are installed from another address, and the files stay.
        (outcome,) = install_locked(new.home(), project, frozen=True, registry=live.url)
        assert outcome.installed
        (outcome,) = install_locked(new.home("other"), project, frozen=True)
        assert isinstance(outcome.error, Refused)
        assert (project / "datapkg.lock").read_text() == lock
        assert move_registry(new.home(), project, f"{old}={live.url}", dry_run=True).dry_run
        assert (project / "datapkg.lock").read_text() == lock
        (note,) = move_registry(new.home(), project, f"{old}={live.url}").warnings
        assert note == f"1 of 1 pins moved from {old} to {live.url}"
        assert (project / "datapkg.lock").read_text() == lock.replace(old, live.url)
        assert (project / "datapkg.yml").read_text().endswith(f"- {live.url}/u/p@sha256:{hashes[0]} # the first\n")
        assert installed_hashes(new.home("other"), project, frozen=True) == [hashes[0]]
        # What was installed from the old address is replaced, since the lock has full hashes.
        (project / "datapkg.yml").write_text("packages: [u/p]\n")
        write_lock(new.home(), project, renew=None)
        moved = Home({**ada.environ("reader"), "DATAPKG_REGISTRY": live.url})
        assert installed_hashes(moved, project, frozen=True) == [hashes[1]]
        with pytest.raises(NotFound, match=f"came from {old}; its registries: {live.url}"):
            move_registry(new.home(), project, f"{old}={live.url}")
        with pytest.raises(InvalidInput, match="OLD=NEW"):
            move_registry(new.home(), project, f"{old}=")


def push_state(person: Person, tmp_path: Path, number: int) -> str:
    (tmp_path / "data.csv").write_text(f"n\n{number}\n")
    build_package(person.home(), person.ref("p"), tmp_path / "data.csv")
    return push_package(person.home(), person.ref("p")).hash
