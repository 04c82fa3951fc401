"""Which objects of an earlier state those of a new one were probably made from, so that only new bytes of them travel.

Manifests alone decide: nothing is read, and nothing is asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from itertools import takewhile
from typing import NamedTuple

from datapkg.format.chunks import LONG_BYTES
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, Node, TableNode

_SIMILAR = 2
_MOST_GUESSES = 100
_NEIGHBOURS = 16
"""Of a long manifest, decoding all lines would take longer than most transfers; names that begin alike are near."""


class Replacement(NamedTuple):
    """Earlier objects, and the new ones that replace them, both as hash to size in bytes.

    With `is_guess`, a new node may be a changed copy of one that stayed, or have nothing to do with it: look at the
    beginning of their objects before all of them are compared.
    """

    removed: dict[str, int]
    added: dict[str, int]
    is_guess: bool = False


def replaced_objects(old: Manifest, new: Manifest) -> Iterator[Replacement]:
    """Yield, for each node that changed, what it replaces: objects of earlier nodes, and its new ones.

    Earlier nodes are the one at its path, and the tables with which it shares most objects. If there are none, they are
    those of the same name or size, nearly, among the nodes that are gone or changed and have its columns or suffix,
    else its kind. Of many of one size, renamed alike, the order of their paths tells which one it was. Last are guesses
    about nodes that are new beside unchanged ones, the longest first.
    """
    before, after = changed(old, new)
    earlier = _EarlierNodes(before, before.values() if isinstance(old, MappedManifest) else old.nodes)
    earlier.count(node for path, node in after.items() if path not in before)
    for node in after.values():
        yield from _replaced(earlier.of(node), node)
    alone = (node for node in after.values() if _is_long(node) and not earlier.is_known(node))
    for node in nlargest(_MOST_GUESSES, alone, key=_size):
        kept = (each for each in _around(old, node.path) if each.path not in before and _is_long(each))
        for each in _likely(node, kept):
            yield from (found._replace(is_guess=True) for found in _replaced([each], node))


def replaced_by(node: Node, old: Manifest) -> Iterator[Replacement]:
    """Yield what a node of another state replaces of the one at its path, if anything."""
    if earlier := old.get(node.path):
        yield from _replaced([earlier], node)


def _replaced(earlier: Iterable[Node], node: Node) -> Iterator[Replacement]:
    mine, theirs = dict(node.objects()), {hash: size for each in earlier for hash, size in each.objects()}
    removed = {hash: size for hash, size in theirs.items() if hash not in mine}
    added = {hash: size for hash, size in mine.items() if hash not in theirs}
    if removed and added:
        yield Replacement(removed, added)


def _around(old: Manifest, path: str) -> Iterable[Node]:
    """Return the nodes of a state, of a long one those whose paths are near in its order."""
    if not isinstance(old, MappedManifest):
        return old.nodes
    at = old.first(tuple(path.split("/")))
    return map(old.node, range(max(1, at - _NEIGHBOURS), min(old.end, at + _NEIGHBOURS)))


def _likely(node: Node, others: Iterable[Node]) -> list[Node]:
    """Return the nodes of the same kind of which this one is most likely a changed copy."""
    name, size = node.parts[-1], _size(node)

    def likeness(other: Node) -> tuple[int, int, int]:
        return _shared(node, other), _common(name, other.parts[-1]), -abs(_size(other) - size)

    return nlargest(_SIMILAR, (each for each in others if each.kind == node.kind), key=likeness)


def _common(name: str, other: str) -> int:
    """Return with how many equal characters two names begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))


def _shared(node: Node, other: Node) -> int:
    """Return how many columns two tables share, or 1 for two files of one suffix."""
    if isinstance(node, TableNode) and isinstance(other, TableNode):
        return len({*map(tuple, node.columns)} & {*map(tuple, other.columns)})
    return int(_likenesses(node)[0] == _likenesses(other)[0])


def _is_long(node: Node) -> bool:
    return any(size >= LONG_BYTES for _, size in node.objects())


class _EarlierNodes:
    """The nodes of a state from which those of the next one may have been made: `gone` ones, or changed, by path.

    `known` are those whose objects may be shared; of a long state not all, since that would decode all of it.
    """

    def __init__(self, gone: Mapping[str, Node], known: Iterable[Node]) -> None:
        self._gone = gone
        self._sharing = {hash: each for each in known if isinstance(each, TableNode) for hash, _ in each.objects()}
        self._by_size: dict[object, list[tuple[int, str]]] = {}
        self._by_name: dict[object, str] = {}
        self._by_rank: dict[object, list[str]] = {}
        self._ranks: dict[str, int] = {}
        for path, node in gone.items():
            if size := _size(node):
                for likeness in _likenesses(node):
                    self._by_size.setdefault(likeness, []).append((size, path))
                    self._by_name[likeness, node.parts[-1]] = path
        for some in self._by_size.values():
            some.sort()

    def count(self, new: Iterable[Node]) -> None:
        """Note the new nodes, in the order of a manifest, before the first one is compared."""
        counts: Counter[object] = Counter()
        for node in new:
            own = _likenesses(node)[0]
            self._ranks[node.path] = counts[own]
            counts[own] += 1
        for own, number in counts.items():
            some = [path for _, path in self._by_size.get(own, ())]
            if len(some) == number:
                self._by_rank[own] = sorted(some, key=lambda path: path.split("/"))

    def is_known(self, node: Node) -> bool:
        """Return whether a node changed at its path, or is a table that shares objects with an earlier one."""
        return node.path in self._gone or any(hash in self._sharing for hash, _ in node.objects())

    def of(self, node: Node) -> list[Node]:
        sharing = [each for hash, _ in node.objects() if (each := self._sharing.get(hash))]
        most = Counter(each.path for each in sharing).most_common(_SIMILAR)
        found: dict[str, Node] = {each.path: each for each in sharing if each.path in dict(most)}
        if (earlier := self._gone.get(node.path)) and _size(earlier):  # not a group
            found[node.path] = earlier
        return list(found.values()) or self._similar(node)

    def _similar(self, node: Node) -> list[Node]:
        size = _size(node)
        for likeness in _likenesses(node):
            if some := self._by_size.get(likeness):
                at = bisect_left(some, (size, ""))
                near = sorted(some[max(0, at - _SIMILAR) : at + _SIMILAR], key=lambda each: abs(each[0] - size))
                paths = [path for _, path in near[:_SIMILAR]]
                if likeness in self._by_rank and node.path in self._ranks:
                    paths.append(self._by_rank[likeness][self._ranks[node.path]])
                paths.append(self._by_name.get((likeness, node.parts[-1]), paths[0]))
                return [self._gone[path] for path in dict.fromkeys(paths)]
        return []


def _size(node: Node) -> int:
    return sum(size for _, size in node.objects())


def _likenesses(node: Node) -> list[object]:
    """What a node that was renamed and changed has probably kept, the most telling first."""
    own = tuple(node.columns) if isinstance(node, TableNode) else (node.kind, node.path.rpartition(".")[2])
    return [own, node.kind]
