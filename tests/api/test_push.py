"""What a push tells before and after, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.maintenance import delete, verify
from datapkg.api.push import push_package
from datapkg.errors import Conflict, Forbidden
from datapkg.home import Home
from tests.conftest import Person


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data.csv").write_text("n\n1\n")
    return tmp_path / "data.csv"


def test_a_dry_run_shows_the_record_and_sends_nothing(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, data)
    dry = push_package(home, ref, dry_run=True)
    assert dry.record["sources"]
    assert dry.objects_sent == 2
    assert dry.changed
    (outcome,) = install_packages(person.home("other"), [ref])
    assert outcome.error is not None
    assert push_package(home, ref).record == dry.record


def test_a_package_deleted_meanwhile_is_said(person: Person, data: Path) -> None:
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


def test_making_public_must_be_meant(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, data)
    assert not push_package(home, ref).public
    with pytest.raises(Forbidden, match="earlier pushes") as caught:
        push_package(home, ref, public=True)
    assert "--yes" in caught.value.hint
    assert push_package(home, ref, public=True, confirm=True).public
    assert push_package(home, ref, dry_run=True).public


def test_verify_looks_where_the_package_is(person: Person, data: Path, tmp_path: Path) -> None:
    shared, ref = person.home("shared"), person.ref("p")
    built = build_package(shared, ref, data).hash
    reader = Home({"DATAPKG_HOME": str(tmp_path / "reader"), "DATAPKG_PATH": str(shared.store.folder)})
    assert (verify(reader, ref).checked, verify(reader, ref).damaged) == (2, [])
    (hash,) = shared.store.manifest(built).objects()
    path = shared.store.objects.packed.locate(hash).path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    assert verify(reader, ref).damaged != []
