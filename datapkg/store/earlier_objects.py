"""Objects of other states of a package that are here: chunks that they share with objects to fetch are not fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice

from datapkg.errors import DatapkgError
from datapkg.format.manifest.earlier import Replacement, replaced_by, replaced_objects
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.names import Ref
from datapkg.store.store import Store

MOST_STATES = 3
"""Each costs a comparison of two manifests, and the newest state that is here has nearly always the most in common."""
_MOST_EVENTS = 20
"""After `gc`, few of the states that a long log names are here, and each is looked for."""


def replaced_here(store: Store, ref: Ref, manifest: Manifest) -> Iterator[Replacement]:
    """Yield what a state replaces of each other one that is here, by whole packages; guesses only about the first."""
    for number, before in enumerate(other_states(store, ref, manifest.hash)):
        yield from (each for each in replaced_objects(before, manifest) if number == 0 or not each.is_guess)


def replaced_by_nodes(store: Store, ref: Ref, hash: str, nodes: Iterable[Node]) -> Iterator[Replacement]:
    """Yield what some nodes of a state replace of those at their paths in each other one that is here."""
    nodes = list(nodes)
    for before in other_states(store, ref, hash):
        for node in nodes:
            yield from replaced_by(node, before)


def other_states(store: Store, ref: Ref, hash: str) -> Iterator[Manifest]:
    """Yield the current state and the newest others whose manifests are here, without the one with this hash."""
    for each in islice(_hashes(store, ref, hash), MOST_STATES):
        with contextlib.suppress(DatapkgError):  # a damaged manifest: more is fetched, and nothing is wrong
            yield store.open_manifest(each)


def _hashes(store: Store, ref: Ref, hash: str) -> Iterator[str]:
    current = store.refs.current(ref)
    hashes = [current.hash] if current else []
    seen = {hash}
    for each in (*hashes, *islice(store.refs.newest(ref), _MOST_EVENTS)):
        if each not in seen and store.has(each):
            yield each
        seen.add(each)
