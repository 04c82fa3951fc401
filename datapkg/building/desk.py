"""What the makers of nodes work with: objects, the state before, the cache, and secrets of the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from datapkg.building.cache import BuildCache
from datapkg.format.manifest import Block, Manifest, Node, TableNode
from datapkg.objects.base import Objects

Secret = Callable[[str], str]

# Sources of this size and more are hashed while they are read, and a table of text is remembered by its stretches.
BIG_BYTES = 16 << 20


class Earlier:
    """The state that a build starts from: which objects hold a content, and whether a node stays what it was."""

    def __init__(self, manifest: Manifest | None, objects: Objects) -> None:
        self._manifest = manifest
        tables = [node for node in manifest.nodes if isinstance(node, TableNode)] if manifest else []
        absent = objects.missing({hash for node in tables for hash, _ in node.objects()})
        whole = [node for node in tables if not any(hash in absent for hash, _ in node.objects())]
        self._tables = {node.content: node for node in reversed(whole)}
        self._at = {node.path: node for node in whole}

    def table(self, path: str) -> TableNode | None:
        """The table that was at this path, if its objects are here."""
        return self._at.get(path)

    def blocks(self, path: str, content: str) -> list[Block] | None:
        """The objects of a table of this content: of the one at this path, else of any."""
        before = self._at.get(path)
        if before is None or before.content != content:
            before = self._tables.get(content)
        return before.objects_ if before else None

    def has(self, node: Node) -> bool:
        """Whether the objects of a node are those that the node at its path had, or a table of the same content."""
        if isinstance(node, TableNode):
            return self.blocks(node.path, node.content) == node.objects_
        before = self._manifest.get(node.path) if self._manifest else None
        return before is not None and list(before.objects()) == list(node.objects())


@dataclass
class Desk:
    """What the makers of nodes work with: `absent` are objects of the cache that are not here."""

    objects: Objects
    earlier: Earlier
    cache: BuildCache
    secret: Secret
    absent: set[str] = field(default_factory=set)
