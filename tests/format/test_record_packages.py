"""The packages in a build record are read from whatever a registry was sent."""

from __future__ import annotations

from typing import Any

import pytest

from datapkg.format.names import Ref
from datapkg.format.record_packages import MAX_PACKAGES, packages_of

A, B = "a" * 64, "b" * 64


def test_each_state_counts_once_whatever_node_was_taken() -> None:
    entries = [{"package": text, "hash": hash} for text, hash in (("u/p/x", A), ("u/p/y", A), ("u/p", B), ("r:u/p", A))]
    named, hidden = packages_of({"packages": entries})
    assert named == [(Ref("u", "p"), A), (Ref("u", "p"), B), (Ref("u", "p", registry="r"), A)]
    assert hidden == 0


@pytest.mark.parametrize(
    "entry", [None, 3, "u/p", [], {}, {"package": "u/p"}, {"package": 1, "hash": A}, {"package": "../p", "hash": A}]
)
def test_malformed_entry_is_only_counted(entry: Any) -> None:
    assert packages_of({"packages": [entry, {"package": "u/p", "hash": A}]}) == ([(Ref("u", "p"), A)], 1)
    assert packages_of({"packages": [{"package": "u/p", "hash": "a"}]}) == ([], 1)


@pytest.mark.parametrize("record", [{}, {"packages": None}, {"packages": "u/p"}, {"packages": {"package": "u/p"}}])
def test_record_without_a_list_names_none(record: dict[str, Any]) -> None:
    assert packages_of(record) == ([], 0)


def test_no_more_are_named_than_the_limit() -> None:
    entries = [{"package": f"u/p{number}", "hash": A} for number in range(MAX_PACKAGES + 5)]
    named, hidden = packages_of({"packages": entries})
    assert (len(named), hidden) == (MAX_PACKAGES, 5)
