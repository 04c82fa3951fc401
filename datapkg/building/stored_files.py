"""Files that are stored unchanged, of which there may be a million: the node of each is made when it is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, cast, overload

from datapkg.building.node_builder import StoredFile, file_node, source_record
from datapkg.building.record import with_recorded_kwargs
from datapkg.building.sources.handlers import local_file
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.format.manifest.parsed import FileNode

_T = TypeVar("_T")
_DIGEST_BYTES = 32


class StoredFiles:
    """Hashes and sizes of files, in 48 bytes each, from which nodes and entries of the record are made."""

    def __init__(self) -> None:
        self._specs: list[NodeSpec] = []
        self._digests, self._sizes = bytearray(), array("Q")

    def add(self, spec: NodeSpec, stored: StoredFile) -> FileNode:
        """Add a file, and return its node."""
        self._specs.append(spec)
        self._digests += stored.digest
        self._sizes.append(stored.size)
        return file_node(spec, cast(FileSource, local_file(spec.source)), stored.digest.hex(), stored.size)

    def nodes(self) -> Iterator[FileNode]:
        """Yield the node of each file."""
        return (file_node(*each) for each in self._each())

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the entry of each file in the record."""
        return (with_recorded_kwargs(source_record(*each)) for each in self._each())

    def _each(self) -> Iterator[tuple[NodeSpec, FileSource, str, int]]:
        for number, (spec, size) in enumerate(zip(self._specs, self._sizes, strict=True)):
            digest = self._digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]
            yield spec, cast(FileSource, local_file(spec.source)), digest.hex(), size


class WithStored(Sequence[_T]):
    """A list with None for each element of a stored file, which is made again whenever it is iterated over."""

    def __init__(self, own: list[_T | None], stored: Callable[[], Iterator[_T]]) -> None:
        self._own, self._stored = own, stored

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[_T]:
        stored = self._stored()
        return (next(stored) if each is None else each for each in self._own)

    @overload
    def __getitem__(self, at: int) -> _T: ...
    @overload
    def __getitem__(self, at: slice) -> list[_T]: ...
    def __getitem__(self, at: int | slice) -> _T | list[_T]:
        if isinstance(at, slice):
            return list(self)[at]
        return next(islice(self, range(len(self))[at], None))
