"""Requirements are added, removed and updated with their pins; what fails changes no file."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import datapkg
from datapkg.api import lock, requirements
from datapkg.api.build import build_package
from datapkg.api.lock import install_locked, write_lock
from datapkg.api.lock_results import LockResult
from datapkg.api.push import push_package
from datapkg.api.requirements import (
    AddOptions,
    add_requirements,
    check_lock,
    outdated_requirements,
    remove_requirements,
    update_requirements,
)
from datapkg.errors import Conflict, InvalidInput, InvalidLock, NotFound, Refused, VersionNotFound
from datapkg.format.lockfile import Lock
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.conftest import Person
from tests.live_registry import live_registry


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    return folder


def publish(person: Person, tmp_path: Path, name: str, value: int, version: str | None = None) -> str:
    """Push a package with a table `data` of one value, and return its hash."""
    folder = tmp_path / "source"
    folder.mkdir(exist_ok=True)
    (folder / "data.csv").write_text(f"{name}\n{value}\n")
    build_package(person.home("publisher"), person.ref(name), folder)
    return push_package(person.home("publisher"), person.ref(name), version=version).hash


@pytest.fixture
def hashes(person: Person, tmp_path: Path) -> list[str]:
    """Push two states of a package, versions 1.0 and 2.0, and return their hashes."""
    return [publish(person, tmp_path, "p", number, f"{number}.0") for number in (1, 2)]


def pinned(project: Path) -> dict[str, str]:
    pins = Lock.parse((project / "datapkg.lock").read_bytes()).pins
    return {pin.requirement + (f" ({pin.group})" if pin.group else ""): pin.hash for pin in pins}


def yml(project: Path) -> str:
    return (project / "datapkg.yml").read_text()


def test_add_creates_locks_and_installs(person: Person, hashes: list[str], project: Path) -> None:
    home, name = person.home(), person.name
    done = add_requirements(home, project, [person.ref("p@1.0")])
    assert yml(project).endswith(f"packages:\n- {name}/p@1.0\n")
    assert pinned(project) == {f"{name}/p@1.0": hashes[0]}
    assert [(each.package, each.old) for each in done.changes] == [(f"{name}/p", None)]
    assert [each.installed.hash for each in done.installed if each.installed] == [hashes[0]]
    done = add_requirements(home, project, [person.ref("p@>=1")], AddOptions(install=False))
    assert yml(project).endswith(f"packages:\n- {name}/p@>=1\n")
    assert [(each.old and each.old.hash, each.new and each.new.hash) for each in done.changes] == [tuple(hashes)]
    assert done.installed == []
    assert install_locked(home, project, frozen=True)[0].installed is not None


def test_of_two_adds_at_once_neither_is_lost(
    person: Person, hashes: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(person, tmp_path, "q", 3)
    threads: list[threading.Thread] = []

    def slow(*args: Any, **options: Any) -> LockResult:
        done = lock.lock_requirements(*args, **options)
        if not threads:
            other = partial(add_requirements, person.home("second"), project, [person.ref("q")])
            threads.append(threading.Thread(target=other))
            threads[0].start()
            threads[0].join(0.5)
        return done

    monkeypatch.setattr(requirements, "lock_requirements", slow)
    add_requirements(person.home(), project, [person.ref("p")])
    threads[0].join()
    assert sorted(pinned(project)) == [f"{person.name}/p", f"{person.name}/q"]
    assert all(f"- {person.name}/{name}\n" in yml(project) for name in "pq")


def test_failed_or_dry_add_writes_nothing(person: Person, hashes: list[str], project: Path) -> None:
    home = person.home()
    with pytest.raises(VersionNotFound, match=f"{person.name}/p@9"):
        add_requirements(home, project, [person.ref("p@9"), person.ref("p/data")])
    assert add_requirements(home, project, [person.ref("p")], AddOptions(dry_run=True)).dry_run
    with pytest.raises(NotFound, match="nope"):
        add_requirements(home, project, [person.ref("p/nope")])
    assert {path.name for path in project.iterdir()} == {".git"}


def test_adding_keeps_other_pins(person: Person, hashes: list[str], project: Path, tmp_path: Path) -> None:
    home, name = person.home(), person.name
    add_requirements(home, project, [person.ref("p")], AddOptions(install=False))
    publish(person, tmp_path, "p", 3)
    other = publish(person, tmp_path, "q", 1)
    add_requirements(home, project, [person.ref("q"), person.ref("p/data")], AddOptions(install=False))
    assert pinned(project) == {f"{name}/p": hashes[1], f"{name}/p/data": hashes[1], f"{name}/q": other}


def test_groups_are_added_and_installed_apart(person: Person, hashes: list[str], project: Path, tmp_path: Path) -> None:
    home, name = person.home(), person.name
    publish(person, tmp_path, "q", 1), publish(person, tmp_path, "r", 1)
    for ref, group in (("p", ""), ("q", "dev"), ("r", "docs"), ("p", "docs")):
        add_requirements(home, project, [person.ref(ref)], AddOptions(group, install=False))
    assert list(pinned(project)) == [f"{name}/p", f"{name}/p (docs)", f"{name}/q (dev)", f"{name}/r (docs)"]

    def installed(**options: list[str]) -> list[str]:
        outcomes = install_locked(home, project, frozen=True, **options)  # type: ignore[arg-type]
        return [each.installed.package.partition("/")[2] for each in outcomes if each.installed]

    assert installed() == ["p", "q"]
    assert installed(no_groups=["dev"]) == ["p"]
    assert installed(groups=["docs"]) == ["p", "q", "r"]
    with pytest.raises(InvalidLock, match="no group 'test'"):
        installed(groups=["test"])
    (project / "datapkg.yml").unlink()
    assert installed(groups=["docs"], no_groups=["dev"]) == ["p", "r"]


def test_remove_needs_no_registry(person: Person, hashes: list[str], project: Path) -> None:
    home, name = person.home(), person.name
    add_requirements(home, project, [person.ref("p"), person.ref("p/data")], AddOptions(install=False))
    add_requirements(home, project, [person.ref("p")], AddOptions("dev", install=False))
    nowhere = Home({**person.environ(), "DATAPKG_REGISTRY": "http://127.0.0.1:9"})
    assert remove_requirements(nowhere, project, [person.ref("p")], dry_run=True).pins == []
    remove_requirements(nowhere, project, [person.ref("p/data")])
    assert list(pinned(project)) == [f"{name}/p", f"{name}/p (dev)"]
    remove_requirements(nowhere, project, [person.ref("p")], "dev")
    assert list(pinned(project)) == [f"{name}/p"]
    remove_requirements(nowhere, project, [person.ref("p")])
    assert pinned(project) == {}
    with pytest.raises(NotFound, match=f"{name}/p is not in"):
        remove_requirements(nowhere, project, [person.ref("p")])


def test_update_takes_what_requirements_allow(person: Person, hashes: list[str], project: Path, tmp_path: Path) -> None:
    home, name = person.home(), person.name
    other = publish(person, tmp_path, "q", 1, "1.0")
    add_requirements(home, project, [person.ref("p"), person.ref("q@<2")])
    third = publish(person, tmp_path, "p", 3)
    newer, _ = publish(person, tmp_path, "q", 2, "1.5"), publish(person, tmp_path, "q", 3, "2.0")
    before = pinned(project)
    dry = update_requirements(home, project, options=AddOptions(dry_run=True))
    assert [each.new.hash for each in dry.changes if each.new] == [third, newer]
    assert pinned(project) == before
    done = update_requirements(home, project, [person.ref("q")])
    assert pinned(project) == {f"{name}/p": hashes[1], f"{name}/q@<2": newer}
    assert [each.old.hash for each in done.changes if each.old] == [other]
    assert [each.installed.hash for each in done.installed if each.installed] == [newer]
    update_requirements(home, project, options=AddOptions(install=False))
    assert pinned(project) == {f"{name}/p": third, f"{name}/q@<2": newer}
    with pytest.raises(NotFound, match="nope is not in"):
        update_requirements(home, project, [person.ref("nope")])


def test_outdated_lists_pinned_allowed_and_latest(
    person: Person, hashes: list[str], project: Path, tmp_path: Path
) -> None:
    home, name = person.home(), person.name
    publish(person, tmp_path, "q", 1, "1.0"), publish(person, tmp_path, "r", 1)
    add_requirements(home, project, [person.ref("p@<2"), person.ref("q@<2"), person.ref("r")])
    allowed, latest = publish(person, tmp_path, "q", 2, "1.5"), publish(person, tmp_path, "q", 3)
    found = outdated_requirements(home, project)
    states = [(each.requirement, each.pinned.version, each.allowed.version, each.latest.version) for each in found]
    assert states == [(f"{name}/p@<2", "1.0", "1.0", "2.0"), (f"{name}/q@<2", "1.0", "1.5", None)]
    assert (found[1].allowed.hash, found[1].latest.hash) == (allowed, latest)


def test_requirements_of_one_package_get_one_state(
    person: Person, hashes: list[str], project: Path, tmp_path: Path
) -> None:
    home, name = person.home(), person.name
    (project / "datapkg.yml").write_text(
        f"packages: ['{name}/p@<2', {name}/p/data]\ngroups:\n  dev: ['{name}/p@>=1']\n  docs: ['{name}/p@1.0']\n"
    )
    done = write_lock(home, project)
    assert {pin.hash for pin in done.pins} == {hashes[0]}
    assert len(done.pins) == 4


def test_two_states_are_explained_with_their_lines(person: Person, hashes: list[str], project: Path) -> None:
    home, name = person.home(), person.name
    (project / "datapkg.yml").write_text(f"packages:\n- '{name}/p@1.0'\ngroups:\n  dev:\n  - {name}/p@latest\n")
    with pytest.raises(Conflict) as caught:
        write_lock(home, project)
    assert f"line 5: {name}/p@latest (group dev) is sha256:{hashes[1][:12]}" in caught.value.message
    assert f"but line 2: {name}/p@1.0 is 1.0" in caught.value.message
    assert caught.value.hint == f"datapkg add {name}/p@1.0 --group dev"
    (project / "datapkg.yml").write_text(f"packages:\n- '{name}/p@<2'\ngroups:\n  dev:\n  - {name}/p@>=2\n")
    with pytest.raises(VersionNotFound, match=f"{name}/p@<2 in line 2 and {name}/p@>=2 .* in line 5"):
        write_lock(home, project)


def test_check_names_everything_that_does_not_fit(
    person: Person, hashes: list[str], project: Path, tmp_path: Path
) -> None:
    home, name = person.home(), person.name
    other = publish(person, tmp_path, "q", 1)
    add_requirements(home, project, [person.ref("p@1.0"), person.ref("p/data@1.0"), person.ref("q")])
    assert len(check_lock(home, project).pins) == 3
    path = project / "datapkg.lock"
    lock = path.read_text()
    path.write_text(lock.replace('"version": "1.0"', '"version": "2.0"').replace(other, hashes[0]))
    (project / "datapkg.yml").write_text(yml(project) + f"- {name}/r\n")
    with pytest.raises(InvalidLock) as caught:
        check_lock(home, project)
    assert [ref for ref, _ in caught.value.problems] == [f"{name}/r", f"{name}/p@1.0", f"{name}/p/data@1.0"]
    assert path.read_text() != lock
    path.write_text(
        lock.replace(f'"{name}/p/data@1.0"', f'"{name}/p/gone@1.0"').replace('"path": "data"', '"path": "gone"')
    )
    (project / "datapkg.yml").write_text(f"packages: ['{name}/p@1.0', '{name}/p/gone@1.0', {name}/q]\n")
    with pytest.raises(InvalidLock, match="gone") as caught:
        check_lock(person.home("elsewhere"), project)
    assert [ref for ref, _ in caught.value.problems] == [f"{name}/p/gone@1.0"]


def test_several_registries(person: Person, hashes: list[str], project: Path, tmp_path: Path) -> None:
    with live_registry(tmp_path) as other:
        elsewhere = Person(person.name, other.add_user(person.name), other.url, tmp_path / "elsewhere")
        x, y = publish(elsewhere, tmp_path, "x", 1), publish(elsewhere, tmp_path, "y", 1)
        home, name = person.home(), person.name
        home.settings.set("registries.work", other.url)
        home.credentials.keep(other.url, elsewhere.token, name)
        add_requirements(home, project, [person.ref("p")])
        add_requirements(home, project, [person.ref("x")], AddOptions(registry="work"))
        add_requirements(home, project, [Ref.parse(f"{other.url}/{name}/y/data")])
        assert yml(project).endswith(f"- {name}/p\n- work:{name}/x\n- {other.url}/{name}/y/data\n")
        pins = Lock.parse((project / "datapkg.lock").read_bytes()).pins
        assert [(pin.registry, pin.hash) for pin in pins] == [(person.url, hashes[1]), (other.url, x), (other.url, y)]
        assert write_lock(home, project, renew=None, registry=person.url).changes == []
        assert [each.error for each in install_locked(home, project, frozen=True)] == [None, None, None]
        stranger = Home(person.environ("stranger"))
        (project / "datapkg.yml").write_text(f"packages: [{other.url}/{name}/y/data]\n")
        with pytest.raises(Refused, match="not in your settings"):
            write_lock(stranger, project, renew=None)


def test_dry_run_of_an_install_downloads_nothing(person: Person, hashes: list[str], project: Path) -> None:
    home = person.home()
    add_requirements(home, project, [person.ref("p")], AddOptions(install=False))
    (planned,) = install_locked(home, project, dry_run=True)
    assert planned.installed
    assert planned.installed.transfer
    assert home.store.refs.current(person.ref("p")) is None


def test_python_locks_and_installs_a_project(
    person: Person, hashes: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project)
    path, name = project / "datapkg.yml", person.name
    path.write_text(f"packages: ['{name}/p@1.0']\ngroups: {{docs: [{name}/p/data]}}\n")
    with pytest.raises(InvalidLock, match="there is no lock"):
        datapkg.install(frozen=True)
    planned = datapkg.lock(dry_run=True)
    assert [each.package for each in planned.changes] == [f"{name}/p"]
    assert not planned.path.exists()
    assert {pin.hash for pin in datapkg.lock().pins} == {hashes[0]}
    assert [each.hash for each in datapkg.install(frozen=True)] == [hashes[0]]
    package, node = datapkg.install(groups=["docs"])
    assert package.data().equals(node())
    path.write_text(f"packages: ['{name}/p@2.0']\n")
    with pytest.raises(InvalidLock, match="does not fit"):
        datapkg.lock(check=True)
    with pytest.raises(InvalidInput, match="without a ref"):
        datapkg.install(f"{name}/p", frozen=True)
    assert [each.hash for each in datapkg.install()] == [hashes[1]]
    assert datapkg.lock(check=True).pins[0].version == "2.0"
