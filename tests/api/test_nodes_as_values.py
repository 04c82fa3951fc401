"""Opened packages and nodes can be values of builds and drafts: they are pinned and not copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.drafts.policy import CommitOptions
from datapkg.api.edit import Draft, edit
from datapkg.api.install import fetch
from datapkg.api.push import push_package
from datapkg.api.sharing import grant
from datapkg.errors import CheckFailed, Conflict, InvalidInput, NodeNotFound, PackageNotFound
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.format.selection import EVERYTHING
from datapkg.home import Home
from datapkg.objects.progress import silent
from datapkg.reading.load import load
from tests.api.states import latest, paths
from tests.conftest import Person
from tests.live_registry import live_registry

QUIET = CommitOptions(progress=silent)


@pytest.fixture
def theirs(person: Person, new_person: Callable[[], Person]) -> Ref:
    """Push a package of another user that `person` may read."""
    bob = new_person()
    ref, table = bob.ref("theirs"), pd.DataFrame({"n": [1, 2]})
    values = {"t": table, "g": {"a": table.assign(n=3), "w": np.arange(3)}, "f.txt": Path(__file__)}
    build_package(bob.home(), ref, values)
    with Draft(bob.home(), ref, CommitOptions(push=False)) as draft:
        draft.meta["title"] = "Theirs"
        draft.set_meta("g", {"unit": "cm"})
    push_package(bob.home(), ref)
    grant(bob.home(), ref, person.name)
    return ref


def current(home: Home, ref: Ref) -> Manifest:
    found = home.store.refs.current(ref)
    assert found is not None
    return home.store.manifest(found.hash)


def test_draft_accepts_nodes_groups_and_packages(person: Person, theirs: Ref) -> None:
    home, ref = person.home(), person.ref("mine")
    package = load(theirs, home, lazy=True)
    with Draft(home, ref, QUIET) as draft:
        draft["table"] = package.t
        draft["group"] = package.g
        draft["all"] = {"of": package}
        draft["f.txt"] = package["f.txt"]
    state = latest(person, ref)
    there = ["f.txt", "g", "g/a", "g/w", "t"]
    assert paths(state) == [
        "all/of",
        *(f"all/of/{each}" for each in there),
        "f.txt",
        "group",
        "group/a",
        "group/w",
        "table",
    ]
    assert state.get("all/of").meta == {"title": "Theirs"}
    assert state.get("group").meta == {"unit": "cm"}
    objects = state.objects()
    assert home.store.objects.missing(objects) == set(objects), "nothing was fetched"
    (event, *_) = home.store.refs.log(ref, "build")
    parts = {"table": f"{theirs}/t", "group": f"{theirs}/g", "all/of": str(theirs), "f.txt": f"{theirs}/f.txt"}
    pins = [{"path": path, "package": part, "hash": package.hash} for path, part in parts.items()]
    assert event.record["packages"] == pins
    assert load(ref, person.home("two"), lazy=True).group.a()["n"].tolist() == [3, 3]


def test_build_accepts_nodes_groups_and_packages(person: Person, theirs: Ref) -> None:
    home, ref = person.home(), person.ref("mine")
    package = load(theirs, home, lazy=True)
    built = build_package(home, ref, {"old": package, "new": pd.DataFrame({"n": [5]}), "w": package.g.w})
    assert "taken over are not on this machine" in built.warnings[0]
    state = current(home, ref)
    assert paths(state) == ["new", "old", "old/f.txt", "old/g", "old/g/a", "old/g/w", "old/t", "w"]
    made = home.store.refs.current(ref)
    assert made is not None
    assert made.partial
    assert load(ref, home, lazy=True).old.t()["n"].tolist() == [1, 2], "from its own package, before any push"
    with Draft(home, ref, CommitOptions(push=False, progress=silent)) as draft:
        draft.move("old/g", "g")
    assert fetch(home, ref, EVERYTHING).objects_received == 3
    assert load(ref, home).g.a()["n"].tolist() == [3, 3]
    push_package(home, ref)
    assert load(ref, person.home("two"), lazy=True).old.t()["n"].tolist() == [1, 2]
    build_package(home, ref, package)
    assert current(home, ref).hash == package.hash, "a build of a package alone is that package"
    build_package(home, ref, package.g)
    assert (paths(current(home, ref)), current(home, ref).meta) == (["a", "w"], {"unit": "cm"})
    build_package(home, ref, package.g.w)
    assert paths(current(home, ref)) == ["w"]


def test_data_of_another_registry_is_included(person: Person, tmp_path: Path) -> None:
    with live_registry(tmp_path) as other:
        environ = person.environ("abroad") | {"DATAPKG_REGISTRY": other.url, "DATAPKG_TOKEN": other.add_user("bob")}
        abroad = Ref.parse("bob/far")
        build_package(Home(environ), abroad, {"t": pd.DataFrame({"n": [7]})})
        push_package(Home(environ), abroad, public=True)
        home, ref = person.home(), person.ref("mine")
        with Draft(home, ref, QUIET) as draft:
            draft["t"] = load(abroad, home, lazy=True, registry=other.url).t
    assert load(ref, person.home("two"), lazy=True).t()["n"].tolist() == [7]


def test_checks_apply_to_nodes_of_other_packages(person: Person, theirs: Ref, tmp_path: Path) -> None:
    home, ref = person.home(), person.ref("mine")
    (tmp_path / "t.csv").write_text("n\n5\n")
    (tmp_path / "build.yml").write_text("contents: {t: {file: t.csv, checks: [{column: n, min: 2}]}}\n")
    build_package(home, ref, tmp_path)
    push_package(home, ref)
    with pytest.raises(CheckFailed, match="row 1: 1"), Draft(home, ref, QUIET) as draft:
        draft["t"] = load(theirs, home, lazy=True).t


def test_other_values_are_rejected(person: Person) -> None:
    with pytest.raises(InvalidInput, match="a package or a node of one"):
        build_package(person.home(), person.ref("mine"), {"a": object()})


def test_nodes_are_removed_and_moved(person: Person) -> None:
    ref, table = person.ref("p"), pd.DataFrame({"n": [1]})
    build_package(person.home("one"), ref, {"a": table, "g": {"b": table, "c": table}, "d": table})
    push_package(person.home("one"), ref)
    home = person.home("two")
    done = edit(home, ref, remove=["a", "g/b"], move=[("g/", "a"), ("d", "a/d")], options=QUIET)
    assert paths(latest(person, ref)) == ["a/c", "a/d"]
    assert (done.removed, done.moved, done.nodes_removed) == (["a", "g/b"], {"g": "a", "d": "a/d"}, 2)
    before = latest(person, ref)
    wrong: list[tuple[list[str], list[tuple[str, str]], type[Exception]]] = [
        (["x"], [], NodeNotFound),
        ([], [("a/c", "a/d")], Conflict),
        (["a/c"], [("a/c", "b")], NodeNotFound),
    ]
    for remove, move, error in wrong:
        with pytest.raises(error):
            edit(home, ref, remove=remove, move=move, options=QUIET)
    with pytest.raises(PackageNotFound):
        edit(home, person.ref("none"), remove=["x"], options=QUIET)
    assert latest(person, ref) == before
