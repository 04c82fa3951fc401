"""Compare two states of a package.

Nodes are equal by package hash and path, not by name or content, because a comparison must not read data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, Node, TableNode

Kind = Literal["added", "removed", "changed", "renamed"]
_SAID = {"meta", "file_name"}


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
