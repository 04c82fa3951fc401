"""Review a release: what changes for readers of a package from one state to the next."""

from __future__ import annotations

from typing import Any

from datapkg.format.manifest.diff import Change, diff
from datapkg.format.manifest.parsed import Manifest, Node, TableNode
from datapkg.format.texts import count_text

# Changes that break readers come first.
_ORDER = ("removed", "renamed", "changed", "added")
_FIELDS = {
    "dtype": "type",
    "file_name": "file name",
    "hash": "bytes",
    "meta": "metadata",
    "rows": "",
    "columns": "",
    "size": "",
}


def review(old: Manifest | None, new: Manifest) -> list[dict[str, Any]]:
    """Return the changes from `old` (None for a new package) to `new`: removed, renamed, changed, then added nodes.

    Each has `change`, `path`, `old_path` (of a renamed one), `kind` and `what`, a list that describes the differences.
    A changed table has `rows` (old, new) and `columns`: added and removed as (name, type), changed as (name, old type,
    new type). Metadata of the package is a change of the path "".
    """
    before = old or Manifest.make([])
    changes = [_described(each, before, new) for each in diff(before, new)]
    if before.meta != new.meta:
        keys = sorted(key for key in before.meta.keys() | new.meta.keys() if before.meta.get(key) != new.meta.get(key))
        changes.append(_entry("changed", "", "package", [f"metadata: {', '.join(keys)}"]))
    return sorted(changes, key=lambda each: _ORDER.index(each["change"]))


def _entry(change: str, path: str, kind: str, what: list[str], old_path: str = "") -> dict[str, Any]:
    return {"change": change, "path": path, "old_path": old_path, "kind": kind, "what": what}


def _described(change: Change, old: Manifest, new: Manifest) -> dict[str, Any]:
    before, after = old.get(change.old_path or change.path), new.get(change.path)
    node = after or before
    kind = node.kind if node else "group"
    if change.kind == "changed" and before and after:
        return _changed(change, before, after)
    what = [] if change.kind == "renamed" or node is None else _size(node)
    return _entry(change.kind, change.path, kind, what, change.old_path)


def _size(node: Node) -> list[str]:
    if isinstance(node, TableNode):
        return [count_text(node.rows, "row"), count_text(len(node.columns), "column")]
    return []


def _changed(change: Change, before: Node, after: Node) -> dict[str, Any]:
    if before.kind != after.kind:
        return _entry("changed", change.path, after.kind, [f"{before.kind} → {after.kind}"])
    entry = _entry("changed", change.path, after.kind, [])
    what: list[str] = entry["what"]
    if isinstance(before, TableNode) and isinstance(after, TableNode):
        entry |= {"columns": (columns := _columns(before, after)), "rows": {"old": before.rows, "new": after.rows}}
        what += [f"column {name} removed" for name, _ in columns["removed"]]
        what += [f"column {name}: {was} → {now}" for name, was, now in columns["changed"]]
        what += [f"column {name} added ({kind})" for name, kind in columns["added"]]
        if "columns" in change.what and not any(columns.values()):
            what.append("order of columns")
        if before.rows != after.rows:
            what.append(f"{before.rows:,} → {after.rows:,} rows")
        elif "content" in change.what:
            what.append("values")
    what += [_FIELDS.get(each, each) for each in change.what if each != "content" and _FIELDS.get(each, each)]
    return entry


def _columns(before: TableNode, after: TableNode) -> dict[str, list[tuple[str, ...]]]:
    """Return the changes of a table's columns; columns with equal names are compared in order."""
    was, now = dict(before.columns), dict(after.columns)
    return {
        "added": [(name, str(kind)) for name, kind in after.columns if name not in was],
        "removed": [(name, str(kind)) for name, kind in before.columns if name not in now],
        "changed": [(n, str(was[n]), str(kind)) for n, kind in now.items() if n in was and was[n] != kind],
    }
