"""Merge several packages into one: plan which node comes from which package, and resolve path collisions.

Nodes are compared by their manifests; data is read only where one table replaces another of the same stated content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import msgspec

from datapkg.errors import Conflict, InvalidInput
from datapkg.format.manifest.diff import same_content
from datapkg.format.manifest.parsed import FileNode, GroupNode, Node, TableNode
from datapkg.format.names import check_node_path
from datapkg.format.texts import count_text, first_lines, quoted

POLICIES = ("error", "ours", "theirs", "rename")
_PLACES_SHOWN = 10


@dataclass(frozen=True)
class MergePart:
    """One input of a merge, a package or a part of one: its name `user/name`, its nodes and its metadata."""

    name: str
    nodes: list[Node]
    meta: dict[str, Any]


@dataclass
class MergePlan:
    """The result of planning a merge: nodes by path, the number of the part each comes from (`of`), and metadata.

    `more` maps a path to the tables whose rows are appended to that node, each with the number of its part. `renamed`
    maps new paths to old ones, and `dropped` lists discarded paths. `clashes` lists conflicts as pairs of place and
    description.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    more: dict[str, list[tuple[int, TableNode]]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    clashes: list[tuple[str, str]] = field(default_factory=list)


# Raise unless the stored table of the part with this number has the content that its manifest states.
Check = Callable[[int, TableNode], None]


def _no_check(number: int, table: TableNode) -> None:
    """Accept every table."""


def plan_merge(
    parts: Sequence[MergePart], on_conflict: str = "error", *, concat: bool = False, check: Check = _no_check
) -> MergePlan:
    """Merge parts in order; data is read only by `check`, where one table replaces another.

    Equal content at one path becomes one node. Where contents or metadata keys differ, `ours` keeps the first, `theirs`
    the last, and `rename` both, the later one under a name that contains its package's name. With `concat`, tables of
    the same columns are concatenated. Raise `Conflict` that lists all other collisions.
    """
    if on_conflict not in POLICIES:
        raise InvalidInput(f"there is no policy {quoted(on_conflict)}; there are {', '.join(POLICIES)}")
    merger = _ManifestMerger(parts, on_conflict, concat, check)
    for number in range(len(parts)):
        merger.add(number)
    if merger.found.clashes:
        raise _conflict(merger.found.clashes, concat)
    return merger.found


class _ManifestMerger:
    def __init__(self, parts: Sequence[MergePart], on_conflict: str, concat: bool, check: Check) -> None:
        self._parts, self._policy, self._concat, self._check = parts, on_conflict, concat, check
        self.found = MergePlan()
        self._groups: set[str] = set()

    def add(self, number: int) -> None:
        """Merge a part into the result of the previous parts."""
        part, found = self._parts[number], self.found
        found.meta = self._meta("", found.meta, part.meta, number)
        moves: dict[str, str | None] = {}
        # The first collision of a path decides for everything below it, before any node of the part is moved.
        met: set[str] = set()
        for node in part.nodes:
            place = self._meeting(node)
            if place is not None and place not in met:
                met.add(place)
                self._meet(place, node, number, moves)
        for node in part.nodes:
            self._put(node, number, moves)
        # Groups may be implied by paths below them, so they are collected again after each part.
        self._groups = {above for path in found.nodes for above in _above(path)}
        self._groups |= {path for path, node in found.nodes.items() if isinstance(node, GroupNode)}

    def _meeting(self, node: Node) -> str | None:
        """Return the path where a node collides: with a non-group at or above its path, or with a group at its path."""
        for above in _above(node.path):
            if not isinstance(self.found.nodes.get(above) or _GROUP, GroupNode):
                return above
        here = self.found.nodes.get(node.path)
        if here is not None and not isinstance(here, GroupNode):
            return node.path
        return node.path if node.path in self._groups and not isinstance(node, GroupNode) else None

    def _meet(self, place: str, node: Node, number: int, moves: dict[str, str | None]) -> None:
        """Resolve a path collision: `moves[path]` is the new path, None drops the node."""
        here = self.found.nodes.get(place)
        is_group = here is None or isinstance(here, GroupNode)
        later = node if node.path == place else GroupNode(path=place)
        if not is_group and here is not None and self._is_one(place, here, later, number):
            return
        if self._policy == "error":
            first = self._parts[self._owner(place)].name
            kinds = f"{'group' if here is None else here.kind} of {first}, {later.kind} of {self._parts[number].name}"
            self.found.clashes.append((place, kinds))
            moves[place] = None
        elif self._policy == "ours":
            moves[place] = None
        elif self._policy == "theirs":
            self._drop(place)
        else:
            moves[place] = self._other_name(place, later, number, moves)

    def _is_one(self, place: str, here: Node, later: Node, number: int) -> bool:
        """Return whether both become one node, because their content is equal or their rows are concatenated."""
        more = self.found.more.get(place, [])
        old = self.found.renamed.get(place, place)
        for owner, node, path in [(self.found.of[place], here, old), *((at, each, each.path) for at, each in more)]:
            if same_content(node, later):
                # A table that replaces another of the same stated content is verified, unless both have the same
                # objects.
                if isinstance(node, TableNode) and list(node.objects()) != list(later.objects()):
                    self._check(owner, msgspec.structs.replace(node, path=path))
                return True
        if self._concat and isinstance(here, TableNode) and isinstance(later, TableNode) and _fit(here, later):
            self.found.more.setdefault(place, []).append((number, later))
            return True
        return False

    def _put(self, node: Node, number: int, moves: dict[str, str | None]) -> None:
        found, path = self.found, node.path
        place = next((each for each in (*_above(path), path) if each in moves), None)
        if place is not None:
            target = moves[place]
            if target is None:
                found.dropped += [] if isinstance(node, GroupNode) else [path]
                return
            path = target + path[len(place) :]
            found.renamed.update({} if isinstance(node, GroupNode) else {path: node.path})
        here = found.nodes.get(path)
        if here is not None and here.kind == node.kind:
            meta = self._meta(path, here.meta, node.meta, number)
            found.nodes[path] = msgspec.structs.replace(here, meta=meta)
            return
        found.nodes[path] = msgspec.structs.replace(node, path=path)
        found.of[path] = number

    def _drop(self, place: str) -> None:
        """Delete the nodes at a path and below it."""
        found = self.found
        for path in [each for each in found.nodes if f"{each}/".startswith(f"{place}/")]:
            found.dropped += [] if isinstance(found.nodes[path], GroupNode) else [path]
            found.renamed.pop(path, None)
            del found.nodes[path], found.of[path]
            found.more.pop(path, None)

    def _owner(self, place: str) -> int:
        """Return the number of the part that the node at a path, or the first node below it, came from."""
        return next(number for path, number in self.found.of.items() if f"{path}/".startswith(f"{place}/"))

    def _other_name(self, place: str, node: Node, number: int, moves: dict[str, str | None]) -> str:
        """Return the path with the package's name appended, before a file's suffix: `a/README__b_y.md`."""
        group, _, name = place.rpartition("/")
        suffix = PurePosixPath(name).suffix if isinstance(node, FileNode) else ""
        stem = f"{group}/" * bool(group) + name.removesuffix(suffix) + "__" + self._parts[number].name.replace("/", "_")
        theirs = {each.path for each in self._parts[number].nodes}
        taken = (
            self.found.nodes.keys()
            | self._groups
            | set(moves.values())
            | theirs
            | {above for path in theirs for above in _above(path)}
        )
        count = 1
        while (path := f"{stem}{f'_{count}' if count > 1 else ''}{suffix}") in taken:
            count += 1
        check_node_path(path)
        return path

    def _meta(self, path: str, first: dict[str, Any], later: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the merged metadata of both, key by key."""
        result = dict(first)
        for key, value in later.items():
            if key not in first or first[key] == value or self._policy == "theirs":
                result[key] = value
            elif self._policy == "error":
                place = f"{path}: meta.{key}" if path else f"meta.{key}"
                self.found.clashes.append((place, f"differs in {self._parts[number].name}"))
            elif self._policy == "rename":
                result[f"{key}__{self._parts[number].name.replace('/', '_')}"] = value
        return result


_GROUP = GroupNode(path="")


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _fit(one: TableNode, other: TableNode) -> bool:
    """Return whether two tables have the same columns, in any order, so that they can be concatenated."""
    names = {name for name, _ in one.columns}
    return len(names) == len(one.columns) and sorted(one.columns) == sorted(other.columns)


def _conflict(clashes: list[tuple[str, str]], concat: bool) -> Conflict:
    lines = first_lines([f"{quoted(place)}: {what}" for place, what in clashes], _PLACES_SHOWN, indent="\n  ")
    tables = "" if concat else ", or --concat for tables of the same columns"
    return Conflict(
        f"the packages differ at {count_text(len(clashes), 'place')}:{''.join(lines)}",
        hint=f"--on-conflict ours (the first), theirs (the last) or rename (both){tables}",
        paths=[place for place, _ in clashes],
    )
