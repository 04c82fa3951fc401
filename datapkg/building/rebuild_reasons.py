"""Explain why each node was or was not rebuilt, by comparing the record of this build with the previous one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datapkg.building.record import settings_text

Record = Mapping[str, Any]
# Reasons as node builders record them, with the text shown to users: cached results, and sources always read.
_KNOWN = {
    "unchanged": "size and times of the file are the same",
    "same bytes": "the file was touched, its bytes are the same",
    "same inputs": "the function, its files and its kwargs are the same",
    "same runs": "the runs and what they reported are the same",
}
_ALWAYS = {
    "a value": "values in memory are always read",
    "runs": "runs have ended since",
    "asked": "queries and functions run at every build",
}


def explain(why: dict[str, str], record: Record, before: Record | None, forced: bool) -> dict[str, str]:
    """Return one line for each node's path; `before` is the previous build's record, None if there was none."""
    now, then = _by_path(record), _by_path(before or {})
    libraries = _changes("", record.get("libraries", {}), (before or {}).get("libraries", {}))
    lines = {}
    for path, reason in why.items():
        sources = _source(now, path) or {}, _source(then, path)
        known = reason in _KNOWN
        lines[path] = _ALWAYS.get(reason) or (
            _known(reason, *sources) if known else _reason(*sources, libraries, forced, before)
        )
    return lines


def _known(reason: str, now: dict[str, Any], then: dict[str, Any] | None) -> str:
    if then is None or now.get("hash") != then.get("hash"):
        return "known: an earlier build read the same bytes"
    return f"unchanged: {'the sum is the same' if 'url' in now else _KNOWN[reason]}"


def _reason(
    now: dict[str, Any], then: dict[str, Any] | None, libraries: list[str], forced: bool, before: Record | None
) -> str:
    if forced:
        return "read: --force"
    if before is None:
        return "read: there is no earlier build"
    if then is None:
        return "read: it is new"
    changes = [*_settings(now, then)]
    if now.get("hash") != then.get("hash"):
        changes.insert(0, "the file changed")
    # Library versions do not matter for files that are stored unchanged.
    changes += libraries if now.get("transform") != "id" else []
    return f"read: {', '.join(changes) or 'nothing is known of what it became, or its objects are gone'}"


def _settings(now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    lines = [] if now.get("file") == then.get("file") else [f"it comes from {now.get('file')}, not {then.get('file')}"]
    if now.get("transform") != then.get("transform"):
        lines.append(f"transform {then.get('transform')} → {now.get('transform')}")
    kwargs = _changes("kwargs.", now.get("kwargs", {}), then.get("kwargs", {}))
    if not lines and not kwargs and settings_text(now) != settings_text(then):
        kwargs = ["the order of kwargs, or the type of a value, changed"]
    return lines + kwargs


def _changes(prefix: str, now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    names = sorted(name for name in {*now, *then} if json.dumps(now.get(name)) != json.dumps(then.get(name)))
    return [f"{prefix}{name} {then.get(name, 'not set')} → {now.get(name, 'not set')}" for name in names]


def _by_path(record: Record) -> dict[str, dict[str, Any]]:
    return {str(each.get("path")): each for each in record.get("sources", ()) if isinstance(each, dict)}


def _source(sources: dict[str, dict[str, Any]], path: str) -> dict[str, Any] | None:
    """Return the record of the source of a node: at its path, or above it where a source became several nodes."""
    while path:
        if path in sources:
            return sources[path]
        path = path.rpartition("/")[0]
    return None
