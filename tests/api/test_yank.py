"""A yanked version is not chosen by ranges; its name, tags, hash and locks still work, with a note."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from datapkg.api.build import build_package
from datapkg.api.history import add_version, set_yanked, versions
from datapkg.api.install import install_packages
from datapkg.api.install_result import InstallResult
from datapkg.api.lock import install_locked, write_lock
from datapkg.api.log import log
from datapkg.api.maintenance import delete
from datapkg.api.mirror import mirror
from datapkg.api.push import push_package
from datapkg.errors import Conflict, Forbidden, InvalidInput, NewerFormat, VersionNotFound
from datapkg.format import static_registry as layout
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import find_installed
from tests.api.conftest import Machine
from tests.conftest import Person
from tests.static_registry import Static


@pytest.fixture
def ref(machine: Machine, request: pytest.FixtureRequest) -> Ref:
    """Push a package with the versions 1.0, 1.1 and 1.2 of three states."""
    server = "person" in request.fixturenames or request.node.callspec.params["machine"] == "server"
    ref = request.getfixturevalue("person").ref("iris") if server else Ref("ada", "iris")
    for version in ("1.0", "1.1", "1.2"):
        push(machine("own"), ref, version, version=version)
    return ref


def push(home: Home, ref: Ref, text: str, **options: Any) -> str:
    path = home.store.folder.parent / "data.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"n\n{text}\n")
    build_package(home, ref, path)
    return push_package(home, ref, **options).hash


def at(ref: Ref, state: str) -> Ref:
    return Ref.parse(f"{ref.package}@{state}")


def install(home: Home, ref: Ref) -> InstallResult:
    (outcome,) = install_packages(home, [ref])
    if outcome.error:
        raise outcome.error
    assert outcome.installed
    return outcome.installed


def test_ranges_choose_other_versions(machine: Machine, ref: Ref) -> None:
    hashes = {each["name"]: each["hash"] for each in versions(machine("own"), ref)}
    done = set_yanked(machine("own"), at(ref, "1.2"), "wrong unit")
    assert done == {"package": ref.package, "name": "1.2", "hash": hashes["1.2"], "yanked": "wrong unit"}
    other = machine("other")
    assert install(other, at(ref, ">=1")).hash == hashes["1.1"]
    exact, pinned = install(other, at(ref, "1.2.0")), install(other, at(ref, "==1.2"))
    assert (exact.hash, pinned.hash) == (hashes["1.2"], hashes["1.2"])
    assert f"yanked by its publisher: {ref.package}@1.2: wrong unit" in exact.note
    latest = install(other, ref)
    assert (latest.hash, "wrong unit" in latest.note) == (hashes["1.2"], True)
    assert [each["yanked"] for each in versions(other, ref)] == [None, None, "wrong unit"]
    assert {each["yanked"] for entry in log(other, ref) for each in entry["versions"]} == {None, "wrong unit"}
    # What this machine saw decides where no registry is asked.
    assert find_installed(other, at(ref, ">=1")).hash == hashes["1.1"]
    assert find_installed(other, at(ref, "==1.2")).hash == hashes["1.2"]


def test_if_all_that_match_are_yanked_none_is_chosen(machine: Machine, ref: Ref) -> None:
    for version in ("1.1", "1.2"):
        set_yanked(machine("own"), at(ref, version), "")
    with pytest.raises(VersionNotFound, match=r"were yanked: 1\.2; 1\.1") as raised:
        install(machine("other"), at(ref, ">=1.1"))
    assert raised.value.hint == f"datapkg install {ref.package}@1.2"
    set_yanked(machine("own"), at(ref, "1.1"), None)
    assert install(machine("other"), at(ref, ">=1.1")).hash == versions(machine("own"), ref)[1]["hash"]


def test_a_lock_goes_on_with_a_note(machine: Machine, ref: Ref, tmp_path: Path) -> None:
    home, folder = machine("other"), tmp_path / "project"
    folder.mkdir()
    (folder / "datapkg.yml").write_text(f"packages: ['{ref.package}@>=1']\n")
    write_lock(home, folder)
    set_yanked(machine("own"), at(ref, "1.2"), "wrong unit")
    (outcome,) = install_locked(home, folder, frozen=True)
    assert outcome.installed
    assert "1.2: wrong unit" in outcome.installed.note
    assert outcome.installed.hash == versions(home, ref)[2]["hash"]
    add_version(machine("own"), at(ref, "1.2"), "1.2.1")
    assert "wrong unit" not in install(home, ref).note


def test_what_cannot_be_yanked(machine: Machine, ref: Ref) -> None:
    home = machine("own")
    for state in ("", "@latest", f"@sha256:{'0' * 64}", "@>=1"):
        with pytest.raises(InvalidInput, match="names no version") as raised:
            set_yanked(home, Ref.parse(ref.package + state), "")
        assert raised.value.hint == f"datapkg version yank {ref.package}@1.2.0"
    with pytest.raises(VersionNotFound):
        set_yanked(home, at(ref, "3.0"), "")
    with pytest.raises(InvalidInput, match="1,001 characters"):
        set_yanked(home, at(ref, "1.2"), "x" * 1_001)
    assert [each["yanked"] for each in versions(home, ref)] == [None, None, None]


def test_a_yanked_version_does_not_move(machine: Machine, ref: Ref) -> None:
    set_yanked(machine("own"), at(ref, "1.2"), "")
    with pytest.raises(Conflict, match="versions never move"):
        push(machine("own"), ref, "other", version="1.2.0")
    with pytest.raises(Conflict, match="versions never move"):
        add_version(machine("own"), at(ref, "1.1"), "1.2")


def test_only_writers_yank(person: Person, new_person: Callable[[], Person]) -> None:
    ref = person.ref("iris")
    push(person.home(), ref, "1", version="1.0", public=True)
    with pytest.raises(Forbidden):
        set_yanked(new_person().home(), at(ref, "1.0"), "")


@pytest.mark.parametrize("machine", ["server", "files"], indirect=True)
def test_a_mirror_has_yanks(machine: Machine, ref: Ref, tmp_path: Path) -> None:
    home, target = machine("own"), (tmp_path / "mirror").as_uri()
    mirror(home, str(home.settings.get("registry").value), target, [ref])
    set_yanked(home, at(ref, "1.1"), "wrong unit")
    for reason in ("wrong unit", None):
        set_yanked(home, at(ref, "1.1"), reason)
        mirror(home, str(home.settings.get("registry").value), target, [ref])
        assert [each["yanked"] for each in versions(home, ref, target)] == [None, reason, None]


def test_an_older_datapkg_asks_for_an_upgrade(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = Ref("ada", "iris")
    static.push(ref, "1", version="1.0")
    assert layout.decode(static.files()["packages/ada/iris/heads.json"], layout.Heads, "heads").format == 1
    set_yanked(static.home(), at(ref, "1.0"), "wrong unit")
    monkeypatch.setattr(layout, "YANKED_FORMAT", 1)
    monkeypatch.setattr(layout, "KINDS", layout.KINDS - {"yank", "unyank"})
    with pytest.raises(NewerFormat, match="cannot read") as raised:
        install(static.home("other"), ref)
    assert raised.value.hint.startswith("upgrade datapkg")
    (static.folder / "packages/ada/iris/heads.json").unlink()
    with pytest.raises(NewerFormat, match="kind 'yank'"):
        install(static.home("other"), ref)


def test_pointers_without_yanks_are_those_of_format_1() -> None:
    """An undone yank leaves nothing that an older datapkg could not read from the checkpoint."""
    heads = layout.no_package(Ref("ada", "iris"))
    entry = layout.LogChange(
        format=1, kind="push", number=1, package="ada/iris", at="2026-01-01", previous=None, heads="", nonce=""
    )
    pushed = layout.applied(heads, replace(entry, hash="a" * 64, version="1.0"))
    yanked = layout.applied(pushed, replace(entry, kind="yank", number=2, version="1.0", message="why"))
    assert (yanked.format, yanked.yanked) == (2, {"1.0": "why"})
    undone = layout.applied(yanked, replace(entry, kind="unyank", number=3, version="1.0"))
    assert layout.encode(undone) == layout.encode(replace(pushed, number=3))
    gone = layout.applied(yanked, replace(entry, kind="delete", number=3))
    assert (gone.format, gone.yanked, set(gone.retired)) == (1, {}, {"1.0"})


def test_after_a_deletion_nothing_is_yanked_here(static: Static) -> None:
    ref = Ref("ada", "iris")
    static.push(ref, "1", version="1.0")
    home = static.home()
    set_yanked(home, at(ref, "1.0"), "")
    assert home.store.refs.yanked(ref) == {"1.0": ""}
    delete(home, ref)
    assert home.store.refs.yanked(ref) == {}
