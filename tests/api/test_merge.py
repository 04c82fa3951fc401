"""Packages are merged by their manifests, locally and for a push, without their data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.install import fetch, install_packages
from datapkg.api.merge import MergeOptions, merge
from datapkg.api.push import push_package
from datapkg.api.sharing import grant
from datapkg.errors import Conflict, InvalidInput, NodeNotFound, PackageNotInstalled
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref
from datapkg.format.selection import EVERYTHING
from datapkg.home import Home
from datapkg.reading.load import load
from tests.api.states import latest
from tests.conftest import Person
from tests.live_registry import live_registry

RENAME = MergeOptions("rename")


def frame(*numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"n": numbers, "s": [str(each) for each in numbers]})


def published(person: Person, name: str, values: Any, machine: str = "one") -> Ref:
    ref = person.ref(name)
    build_package(person.home(machine), ref, values)
    push_package(person.home(machine), ref)
    return ref


def paths(home: Home, ref: Ref) -> list[str]:
    current = home.store.refs.current(ref)
    assert current is not None
    return [node.path for node in home.store.manifest(current.hash).nodes]


def test_merge_and_push_do_not_transfer_data_of_the_registry(person: Person, new_person: Callable[[], Person]) -> None:
    bob = new_person()
    theirs = published(bob, "y", {"b": frame(2), "g": {"c": frame(3)}})
    grant(bob.home("one"), theirs, person.name)  # private, and shared with one user
    mine = published(person, "x", {"a": frame(1)})
    home, into = person.home("two"), person.ref("z")
    done = merge(home, [mine, theirs], into, MergeOptions(message="both"))
    assert paths(home, into) == ["a", "b", "g/c"]
    assert done.bytes_absent == done.bytes_logical > 0
    assert [each["package"] for each in done.inputs] == [str(mine), str(theirs)]
    event = next(home.store.refs.log(into))
    assert (event.event, event.message) == ("build", "both")
    assert event.record["packages"] == [{"path": "", **each} for each in done.inputs]
    pushed = push_package(home, into)
    assert pushed.objects_sent == 1  # the manifest
    fetch(home, into, EVERYTHING)
    assert load(into, home).g.c().equals(frame(3))  # type: ignore[attr-defined]
    install_packages(person.home("three"), [into])
    assert load(into, person.home("three")).b().equals(frame(2))  # type: ignore[attr-defined]


def test_merging_installed_packages_needs_no_registry(tmp_path: Path) -> None:
    home = Home({"DATAPKG_HOME": str(tmp_path)})
    for name, number in (("x", 1), ("y", 2)):
        build_package(home, Ref("me", name), {name: frame(number), "same": frame(9)})
    done = merge(home, [Ref("me", "x"), Ref("me", "y")], Ref("me", "z"))
    assert paths(home, Ref("me", "z")) == ["same", "x", "y"]
    assert done.bytes_absent == 0
    again = merge(home, [Ref("me", "x"), Ref("me", "y")], Ref("me", "z"))
    assert again.hash == done.hash
    assert len(list(home.store.refs.log(Ref("me", "z")))) == 1
    more = merge(home, [Ref("me", "z"), Ref("me", "x")], Ref("me", "z"))  # into one of them
    assert more.hash == done.hash


def test_conflicts_are_listed_and_resolved(person: Person) -> None:
    one = published(person, "x", {"t": frame(1), "n": {"a": frame(2)}})
    two = published(person, "y", {"t": frame(5), "n": frame(6)})
    home, into = person.home("two"), person.ref("z")
    with pytest.raises(Conflict) as caught:
        merge(home, [one, two], into)
    assert caught.value.detail["paths"] == ["n", "t"]
    assert home.store.refs.current(into) is None
    done = merge(home, [one, two], into, RENAME)
    named = f"{person.name}_y"
    assert done.renamed == {f"n__{named}": "n", f"t__{named}": "t"}
    push_package(home, into)
    assert load(into, home, lazy=True)[f"t__{named}"]().equals(frame(5))  # type: ignore[index]
    assert paths(home, into) == ["n/a", f"n__{named}", "t", f"t__{named}"]


def test_tables_are_concatenated(person: Person) -> None:
    one = published(person, "x", {"t": frame(1, 2), "same": frame(7)})
    two = published(person, "y", {"t": frame(3)[["s", "n"]], "same": frame(7)})
    three = published(person, "w", {"t": frame(4)})
    home, into = person.home("two"), person.ref("z")
    done = merge(home, [one, two, three], into, MergeOptions(concat=True))
    assert done.concatenated == ["t"]
    assert build_package(person.home("three"), into, {"t": frame(1, 2, 3, 4), "same": frame(7)}).hash == done.hash
    other = published(person, "v", {"t": pd.DataFrame({"n": [0.5], "s": ["x"]})})
    with pytest.raises(Conflict):
        merge(home, [one, other], into, MergeOptions(concat=True))


def noise(seed: int, count: int) -> pd.DataFrame:
    """Return incompressible rows, so that blocks are big enough to be left unchanged."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({"x": random.random(count), "y": random.random(count)})


