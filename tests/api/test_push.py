"""What a push reports before and after, and what it refuses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.maintenance import delete
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.errors import Conflict, Forbidden, InvalidInput, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.conftest import Person


@pytest.fixture
def data(tmp_path: Path) -> Path:
    # Of its own: what a public package of another test has need not be sent.
    (tmp_path / "data.csv").write_text(f"n\n{time.time_ns()}\n")
    return tmp_path / "data.csv"


def test_dry_run_shows_the_record_and_sends_nothing(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, data)
    dry = push_package(home, ref, dry_run=True)
    assert dry.record["sources"]
    assert dry.objects_sent == 2
    assert dry.changed
    (outcome,) = install_packages(person.home("other"), [ref])
    assert outcome.error is not None
    assert push_package(home, ref).record == dry.record


def test_concurrently_deleted_package_is_reported(person: Person, data: Path) -> None:
    ref = person.ref("p")
    build_package(person.home("one"), ref, data)
    push_package(person.home("one"), ref)
    install_packages(person.home("two"), [ref])
    delete(person.home("one"), ref)
    data.write_text("n\n2\n")
    build_package(person.home("two"), ref, data)
    with pytest.raises(Conflict, match="was deleted at the registry") as caught:
        push_package(person.home("two"), ref)
    assert caught.value.hint == f"datapkg push {ref} --force"
    assert push_package(person.home("two"), ref, force=True).changed


def test_making_public_needs_confirmation(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, data)
    assert not push_package(home, ref).public
    with pytest.raises(Forbidden, match="earlier pushes") as caught:
        push_package(home, ref, public=True)
    assert "--yes" in caught.value.hint
    assert push_package(home, ref, public=True, confirm=True).public
    assert push_package(home, ref, dry_run=True).public


def test_verify_reads_the_store_that_has_the_package(person: Person, data: Path, tmp_path: Path) -> None:
    shared, ref = person.home("shared"), person.ref("p")
    built = build_package(shared, ref, data).hash
    reader = Home({"DATAPKG_HOME": str(tmp_path / "reader"), "DATAPKG_PATH": str(shared.store.folder)})
    assert (verify(reader, ref).checked, verify(reader, ref).damaged) == (2, [])
    (hash,) = shared.store.manifest(built).objects()
    path = shared.store.objects.packed.locate(hash).path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    assert verify(reader, ref).damaged != []


def build(home: Home, ref: Ref, data: Path, text: str, message: str = "") -> str:
    data.write_text(text)
    return build_package(home, ref, data, message=message).hash


def test_dry_run_refuses_what_the_push_refuses(person: Person, data: Path) -> None:
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("p")
    build(mine, ref, data, "n\n1\n")
    push_package(mine, ref, version="1.0")
    install_packages(theirs, [ref])
    build(theirs, ref, data, "n\n2\n")
    for dry_run in (True, False):
        with pytest.raises(Conflict, match=r"version 1\.0 of .* versions never move"):
            push_package(theirs, ref, version="1.0.0", dry_run=dry_run)
    for problem in ({"public": True}, {"message": "a\0b"}):
        for dry_run in (True, False):
            with pytest.raises((Forbidden, InvalidInput)):
                push_package(theirs, ref, dry_run=dry_run, **problem)  # type: ignore[arg-type]
    latest = push_package(theirs, ref).hash
    build(mine, ref, data, "n\n3\n")
    for dry_run in (True, False):
        with pytest.raises(Conflict, match=r"somebody pushed .* meanwhile.*nothing was pushed") as caught:
            push_package(mine, ref, dry_run=dry_run)
        assert caught.value.hint.startswith(f"datapkg push {ref} --onto sha256:{latest}")
    assert push_package(mine, ref, parent=latest, dry_run=True).changed
    assert push_package(mine, ref, parent=f"sha256:{latest[:8]}").changed


def test_dry_run_refuses_missing_objects(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    built = build(home, ref, data, f"n\n{person.name}\n")
    (hash,) = home.store.manifest(built).objects()
    home.store.objects.delete(hash)
    with pytest.raises(ObjectNotFound, match="neither on this machine nor at the registry"):
        push_package(home, ref, dry_run=True)


def test_dry_run_shows_what_changes_for_consumers(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build(home, ref, data, "n,m\n1,2\n")
    assert [each["change"] for each in push_package(home, ref, dry_run=True).changes] == ["added"]
    push_package(home, ref)
    assert push_package(home, ref, dry_run=True).changes == []
    build(home, ref, data, "n,k\n0.5,2\n1.5,3\n")
    (change,) = push_package(home, ref, dry_run=True).changes
    assert change["what"] == ["column m removed", "column n: int64 → double", "column k added (int64)", "1 → 2 rows"]
    assert (home.client().package(ref).latest, len(list(home.client().log(ref)))) == (_pushed(home, ref), 1)


def _pushed(home: Home, ref: Ref) -> str:
    return next(home.store.refs.log(ref, "push")).hash


def test_conflict_on_a_fresh_machine_suggests_onto(person: Person, data: Path) -> None:
    ref = person.ref("p")
    build(person.home("one"), ref, data, "n\n1\n")
    first = push_package(person.home("one"), ref).hash
    fresh = person.home("fresh")
    second = build(fresh, ref, data, "n\n2\n", message="from CI")
    with pytest.raises(Conflict, match="which this machine has never seen") as caught:
        push_package(fresh, ref)
    assert f"datapkg push {ref} --onto sha256:{first}" in caught.value.hint
    with pytest.raises(Conflict):
        push_package(fresh, ref, parent="0" * 8)
    assert push_package(fresh, ref, parent=first).hash == second
    newest = next(fresh.client().log(ref))
    assert (newest.hash, newest.parent, newest.message) == (second, first, "from CI")


def test_message_of_the_push_overrides_that_of_the_build(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build(home, ref, data, "n\n1\n", message="built")
    push_package(home, ref, message="pushed")
    assert next(home.client().log(ref)).message == "pushed"


def test_force_needs_no_parent(person: Person, data: Path) -> None:
    ref = person.ref("p")
    build(person.home("one"), ref, data, "n\n1\n")
    push_package(person.home("one"), ref)
    build(person.home("two"), ref, data, "n\n2\n")
    assert push_package(person.home("two"), ref, force=True, parent="0" * 8).changed
