"""Edit a manifest: changes are kept beside the nodes of the base, which may be long."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.manifest.patch import spliced


class ManifestEdit(MutableMapping[str, Node]):
    """The nodes of a manifest with changes, by path, used like a dict of all nodes.

    The cost of a change does not depend on the number of nodes.
    """

    def __init__(self, base: Manifest | None = None) -> None:
        self._base = base
        self._changes: dict[str, Node | None] = {}
        self._inside: dict[str, dict[str, None]] = {}

    def __getitem__(self, path: str) -> Node:
        node = self._changes[path] if path in self._changes else self._before(path)
        if node is None:
            raise KeyError(path)
        return node

    def __setitem__(self, path: str, node: Node) -> None:
        self._change(path, node)

    def __delitem__(self, path: str) -> None:
        if path not in self:
            raise KeyError(path)
        self._change(path, None)

    def __iter__(self) -> Iterator[str]:
        """Yield all paths, in any order."""
        for node in self._base.entries() if self._base else ():
            if node.path not in self._changes:
                yield node.path
        yield from (path for path, node in self._changes.items() if node is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def below(self, path: str) -> Iterator[str]:
        """Yield the paths of all nodes below this one; no change may be made during the iteration."""
        if self._base and path and self._base.kind(path):
            for node in self._base.entries(path):
                if node.path != path and node.path not in self._changes:
                    yield node.path
        waiting = [path]
        while waiting:
            for each in self._inside.get(waiting.pop(), ()):
                waiting.append(each)
                if self._changes.get(each) is not None:
                    yield each

    def manifest(self, meta: dict[str, Any]) -> Manifest:
        """Return the manifest of all nodes; raise as `Manifest.make` does."""
        if isinstance(self._base, MappedManifest):
            return spliced(self._base, self._changes, meta)
        return Manifest.make(self.values(), meta, like=self._base)

    def _before(self, path: str) -> Node | None:
        return self._base.get(path) if self._base else None

    def _change(self, path: str, node: Node | None) -> None:
        self._changes[path] = node
        while "/" in path:
            group = path.rpartition("/")[0]
            inside = self._inside.setdefault(group, {})
            if path in inside:
                return
            inside[path] = None
            path = group