def test_only_the_last_block_of_a_long_verified_table_is_fetched(person: Person) -> None:
    published(person, "x", {"g": {"t": noise(0, 250_000)}, "u": noise(1, 250_000)})
    published(person, "y", {"t": noise(2, 9), "u": noise(3, 9)})
    home = person.home("two")
    verified = [node for node in latest(person, person.ref("x")).nodes if isinstance(node, TableNode)]
    home.store.claims.mark_verified(verified)
    for into, refs, path in (("z", ["x/g", "y/t"], "t"), ("w", ["x/u", "y/u"], "u")):
        done = merge(home, [person.ref(each) for each in refs], person.ref(into), MergeOptions(concat=True))
        assert done.concatenated == [path]
        assert done.bytes_logical / 2 < done.bytes_absent < done.bytes_logical
        assert push_package(home, person.ref(into)).objects_sent == 2  # a block and the manifest
    whole = pd.concat([noise(0, 250_000), noise(2, 9)], ignore_index=True)
    assert load(person.ref("z"), home, lazy=True).t().equals(whole)  # type: ignore[attr-defined]


def test_merge_of_part_of_a_package(person: Person) -> None:
    one = published(person, "x", {"g": {"deep": {"a": frame(1)}, "b": frame(2)}, "t": frame(3)})
    home, into = person.home("two"), person.ref("z")
    merge(home, [person.ref("x/g"), person.ref("x/t")], into)
    assert paths(home, into) == ["b", "deep/a", "t"]
    with pytest.raises(NodeNotFound, match="x has no node 'none'"):
        merge(home, [one, person.ref("x/none")], into)
    with pytest.raises(PackageNotInstalled):
        merge(home, [person.ref("nothing")], into)
    with pytest.raises(InvalidInput, match="name a package alone"):
        merge(home, [one], person.ref("z@1.0"))


def test_objects_of_another_registry_are_fetched(person: Person, tmp_path: Path) -> None:
    with live_registry(tmp_path) as other:
        token = other.add_user("ann")
        there = Home({"DATAPKG_HOME": str(tmp_path / "ann"), "DATAPKG_REGISTRY": other.url, "DATAPKG_TOKEN": token})
        far = Ref("ann", "far")
        build_package(there, far, {"f": frame(8)})
        push_package(there, far, public=True)
        near = published(person, "x", {"a": frame(1)})
        home, into = person.home("two"), person.ref("z")
        home.settings.set("registries.far", other.url)
        home = person.home("two")
        done = merge(home, [near, Ref.parse("far:ann/far")], into)
        assert 0 < done.bytes_absent < done.bytes_logical
        push_package(home, into)
    assert load(into, home).f().equals(frame(8))  # type: ignore[attr-defined]
