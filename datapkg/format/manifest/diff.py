"""Compare two states of a package.

Nodes are equal by package hash and path, not by name or content, because a comparison must not read data.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, Node, TableNode

Kind = Literal["added", "removed", "changed", "renamed"]
Replacement: TypeAlias = tuple[dict[str, int], dict[str, int]]
"""Earlier objects, and the new ones that replace them, both as hash to size in bytes."""
_SAID = {"meta", "file_name"}
_SIMILAR = 2


@dataclass(frozen=True)
class Change:
    """One node that differs; `old_path` is the path before a rename, `what` lists the changed fields."""

    kind: Kind
    path: str
    old_path: str = ""
    what: tuple[str, ...] = ()


def changed(old: Manifest | None, new: Manifest) -> tuple[dict[str, Node], dict[str, Node]]:
    """Return, by path, the nodes that are only in the old manifest, and those that are only in the new one.

    Of two long manifests, only the lines that differ are decoded; of one state, none.
    """
    if old is not None and old.hash == new.hash:  # without chunk maps, which load numpy
        return {}, {}
    if isinstance(old, MappedManifest) and isinstance(new, MappedManifest):
        places = new.gaps(old)
        before = {node.path: node for gap in places for node in old.between(gap.old_start, gap.old_stop)}
        after = {node.path: node for gap in places for node in new.between(gap.start, gap.stop)}
    else:
        before = {node.path: node for node in old.nodes} if old else {}
        after = {node.path: node for node in new.nodes}
    return _without(before, after), _without(after, before)


def _without(nodes: dict[str, Node], others: dict[str, Node]) -> dict[str, Node]:
    return {path: node for path, node in nodes.items() if others.get(path) != node}


def replaced_objects(old: Manifest, new: Manifest) -> Iterator[Replacement]:
    """Yield, for each node that changed, what it replaces: objects of earlier nodes, and its new ones.

    Earlier nodes are the one at its path, and the tables with which it shares most objects. If there are none, they are
    those of the same name or size, nearly, among the nodes that are gone or changed and have its columns or suffix,
    else its kind. Of many of one size, renamed alike, the order of their paths tells which one it was.
    """
    before, after = changed(old, new)
    earlier = _EarlierNodes(before, before.values() if isinstance(old, MappedManifest) else old.nodes)
    earlier.count(node for path, node in after.items() if path not in before)
    for node in after.values():
        yield from _replaced(earlier.of(node), node)


def replaced_by(node: Node, old: Manifest) -> Iterator[Replacement]:
    """Yield what a node of another state replaces of the one at its path, if anything."""
    if earlier := old.get(node.path):
        yield from _replaced([earlier], node)


def _replaced(earlier: Iterable[Node], node: Node) -> Iterator[Replacement]:
    mine, theirs = dict(node.objects()), {hash: size for each in earlier for hash, size in each.objects()}
    removed = {hash: size for hash, size in theirs.items() if hash not in mine}
    added = {hash: size for hash, size in mine.items() if hash not in theirs}
    if removed and added:
        yield removed, added


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


def diff(old: Manifest, new: Manifest) -> list[Change]:
    """Return the nodes that differ, ordered by path; equal values in other Parquet objects are not a difference."""
    before, after = changed(old, new)
    gone = {_identity(node): path for path, node in before.items() if path not in after and node.kind != "group"}
    changes: list[Change] = []
    renamed: set[str] = set()
    for path, node in after.items():
        if path in before:
            if what := _differing(before[path], node):
                changes.append(Change("changed", path, what=what))
        # Taken out, since a node is renamed to one other only.
        elif node.kind != "group" and (old_path := gone.pop(_identity(node), None)) is not None:
            renamed.add(old_path)
            changes.append(Change("renamed", path, old_path))
        else:
            changes.append(Change("added", path))
    changes += [Change("removed", path) for path in before if path not in after and path not in renamed]
    return sorted(changes, key=lambda change: change.path.split("/"))


def same_data(one: Manifest, other: Manifest) -> bool:
    """Return whether readers of both see no difference; only the blocks of tables may differ."""
    return one.meta == other.meta and not diff(one, other)


def stored_otherwise(one: Manifest, other: Manifest) -> list[TableNode]:
    """Return the tables of `other` that have the same data as in `one` but other objects.

    That their data is the same is only a claim of both manifests (`tables/content_claims`).
    """
    return [node for node in changed(one, other)[1].values() if isinstance(node, TableNode)]


def same_content(one: Node, other: Node) -> bool:
    """Return whether two nodes have the same data, regardless of their paths, metadata and blocks."""
    left, right = _fields(one), _fields(other)
    return all(left.get(name) == right.get(name) for name in (left.keys() | right.keys()) - _SAID)


def _fields(node: Node) -> dict[str, object]:
    fields = {name: getattr(node, name) for name in node.__struct_fields__ if name != "path"}
    if isinstance(node, TableNode):
        del fields["blocks"]
    return {"kind": node.kind, **fields}


def _identity(node: Node) -> bytes:
    return msgspec.json.encode(_fields(node), order="sorted")


def _differing(old: Node, new: Node) -> tuple[str, ...]:
    one, other = _fields(old), _fields(new)
    return tuple(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))
