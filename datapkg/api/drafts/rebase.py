"""Rebase: apply the changes of one edit to a state that somebody else made from the same base meanwhile."""

from __future__ import annotations

from typing import Any

from datapkg.errors import Conflict
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node
from datapkg.format.texts import listed

_PATHS_SHOWN = 10
_NOTHING = object()  # metadata may have None as a value


def rebased(base: Manifest | None, mine: Manifest, theirs: Manifest) -> Manifest:
    """Return a state with both the changes from `base` to `mine` and those from `base` to `theirs`.

    Raise `Conflict` with both hashes and the paths (`detail["paths"]`) that both changed differently; a key of the
    package's metadata is listed as a path such as `meta.licence`.
    """
    before, ours = changed(base, mine)
    was, other = changed(base, theirs)
    places = (before.keys() | ours.keys()) & (was.keys() | other.keys())
    collisions = {path for path in places if ours.get(path) != other.get(path)}
    after = ManifestEdit(theirs)
    for path in before.keys() - ours.keys():
        after.pop(path, None)
    after.update(ours)
    collisions |= _nested(after, ours)
    meta_before = base.meta if base else {}
    keys = _changed(meta_before, mine.meta)
    clashes = {key for key in keys & _changed(meta_before, theirs.meta) if _differ(mine.meta, theirs.meta, key)}
    if found := [*(f"meta.{key}" for key in sorted(clashes)), *sorted(collisions)]:
        raise _conflict(mine, theirs, found)
    return after.manifest(_applied(keys, mine.meta, theirs.meta))


def _changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {key for key in before.keys() | after.keys() if _differ(before, after, key)}


def _differ(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    return bool(one.get(key, _NOTHING) != other.get(key, _NOTHING))


def _nested(after: ManifestEdit, ours: dict[str, Node]) -> set[str]:
    """Return our paths that would be below a node of theirs that is not a group, or the reverse."""
    found = {each for path, node in ours.items() if not isinstance(node, GroupNode) for each in after.below(path)}
    for path in ours:
        above = (after.get(each) for each in ancestors(path))
        if any(node is not None and not isinstance(node, GroupNode) for node in above):
            found.add(path)
    return found


def ancestors(path: str) -> list[str]:
    """Return the paths of the groups that contain a path, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _applied(changed: set[str], ours: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return their metadata with our changes."""
    kept = {key: value for key, value in other.items() if key not in changed}
    return kept | {key: ours[key] for key in changed if key in ours}


def _conflict(mine: Manifest, theirs: Manifest, places: list[str]) -> Conflict:
    return Conflict(
        f"somebody changed the package meanwhile, at the same places as you: {listed(places, _PATHS_SHOWN)}; "
        f"yours is sha256:{mine.hash}, theirs sha256:{theirs.hash}",
        hint="edit again, from their state: `datapkg install` makes it the current one here",
        mine=mine.hash,
        theirs=theirs.hash,
        paths=places,
    )
