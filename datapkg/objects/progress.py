"""How long work reports how much of it is done: a function that the caller gives, and the words to show that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from datapkg.format.texts import size_text

Progress = Callable[[str, int, int], None]
"""Called with what is done ("building"), how many bytes or nodes of it are done, and how many there are in all."""
Share = Callable[[float], None]
"""Called with how much of one thing is done, from 0 to 1; a smaller share than before changes nothing.

`AGAIN` means that it begins again.
"""
AGAIN = -1.0

TRANSFERRING = "transferring"
DOWNLOADING = "downloading"
EXTRACTING = "extracting"
QUERYING = "querying"
BUILDING = "building"
CHECKING = "checking"
EXPORTING = "exporting"
VERIFYING = "verifying"
VERIFYING_VALUES = "verifying values"
IN_BYTES = frozenset(
    {TRANSFERRING, DOWNLOADING, EXTRACTING, QUERYING, BUILDING, CHECKING, EXPORTING, VERIFYING, VERIFYING_VALUES}
)
"""Work that is counted in bytes; all other work is counted in nodes, tables or files."""
BUILDING_NODES, EXPORTING_FILES = "building nodes", "exporting files"
_NODE = 1000


class Counter:
    """A progress of bytes that arrive in several threads."""

    def __init__(self, progress: Progress, total: int, what: str = TRANSFERRING) -> None:
        self._progress, self._total, self._what, self._done = progress, total, what, 0
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        """Report that so many bytes more are done."""
        with self._lock:
            self._done += size_bytes
            self._progress(self._what, self._done, self._total)


class SumOfProgress:
    """One progress of several pieces of work at once, whose sizes become known while they run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._parts: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def part(self, moved: Callable[[int], None]) -> Progress:
        """Return the progress of one more piece of work; `moved` is called with what each report adds."""
        with self._lock:
            number = len(self._parts)
            self._parts.append((0, 0))

        def report(what: str, done: int, total: int) -> None:
            with self._lock:
                before, _ = self._parts[number]
                self._parts[number] = (done, total)
                self._progress(what, *map(sum, zip(*self._parts, strict=True)))
            moved(done - before)

        return report


class PartCounter:
    """A progress of several things, each of which reports its share: of their bytes, or of their number.

    It counts bytes if the sizes of all are known. Thread-safe.
    """

    def __init__(self, progress: Progress, sizes: Sequence[int | None], names: tuple[str, str]) -> None:
        known = [size for size in sizes if size is not None]
        self._weights = known if len(known) == len(sizes) and any(known) else [_NODE] * len(sizes)
        self._counter = Counter(progress, sum(self._weights), names[self._weights is not known])
        self._done = [0] * len(sizes)
        self._lock = threading.Lock()

    def share(self, number: int) -> Share:
        """Return the function to which one of the things reports."""
        return lambda share: self._set(number, share)

    def _set(self, number: int, share: float) -> None:
        with self._lock:
            more = int(self._weights[number] * max(min(share, 1.0), 0.0)) - self._done[number]
            if more == 0 or (more < 0 and share != AGAIN):
                return
            self._done[number] += more
        self._counter.add(more)


class CountedReader:
    """A binary stream that reports which share of its `size` bytes was read, each byte counted `times`."""

    def __init__(self, stream: BinaryIO, size: int, share: Share) -> None:
        self._stream, self._size, self._share = stream, size, share
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        data = self._stream.read(size)
        self._note(len(data))
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer, and return how many bytes were read."""
        count: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._note(count)
        return count

    def _note(self, count: int) -> None:
        self._done += count
        self._share(self._done / self._size if self._size else 1.0)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class Pace:
    """The last report, and since when the same is done: the rate of one kind of work does not count another's time."""

    def __init__(self) -> None:
        self.last = ("", 0, 0)
        self._since_s, self._first = 0.0, 0

    def note(self, what: str, done: int, total: int, now_s: float) -> None:
        """Take a report; what was done before the first of its kind does not count for the rate."""
        if what != self.last[0] or done < self.last[1]:  # something begins again
            self._since_s, self._first = now_s, done
        self.last = what, done, total

    def text(self, now_s: float) -> str:
        """Return `1.0 GB of 4.0 GB, 45.1 MB/s, 66 s left`; for what is not counted in bytes the time left, or ""."""
        return amount_text(*self.last, now_s - self._since_s, self._first)


def between(share: Share, start: float, stop: float) -> Share:
    """Return the share of a step that is a part of something: from `start` to `stop` of it."""
    return lambda part: share(part if part == AGAIN else start + min(part, 1.0) * (stop - start))


def counted(pieces: Iterable[bytes], size: int, share: Share) -> Iterator[bytes]:
    """Yield pieces of bytes, of which there are about `size`, and report their share."""
    done = 0
    for piece in pieces:
        done += len(piece)
        share(done / size if size else 1.0)
        yield piece


def amount_text(what: str, done: int, total: int, elapsed_s: float, first: int = 0) -> str:
    """Return the text of `Pace`; `first` was done before the time began."""
    rate = (done - first) / max(elapsed_s, 0.001)
    left = [f"{(total - done) / rate:.0f} s left"] if first < done < total else []
    if what not in IN_BYTES:
        return "".join(left)
    size = f"{size_text(done)} of {size_text(total)}" if total > 0 else size_text(done)
    return ", ".join([size, f"{size_text(round(rate))}/s", *left])


def silent(what: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def ignore_share(share: float) -> None:
    """Report a share to nobody."""
