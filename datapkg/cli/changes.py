"""The table of changes for users of a package: `push --dry-run` and `log --changes`."""

from __future__ import annotations

from typing import Any

from datapkg.format.texts import aligned

MAX_LISTED = 100


def change_lines(changes: list[dict[str, Any]]) -> list[str]:
    """Return a line for each change, what breaks readers first, as `format.manifest.review` returns them."""
    if not changes:
        return ["  nothing changes for consumers"]
    rows = [(f"  {each['change']}", _name(each), _what(each)) for each in changes[:MAX_LISTED]]
    more = [f"  … {len(changes) - MAX_LISTED:,} more; --json has all"] if len(changes) > MAX_LISTED else []
    return [*aligned(rows), *more]


def _name(change: dict[str, Any]) -> str:
    if change["change"] == "renamed":
        return f"{change['old_path']} → {change['path']}"
    return change["path"] or "(package)"


def _what(change: dict[str, Any]) -> str:
    kind = "" if change["change"] == "changed" else change["kind"]
    return ", ".join(filter(None, [kind, *change["what"]]))
