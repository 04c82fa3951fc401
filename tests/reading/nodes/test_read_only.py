"""Metadata of a node are a dict that says how to change them, and whose copies are plain."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import datapkg
from datapkg.format.manifest.parsed import Manifest
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from tests.reading.packages import file_node, install, install_iris

META = {"title": "T", "camera": {"iso": 100, "lenses": [{"mm": 50}]}, "none": None}


@pytest.fixture
def package(home: Home) -> Package:
    install(home, "me/p", file_node(home, "a", b"a", meta=META), meta=META)
    found = load("me/p", home)
    assert isinstance(found, Package)
    return found


WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda meta: meta.__setitem__("title", "x"),
    "below": lambda meta: meta["camera"].__setitem__("iso", 1),
    "in a list": lambda meta: meta["camera"]["lenses"][0].__setitem__("mm", 1),
    "del": lambda meta: meta.__delitem__("title"),
    "update": lambda meta: meta.update(title="x"),
    "or": lambda meta: meta.__ior__({"title": "x"}),
    "pop": lambda meta: meta.pop("title"),
    "popitem": lambda meta: meta.popitem(),
    "clear": lambda meta: meta.clear(),
    "setdefault": lambda meta: meta.setdefault("new", 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_change_shows_how_to_make_it(package: Package, write: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r'with datapkg.edit\("me/p"\) as draft: draft.meta\[…\] = …'):
        write(package.meta)
    with pytest.raises(TypeError, match=r"draft.set_meta\('a', {…}\)"):
        write(datapkg.meta(package["a"]))
    assert package.meta == package["a"].meta == META


def test_it_is_a_dict_to_other_libraries(package: Package) -> None:
    meta = package.meta
    assert isinstance(meta, dict)
    assert json.loads(json.dumps(meta)) == META
    assert repr(meta) == repr(dict(sorted(META.items())))
    assert pd.Series(meta).to_dict() == META
    assert Manifest.make([], meta).meta == META
    assert {**meta, "title": "x"}["title"] == (meta | {"title": "x"})["title"] == "x"


@pytest.mark.parametrize(
    "copied", [dict, copy.copy, copy.deepcopy, lambda meta: meta.copy(), lambda meta: pickle.loads(pickle.dumps(meta))]
)
def test_copies_may_be_written_to(package: Package, copied: Callable[[Any], dict[str, Any]]) -> None:
    mine = copied(package.meta)
    assert type(mine) is dict
    assert mine == META
    mine["title"] = "mine"
    assert package.meta["title"] == "T"


def test_following_the_hint_works(home: Home) -> None:
    install_iris(home, "me/iris")
    with datapkg.edit("me/iris", push=False) as draft:
        draft.meta["title"] = "New"
        draft.set_meta("weights", {"unit": "kg"})
    package = datapkg.load("me/iris")
    assert isinstance(package, Package)
    assert (package.meta["title"], package["weights"].meta) == ("New", {"unit": "kg"})
