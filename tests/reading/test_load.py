"""Opening states of packages side by side."""

from __future__ import annotations

import pytest

from datapkg.errors import InvalidName, NodeNotFound, PackageNotInstalled
from datapkg.home import Home
from datapkg.reading.load import load
from tests.reading.packages import file_node, install


def test_two_states_can_be_open_at_once(home: Home) -> None:
    """Behaviour 51 of Quilt 2."""
    old = install(home, "me/p", file_node(home, "a", b"old"))
    new = install(home, "me/p", file_node(home, "a", b"new"))
    one, two = load(f"me/p@sha256:{old}", home), load("me/p", home)
    assert (one["a"].read_text(), two["a"].read_text()) == ("old", "new")
    assert (one.hash, two.hash) == (old, new)
    assert str(one.ref) == f"me/p@sha256:{old}"


def test_a_ref_may_name_a_node(home: Home) -> None:
    install(home, "me/p", file_node(home, "g/a b", b"x"))
    assert load("me/p/g/a b", home).read_text() == "x"
    assert load("me/p/g", home).keys() == ["a b"]
    with pytest.raises(NodeNotFound, match=r"no node 'c'; there is 'a b' \(the state is sha256:"):
        load("me/p/g/c", home)


def test_missing_packages_are_reported(home: Home) -> None:
    with pytest.raises(PackageNotInstalled) as caught:
        load("me/gone", home)
    assert caught.value.hint == "datapkg install me/gone"
    with pytest.raises(InvalidName):
        load("Me/gone", home)
