"""What the makers of nodes work with: objects, the state before, the cache, and secrets of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from datapkg.building.cache import BuildCache
from datapkg.building.sources.base import SourceContext
from datapkg.format.manifest.parsed import Block, Manifest, Node, TableNode
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.store.verified_content import VerifiedContent

# Sources of this size and more are hashed while they are read, and a table of text is remembered by its stretches.
BIG_BYTES = 16 << 20


class PreviousState:
    """The state that a build starts from: which objects hold a content, and whether a node stays what it was.

    A table that was not written here is only reused once its content was recomputed; `warnings` name those that turned
    out to hold other values than their manifest states, which are never reused.
    """

    def __init__(self, manifest: Manifest | None, objects: Objects, claims: VerifiedContent | None = None) -> None:
        self.warnings: list[str] = []
        self._manifest, self._objects, self._claims = manifest, objects, claims or VerifiedContent()
        tables = [node for node in manifest.nodes if isinstance(node, TableNode)] if manifest else []
        absent = objects.missing({hash for node in tables for hash, _ in node.objects()})
        whole = [node for node in tables if not any(hash in absent for hash, _ in node.objects())]
        self._tables = {node.content: node for node in reversed(whole)}
        self._at = {node.path: node for node in whole}

    def table(self, path: str) -> TableNode | None:
        """Return the table that was at this path, if its objects are here."""
        return self._at.get(path)

    def blocks(self, path: str, content: str, own: list[Block] | None = None) -> list[Block] | None:
        """Return the objects of a table of this content: of the one at this path, else of any.

        Those that equal the caller's `own`, known to have this content, need not be verified.
        """
        for before in self._holding(path, content):
            if before.blocks == own or self._is_right(before):
                return before.blocks
        return None

    def _holding(self, path: str, content: str) -> Iterator[TableNode]:
        """Yield the tables that are stated to have this content, the one at the path first."""
        here, other = self._at.get(path), self._tables.get(content)
        if here is not None and here.content == content:
            yield here
        if other is not None and other is not here:
            yield other

    def _is_right(self, table: TableNode) -> bool:
        problem = self._claims.problem(table, self._objects)
        if (
            problem
            and (line := f"{quoted(table.path)} of the state before was not reused: {problem}") not in self.warnings
        ):
            self.warnings.append(line)
        return not problem

    def has(self, node: Node) -> bool:
        """Return whether a node has the objects of the earlier node at its path, or of a table of the same content."""
        if isinstance(node, TableNode):
            return self.blocks(node.path, node.content, node.blocks) == node.blocks
        before = self._manifest.get(node.path) if self._manifest else None
        return before is not None and list(before.objects()) == list(node.objects())


@dataclass
class BuildContext(SourceContext):
    """What node builders work with: `absent` are objects that the cache names and that are missing here."""

    cache: BuildCache
    previous: PreviousState
    absent: set[str] = field(default_factory=set)
