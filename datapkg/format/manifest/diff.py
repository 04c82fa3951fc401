"""What differs between two states of a package, as values."""

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
    """One node that differs; `old_path` is where a renamed one was, `what` the fields of a changed one."""

    kind: Kind
    path: str
    old_path: str = ""
    what: tuple[str, ...] = ()


def changed(old: Manifest | None, new: Manifest) -> tuple[dict[str, Node], dict[str, Node]]:
    """By path, the nodes that only the old one has so, and those that only the new one has so.

    Of two long manifests only those lines are read in which they differ.
    """
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
    """Return the nodes that differ, in order of path; equal values in other Parquet objects are no difference."""
    before, after = changed(old, new)
    gone = {_identity(node): path for path, node in before.items() if path not in after and node.kind != "group"}
    changes: list[Change] = []
    renamed: set[str] = set()
    for path, node in after.items():
        if path in before:
            if what := _differing(before[path], node):
                changes.append(Change("changed", path, what=what))
        elif node.kind != "group" and (old_path := gone.pop(_identity(node), None)) is not None:
            renamed.add(old_path)
            changes.append(Change("renamed", path, old_path))
        else:
            changes.append(Change("added", path))
    changes += [Change("removed", path) for path in before if path not in after and path not in renamed]
    return sorted(changes, key=lambda change: change.path.split("/"))


def same_data(one: Manifest, other: Manifest) -> bool:
    """Return whether a reader of both could see no difference: only how tables are cut and written may differ."""
    return one.meta == other.meta and not diff(one, other)


def stored_otherwise(one: Manifest, other: Manifest) -> list[TableNode]:
    """Return the tables of `other`, of the same data, that lie in other objects than those of `one`.

    For these, that the data are the same is only what both manifests state (`tables/content_claims`).
    """
    return [node for node in changed(one, other)[1].values() if isinstance(node, TableNode)]


def same_content(one: Node, other: Node) -> bool:
    """Return whether two nodes hold the same data, whatever their paths, metadata and blocks are."""
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
