"""The contract of sources: the questions that a build asks of each kind, and the context for reading it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.names import Ref
from datapkg.objects.base import Objects, Readable
from datapkg.objects.progress import Progress, silent

S = TypeVar("S")
Secret = Callable[[str], str]
FindPackage = Callable[[Ref], tuple[Manifest, Readable]]


class KnownHashes(Protocol):
    """The hashes of local files, valid while their stats do not change."""

    def hash_of(self, path: Path) -> tuple[str, int] | None:
        """Return hash and size of a file that has not changed since it was hashed, else None."""

    def record_hash(self, path: Path, status: Any, at: int, hash: str) -> None:
        """Record the hash of a file whose `status` was taken after the time `at`, in ns."""


@dataclass
class SourceContext:
    """What a source may use while it is read; `secret` returns the value of an environment variable."""

    objects: Objects
    cache: KnownHashes
    secret: Secret
    find_package: FindPackage
    progress: Progress = field(default=silent, kw_only=True)


@dataclass(frozen=True)
class Identity:
    """The state of a source before it is read: `record` goes into the build record.

    Equal keys give equal values, so that the result is cached under `key`; "" means that the source is read at every
    build. `name` is the part of the cache key that stands for a file name. The reasons are those of `BuiltNodes.why`.
    """

    record: dict[str, Any]
    key: str = ""
    name: str = ""
    why_known: str = "unchanged"
    why_read: str = "read"


@dataclass(frozen=True)
class TakenNodes:
    """Nodes that already exist in another package, at their new paths, and the record's entry for that package."""

    nodes: list[Node]
    pin: dict[str, Any]


class SourceHandler(ABC, Generic[S]):
    """One kind of source; a new kind is a file with a handler and a line in `handlers.HANDLERS`.

    A kind whose sources are local files when nodes are built answers by `local_file`; the others by `identity` and
    `read`.
    """

    def local_file(self, source: S) -> FileSource | None:
        """Return the local file that the source consists of; None for other sources."""
        return None

    def local_files(self, source: S) -> Sequence[FileSource]:
        """Return the local files that the source consists of."""
        file = self.local_file(source)
        return [] if file is None else [file]

    def hash_now(self, source: S, cache: KnownHashes) -> str | None:
        """Return the hash that a build would record, or None if only a build can tell.

        Raise `BuildFailed` for a file that cannot be read.
        """
        return None

    def code(self, source: S) -> str:
        """Describe the code or query that a build runs for the source; "" for data that is only read."""
        return ""

    def identity(self, spec: NodeSpec, source: S, context: SourceContext) -> Identity:
        """Return the current state of the source, reading as little as possible."""
        return Identity({"path": spec.path})

    def read(
        self, spec: NodeSpec, source: S, context: SourceContext, identity: Identity
    ) -> AbstractContextManager[tuple[Any, list[str]]]:
        """Return a context with the value and a list of warnings, which is complete when the context is left.

        The value is what `NodeWriter` stores, or `TakenNodes`. Errors that storing it raises pass through the context.
        """
        raise NotImplementedError(f"{type(source).__name__} is read as a local file")
