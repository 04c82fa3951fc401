"""The draft: nodes, metadata and record of a package while they are changed, before they become a new state."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec

from datapkg.api.drafts.carried_checks import CheckedState
from datapkg.api.drafts.policy import CommitOptions, CommitPolicy
from datapkg.api.drafts.rebase import ancestors
from datapkg.api.push_result import PushResult
from datapkg.errors import Conflict, InvalidInput, NodeNotFound
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import GroupNode, Manifest, TableNode
from datapkg.format.names import Ref, check_node_path
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.objects.base import Objects
from datapkg.objects.deltas import PlannedTransfer
from datapkg.reading.source import Remote, Source


def group_path(text: str) -> str:
    """Return the path of a group as typed, without a trailing slash; "" is the package. Raise `InvalidName`."""
    # Names in manifests are NFC, and what is typed may not be (macOS decomposes file names).
    path = unicodedata.normalize("NFC", text).removesuffix("/")
    if path:
        check_node_path(path)
    return path


class DraftState:
    """A package that is being changed, starting from the state `base` (None for a new package).

    Commands change `nodes`, `meta`, `record` and `checks`; `sources` are the states that hold the objects of its nodes,
    `parent` is the registry's latest state, which a push must follow. The commit sets `hash`, `pushed` and `transfer`.
    """

    def __init__(self, home: Home, ref: Ref, options: CommitOptions, policy: CommitPolicy = CommitPolicy()) -> None:  # noqa: B008 - it is frozen
        if ref.state is not None or ref.path:
            raise InvalidInput(f"{ref} names more than a package", hint=f"name the package alone: {ref.package}")
        self.home, self.ref, self.options, self.policy = home, ref, options, policy
        self.base: Manifest | None = None
        self.parent: str | None = None
        self.nodes = ManifestEdit()
        self.meta: dict[str, Any] = {}
        self.record: dict[str, Any] = {"origin": options.origin, "sources": []}
        self.checks = CheckedState(home, ref, options.registry)
        self.objects: Objects = home.store.objects
        self.sources: list[Source] = []
        self.warnings: list[str] = []
        self.message = options.message
        self.is_open = False
        self.pushed: PushResult | None = None
        self.transfer: PlannedTransfer | None = None
        self.hash = ""

    def source(self, manifest: Manifest | None) -> Source:
        """Return the source that reads a state of the package, here or at its registry."""
        hash = manifest.hash if manifest else ""
        return Source(self.home.store, self.ref, hash, Remote(self.home, self.options.registry))

    def warn(self, *lines: str) -> None:
        """Add warnings, each only once."""
        self.warnings = list(dict.fromkeys([*self.warnings, *lines]))

    def is_right(self, table: TableNode, state: Manifest | None = None) -> bool:
        """Return whether a table of a state, by default the base, matches its manifest; add a warning if not."""
        state = state or self.base
        assert state is not None
        if problem := self.source(state).claim_problem(table):
            self.warn(f"{quoted(table.path)} at the registry was not reused: {problem}")
        return not problem

    def paths_at(self, path: str) -> list[str]:
        """Return the paths of a node and of all nodes below it; raise `NodeNotFound`."""
        self.check_open()
        found = [*([path] if path in self.nodes else []), *self.nodes.below(path)]
        if not found:
            line = f"{self.ref.package} has no node {quoted(path)}"
            if near := close_names(path, list(self.nodes), cutoff=0.7)[:1]:
                raise NodeNotFound(f"{line}; did you mean {quoted(near[0])}?", path=path, meant=[path, near[0]])
            raise NodeNotFound(line, hint=f"datapkg show {self.ref.package}", path=path)
        return found

    def free_path(self, path: str) -> str:
        """Return a path, normalized, at which a node can be added; raise `InvalidInput` below a file or table."""
        self.check_open()
        if not isinstance(path, str):
            raise InvalidInput(f"the path of a node is text such as raw/a, got {type(path).__name__}")
        path = unicodedata.normalize("NFC", path)
        check_node_path(path)
        if problem := self.blocked(path):
            raise InvalidInput(problem)
        return path

    def blocked(self, path: str) -> str:
        """Return why no node can be added at a path, a node above it that is not a group; "" if it can."""
        for above in ancestors(path):
            node = self.nodes.get(above)
            if node is not None and not isinstance(node, GroupNode):
                return f"{quoted(path)} would lie in {quoted(above)}, which is a {node.kind}"
        return ""

    def remove(self, path: str) -> None:
        """Remove a node, or a group with everything in it; raise `NodeNotFound`."""
        for each in self.paths_at(path):
            del self.nodes[each]

    def move(self, old: str, new: str) -> None:
        """Move a node or group to another path; raise `NodeNotFound`, and `Conflict` if the path is taken."""
        moved = self.paths_at(old)
        new = self.free_path(new)
        if new in self.nodes or any(self.nodes.below(new)) or new.startswith(f"{old}/"):
            raise Conflict(
                f"{quoted(old)} cannot become {quoted(new)}: something is there already, or it lies in itself"
            )
        nodes = {each: self.nodes.pop(each) for each in moved}
        for each, node in nodes.items():
            path = new + each[len(old) :]
            self.nodes[path] = msgspec.structs.replace(node, path=path)
        self.checks.move(old, new)

    def check_open(self) -> None:
        """Raise `InvalidInput` outside of the `with` block."""
        if not self.is_open:
            raise InvalidInput("a draft is changed inside of its `with` block")
