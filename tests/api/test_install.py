"""The origin that an install records, and its errors for nodes that a package does not have."""

from __future__ import annotations

import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.install import fetch_packages, install_packages
from datapkg.api.public import open as open_lazily
from datapkg.api.push import push_package
from datapkg.errors import NodeNotFound
from datapkg.format.names import Ref, State
from datapkg.home import Home
from tests.conftest import Person


def built(home: Home, ref: Ref, value: int) -> Ref:
    """Build a new state and return its exact ref."""
    frame = pd.DataFrame({"n": [value]})
    hash = build_package(home, ref, {"measurements": frame, "raw": {"first": frame}}).hash
    return ref.at(State("hash", hash))


def origin(home: Home, ref: Ref) -> tuple[str, str]:
    """Return the hash of the current state and its origin."""
    current = home.store.refs.current(ref)
    assert current is not None
    return current.hash, current.origin


def installed(home: Home, ref: Ref) -> str:
    """Install a local state and return the recorded origin."""
    (outcome,) = install_packages(home, [ref])
    assert outcome.error is None
    assert outcome.installed is not None
    assert outcome.installed.bytes_received == 0
    hash, found = origin(home, ref)
    assert ref.state is not None
    assert hash == ref.state.value
    return found


def test_local_state_keeps_its_origin(person: Person) -> None:
    home, ref = person.home(), person.ref("p")
    pushed = built(home, ref, 1)
    push_package(home, ref)
    unpushed = built(home, ref, 2)
    assert installed(home, pushed) == person.url
    assert installed(home, unpushed) == "local"
    assert installed(home, pushed) == person.url
    nowhere = Home({**person.environ(), "DATAPKG_REGISTRY": "http://127.0.0.1:9"})
    assert installed(nowhere, unpushed) == "local"
    assert installed(nowhere, pushed) == person.url


def test_lazily_opened_state_has_the_registry_as_origin(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    other = person.home("other")
    old = built(other, person.ref("p"), 1)
    push_package(other, person.ref("p"), version="1.0")
    built(other, person.ref("p"), 2)
    push_package(other, person.ref("p"))
    for name, value in person.environ("own").items():
        monkeypatch.setenv(name, value)
    package = open_lazily(str(person.ref("p")))
    assert package["measurements"]().n.tolist() == [2]
    earlier = open_lazily(str(old))
    for node in ("measurements", "raw/first"):
        assert earlier[node]().n.tolist() == [1]
    assert installed(Home(), old) == person.url


@pytest.mark.parametrize(
    ("node", "near"),
    [
        ("measurement", "has no node 'measurement'; did you mean 'measurements'?"),
        ("raw/frist", "/raw has no node 'frist'; did you mean 'first'?"),
        ("rwa/first", "has no node 'rwa'; did you mean 'raw'?"),
        ("measurements/n", "'measurements' is a table, not a group"),
        ("x", "has no node 'x'; there are 'measurements', 'raw'"),
    ],
)
def test_error_for_a_misspelt_node_suggests_similar_ones(person: Person, node: str, near: str) -> None:
    home, ref = person.home(), person.ref("p")
    built(home, ref, 1)
    push_package(home, ref)
    wrong = Ref(ref.user, ref.name, node)
    for found in (install_packages(person.home("other"), [wrong]), fetch_packages(home, [wrong])):
        assert isinstance(found[0].error, NodeNotFound)
        assert near in str(found[0].error)
