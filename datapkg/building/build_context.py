"""The context shared by all node builders: objects, the previous state, the cache, and secrets."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from datapkg.building.cache import BuildCache, TransformResult
from datapkg.building.sources.base import Identity, SourceContext
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.format.manifest.parsed import Block, Manifest, Node, TableNode
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.store.verified_content import VerifiedContent

# From this size on, sources are hashed while they are parsed, and the blocks of a text table are cached by byte range.
BIG_BYTES = 16 << 20


class PreviousState:
    """The state a build starts from; used to find stored objects of equal content and to tell whether a node changed.

    A table that was not written on this machine is reused only after its content was recomputed. A table whose content
    differs from its manifest is never reused; `warnings` lists such tables.
    """

    def __init__(self, manifest: Manifest | None, objects: Objects, claims: VerifiedContent | None = None) -> None:
        self.warnings: list[str] = []
        self._manifest, self._objects, self._claims = manifest, objects, claims or VerifiedContent()
        tables = [node for node in manifest.entries() if isinstance(node, TableNode)] if manifest else []
        absent = objects.missing({hash for node in tables for hash, _ in node.objects()})
        whole = [node for node in tables if not any(hash in absent for hash, _ in node.objects())]
        # Reversed, so that of several tables with equal content the first one is kept.
        self._tables = {node.content: node for node in reversed(whole)}
        self._at = {node.path: node for node in whole}
        self._paths: list[str] | None = None

    def table(self, path: str) -> TableNode | None:
        """Return the table at this path, or None if there was none or its objects are missing."""
        return self._at.get(path)

    def tables_below(self, path: str) -> list[TableNode]:
        """Return the tables at a path and below it."""
        if self._paths is None:
            self._paths = sorted(self._at)
        # "0" follows the slash.
        low, high = (bisect_left(self._paths, f"{path}{mark}") for mark in "/0")
        here = [self._at[path]] if path in self._at else []
        return [*here, *(self._at[each] for each in self._paths[low:high])]

    def blocks(self, path: str, content: str, own: list[Block] | None = None) -> list[Block] | None:
        """Return the blocks of a table with this content, preferably of the one at this path; None if there is none.

        Blocks equal to the caller's `own`, which are known to have this content, are not verified.
        """
        for before in self._holding(path, content):
            if before.blocks == own or self._is_right(before):
                return before.blocks
        return None

    def _holding(self, path: str, content: str) -> Iterator[TableNode]:
        """Yield the tables whose manifest states this content, the one at the path first."""
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
        """Return whether a node has the same objects as the previous one at its path or a table of equal content."""
        if isinstance(node, TableNode):
            return self.blocks(node.path, node.content, node.blocks) == node.blocks
        before = self._manifest.get(node.path) if self._manifest else None
        return before is not None and list(before.objects()) == list(node.objects())


@dataclass(frozen=True)
class HashedResult:
    """The hash of a file, what its bytes became, and whether the file alone determined that."""

    hash: str
    result: TransformResult
    own: bool


class TaskRunner(Protocol):
    """What runs transforms elsewhere than in this process; up to `slots` threads may call it at once.

    Its methods return what `node_builder` does here, and raise the same errors. The objects of a result are in the
    objects of the context. What `takes` has to know is known at once; all else may wait until a runner has begun.
    """

    @property
    def slots(self) -> int:
        """How many calls may wait at once."""

    def takes(self, spec: NodeSpec, size: int | None) -> bool:
        """Return whether a source of about `size` bytes (None if that is not known) is read elsewhere."""

    def read_source(
        self, spec: NodeSpec, source: FileSource, status: os.stat_result, hash: str, context: BuildContext
    ) -> HashedResult:
        """Read a file that had this `status`, and hash it if its `hash` is ""; raise `BuildFailed` if it changed."""

    def read_value(self, spec: NodeSpec, identity: Identity, context: BuildContext) -> tuple[TransformResult, bool]:
        """Read a source that is not one file."""


@dataclass
class BuildContext(SourceContext):
    """The context of node builders; `absent` holds objects that the cache refers to and that are missing here.

    Without a `runner`, all sources are read in this process.
    """

    cache: BuildCache
    previous: PreviousState
    absent: set[str] = field(default_factory=set)
    runner: TaskRunner | None = None
