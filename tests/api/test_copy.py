"""A package is copied to another name by its manifest, locally and at the registry, without its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.copy import copy
from datapkg.api.install import fetch, install_packages
from datapkg.api.push import push_package
from datapkg.api.sharing import grant
from datapkg.errors import Forbidden, InvalidInput, PackageNotInstalled
from datapkg.format.names import Ref
from datapkg.format.selection import EVERYTHING
from datapkg.home import Home
from datapkg.reading.load import load
from tests.conftest import Person
from tests.live_registry import live_registry


def folder_of(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "-".join(files)
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def published(person: Person, name: str, tmp_path: Path, machine: str = "one") -> Ref:
    ref = person.ref(name)
    build_package(person.home(machine), ref, folder_of(tmp_path, a="n\n1\n", b="n\n2\n"), message="built")
    push_package(person.home(machine), ref)
    return ref


def test_package_named_me_is_copied_and_pushed_under_its_owners_name(person: Person, tmp_path: Path) -> None:
    home, me, mine = person.home(), Ref.parse("me/x"), person.ref("x")
    build_package(home, me, folder_of(tmp_path, a="n\n1\n"), message="built")
    with pytest.raises(Forbidden) as refused:
        push_package(home, me)
    assert refused.value.hint == f"datapkg cp me/x {mine}"
    done = copy(home, me, mine, message="under its name")
    pushed = push_package(home, mine)
    assert (pushed.hash, done.bytes_absent, done.source) == (done.hash, 0, "me/x")
    assert pushed.record["packages"] == [{"path": "", "package": "me/x", "hash": done.hash}]
    assert [each["path"] for each in pushed.record["sources"]], "the build record is copied"
    assert home.store.refs.current(Ref("me", "x")) is not None


def test_copy_and_push_do_not_transfer_data_of_the_registry(
    person: Person, new_person: Callable[[], Person], tmp_path: Path
) -> None:
    bob = new_person()
    theirs = published(bob, "y", tmp_path)
    home, mine = person.home("two"), person.ref("z")
    with pytest.raises(PackageNotInstalled):
        copy(home, theirs, mine)
    grant(bob.home("one"), theirs, person.name)
    done = copy(home, theirs, mine)
    assert done.bytes_absent == done.bytes_logical > 0
    assert push_package(home, mine).objects_sent == 0
    fetch(home, mine, EVERYTHING)
    assert load(str(mine), home).b()["n"].tolist() == [2]


def test_copy_from_another_registry_pushes_its_objects(person: Person, tmp_path: Path) -> None:
    with live_registry(tmp_path) as live:
        ann = Person("ann", live.add_user("ann"), live.url, tmp_path / "ann")
        theirs = ann.ref("y")
        build_package(ann.home("one"), theirs, folder_of(tmp_path, a="n\n1\n"))
        push_package(ann.home("one"), theirs, public=True)
        home, mine = person.home("three"), person.ref("z")
        done = copy(home, Ref.parse(f"{live.url}/{theirs}"), mine, registry=live.url)
        assert done.hash
        fetched = copy(home, theirs, mine)
    assert fetched.bytes_absent == 0
    assert push_package(home, mine).objects_sent > 0


def test_package_of_a_read_only_store_is_copied(person: Person, tmp_path: Path) -> None:
    shared = Home({"DATAPKG_HOME": str(tmp_path / "shared")})
    build_package(shared, Ref.parse("me/x"), folder_of(tmp_path, a="n\n1\n"))
    home = Home({**person.environ(), "DATAPKG_PATH": str(shared.store.folder)})
    assert copy(home, Ref.parse("me/x"), person.ref("x")).bytes_absent == 0
    assert push_package(home, person.ref("x")).objects_sent > 0


def test_copy_of_older_state_and_over_an_existing_package(own_home: Path, tmp_path: Path) -> None:
    home, old, into = Home(), Ref.parse("me/x"), Ref.parse("me/y")
    first = build_package(home, old, folder_of(tmp_path, a="n\n1\n")).hash
    second = build_package(home, old, folder_of(tmp_path, b="n\n2\n")).hash
    for wanted, hash in [(old, second), (old, second), (Ref.parse(f"me/x@sha256:{first}"), first)]:
        assert copy(home, wanted, into).hash == hash
        current = home.store.refs.current(Ref("me", "y"))
        assert current is not None
        assert (current.hash, current.origin, current.partial) == (hash, "local", False)
    assert [event.hash for event in home.store.refs.log(Ref("me", "y"))] == [first, second]
    assert datapkg.copy("me/y", "me/again").a()["n"].tolist() == [1]


def test_invalid_copies(own_home: Path, tmp_path: Path) -> None:
    home, x = Home(), Ref.parse("me/x")
    build_package(home, x, folder_of(tmp_path, a="n\n1\n"))
    for ref, into in [("me/x/a", "me/y"), ("me/x", "me/y/a"), ("me/x", "me/y@1.0"), ("me/x", "me/x")]:
        with pytest.raises(InvalidInput):
            copy(home, Ref.parse(ref), Ref.parse(into))
    with pytest.raises(InvalidInput, match="no registry is set"):
        copy(home, Ref.parse("me/absent"), Ref.parse("me/y"))


def test_two_users_push_to_one_package(person: Person, new_person: Callable[[], Person], tmp_path: Path) -> None:
    bob = new_person()
    ref = published(person, "x", tmp_path)
    with pytest.raises(datapkg.NotFound):
        install_one(bob, ref)
    grant(person.home("one"), ref, bob.name, write=True)
    install_one(bob, ref)
    build_package(bob.home(), ref, folder_of(tmp_path, c="n\n3\n"))
    theirs = push_package(bob.home(), ref, message="bob's", version="1.0").hash
    build_package(person.home("one"), ref, folder_of(tmp_path, d="n\n4\n"))
    with pytest.raises(datapkg.Conflict):
        push_package(person.home("one"), ref)
    install_one(person, ref)
    assert load(str(ref), person.home()).hash == theirs


def install_one(person: Person, ref: Ref) -> None:
    (outcome,) = install_packages(person.home(), [ref])
    if outcome.error:
        raise outcome.error
