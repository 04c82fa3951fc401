"""Compare working files with the last build: added, changed, removed and renamed nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datapkg.building.cache import BuildCache
from datapkg.building.record import recorded_kwargs, settings_text
from datapkg.building.sources.handlers import handler_of, local_file
from datapkg.building.spec.model import BuildSpec, NodeSpec


@dataclass
class Changes:
    """Node paths that a build would add, rebuild and remove; `renamed` pairs an old with a new path.

    `unseen` are nodes whose changes only a build can detect: queries, functions, other packages.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.renamed)


def compare(spec: BuildSpec, record: Mapping[str, Any], cache: BuildCache) -> Changes:
    """Return what a build would change compared with the record of the last one.

    A file is read only if its stat has changed. Raise `BuildFailed` for a file that cannot be read.
    """
    before = _sources(record)
    files = (local_file(node.source) for node in spec.nodes)
    cache.look_below({os.path.dirname(file.path) for file in files if file is not None})
    changes = Changes()
    hashes = {}
    for node in spec.nodes:
        hash = handler_of(node.source).hash_now(node.source, cache)
        if hash is None:
            changes.unseen.append(node.path)
            continue
        hashes[node.path] = hash
        then = before.pop(node.path, None)
        if then is None:
            changes.added.append(node.path)
        elif then.get("hash") != hash or not _is_read_alike(node, then):
            changes.changed.append(node.path)
    # Members that a glob extracts from an archive have paths below that of their node.
    unseen = tuple(f"{path}/" for path in changes.unseen)
    changes.removed = [path for path in before if not f"{path}/".startswith(unseen)]
    _pair(changes, hashes, {path: str(before[path].get("hash")) for path in changes.removed})
    cache.save()
    return changes


def compared(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what `compare` uses of a record: path, hash and settings of each source."""
    return sorted((str(each["path"]), str(each.get("hash")), settings_text(each)) for each in _sources(record).values())


def _sources(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(each["path"]): each for each in record.get("sources", ()) if "path" in each}


def _pair(changes: Changes, now: dict[str, str], then: dict[str, str]) -> None:
    """Turn an added and a removed node with equal bytes into a rename."""
    free: dict[str, list[str]] = {}
    for path in changes.removed:
        free.setdefault(then[path], []).append(path)
    for path in list(changes.added):
        if old := free.get(now[path]):
            changes.renamed.append((old.pop(0), path))
            changes.added.remove(path)
    for before, _ in changes.renamed:
        changes.removed.remove(before)


def _is_read_alike(node: NodeSpec, then: dict[str, Any]) -> bool:
    """Return whether the settings of a node are those in the record of its source."""
    if not (node.kwargs or "kwargs" in then):
        return node.transform == then.get("transform")
    kwargs = recorded_kwargs(node.kwargs) if node.kwargs else {}
    return settings_text({"transform": node.transform, **kwargs}) == settings_text(then)
