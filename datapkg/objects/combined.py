"""Objects in several homes; each home is asked only for its own."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from datapkg.objects.base import Readable

if TYPE_CHECKING:
    from datapkg.format.chunks import Chunk


class CombinedObjects(Readable):
    """Homes, each with the hashes of what it holds, and one for the rest; each is opened when it is first asked."""

    def __init__(
        self, homes: Sequence[tuple[Container[str], Callable[[], Readable]]], rest: Callable[[], Readable]
    ) -> None:
        self._homes = [*(holds for holds, _ in homes)]
        self._open = [*(make for _, make in homes), rest]
        self._opened: dict[int, Readable] = {}

    def missing(self, hashes: Iterable[str]) -> set[str]:
        return {hash for at, some in self._parted(hashes).items() for hash in self._home(at).missing(some)}

    def size(self, hash: str) -> int:
        return self._home(self._at(hash)).size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._home(self._at(hash)).open(hash, start, stop)

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        return self._home(self._at(hash)).chunks(hash, size)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for at, some in self._parted(hashes).items():
            yield from self._home(at).read_many(some)

    def _at(self, hash: str) -> int:
        return next((at for at, holds in enumerate(self._homes) if hash in holds), len(self._homes))

    def _home(self, at: int) -> Readable:
        if at not in self._opened:
            self._opened[at] = self._open[at]()
        return self._opened[at]

    def _parted(self, hashes: Iterable[str]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for hash in hashes:
            found.setdefault(self._at(hash), []).append(hash)
        return found
