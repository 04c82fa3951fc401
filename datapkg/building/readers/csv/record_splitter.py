"""Split raw text at the ends of records; as in both parsers, a quote counts only at the start of a field."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import numpy as np

# A longer record (or unclosed quoted field) is left to pandas.
LONGEST_RECORD = 64 << 20
_READ = 1 << 20
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


class TextSource(Protocol):
    """Text that is read forward, and that can be reread from the end of the last piece."""

    def at(self, position: int, count: int) -> bytes:
        """Return that many bytes from a position; fewer only at the end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class PlainFile:
    """An uncompressed text file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def at(self, position: int, count: int) -> bytes:
        """Return bytes at a position without moving a file offset, so that several threads may read at once."""
        data = os.pread(self._descriptor, count, position)
        while len(data) < count and (more := os.pread(self._descriptor, count - len(data), position + len(data))):
            data += more
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class PackedFile:
    """A compressed file; the last bytes read are kept, so that the next piece may begin within them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._start, self._held = 0, b""

    def at(self, position: int, count: int) -> bytes:
        """Return bytes from a position, which may not be before the last one."""
        while position > self._start + len(self._held):
            self._start, self._held = self._start + len(self._held), self._stream.read(_READ)
            if not self._held:
                return b""
        self._held = self._held[position - self._start :]
        self._start = position
        parts, wanted = [self._held], count - len(self._held)
        while wanted > 0 and (more := self._stream.read(wanted)):
            parts.append(more)
            wanted -= len(more)
        self._held = b"".join(parts) if len(parts) > 1 else self._held
        return self._held[:count]

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


@dataclass(frozen=True)
class Text:
    """A text file, which `unpack` opens if it is compressed."""

    path: Path
    unpack: Callable[[Path], BinaryIO] | None = None

    def open(self) -> TextSource:
        """Open the text at the beginning."""
        return PlainFile(self.path) if self.unpack is None else PackedFile(self.unpack(self.path))

    def head(self, count: int) -> bytes:
        """Return the first bytes of the text."""
        source = self.open()
        try:
            return source.at(0, count)
        finally:
            source.close()


@dataclass(frozen=True)
class Piece:
    """Whole records of a file as raw bytes; `start` is their position."""

    start: int
    data: bytes

    @property
    def stop(self) -> int:
        """Return the position after the last record."""
        return self.start + len(self.data)


def pieces(source: TextSource, start: int, size: int, separator: bytes) -> Iterator[Piece]:
    """Yield the records from `start` on in pieces of about `size` bytes; a longer record is a piece of its own.

    Raise `UnsupportedByEngine` for a quoted field that is not closed.
    """
    wanted = size
    while data := source.at(start, wanted):
        is_last = len(data) < wanted
        end = record_end(data, separator, is_last)
        if end:
            yield Piece(start, data[:end] if end < len(data) else data)
            start, wanted = start + end, size
        elif is_last or wanted >= LONGEST_RECORD:
            raise UnsupportedByEngine("a quoted field does not end" if is_last else "a record of more than 64 MiB")
        else:
            # No record ends within these bytes: read twice as many.
            wanted *= 2


def record_end(data: bytes, separator: bytes, is_last: bool) -> int:
    """Return the end of the last complete record in data that begins with a record; 0 if none is complete."""
    if b'"' not in data:
        return len(data) if is_last else data.rfind(b"\n") + 1
    opened, closed = inside_quotes(data, separator)
    if is_last and len(opened) == len(closed):
        return len(data)
    return _last_newline(data, opened, closed) + 1


def _last_newline(data: bytes, opened: np.ndarray, closed: np.ndarray) -> int:
    """Return the position of the last newline outside of quotes; -1 if there is none."""
    import numpy as np

    place = data.rfind(b"\n")
    while place >= 0:
        before = int(np.searchsorted(opened, place)) - 1
        if before < 0 or (before < len(closed) and closed[before] < place):
            return place
        place = data.rfind(b"\n", 0, int(opened[before]))
    return -1


def inside_quotes(data: bytes, separator: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return where quoted parts begin and end (the last may be open), in data that begins with a record."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(array == _QUOTE)
    ends_field = np.zeros(256, bool)
    ends_field[[separator[0], _NEWLINE, _RETURN]] = True
    beside = ends_field.copy()
    beside[_QUOTE] = True
    # If quotes alternate strictly, a doubled quote counts as an end and a start, with nothing between them.
    starts, ends = quotes[0::2], quotes[1::2]
    before, after = array.take(starts - 1, mode="wrap"), array.take(ends + 1, mode="clip")
    before[: int(len(starts) > 0 and starts[0] == 0)] = _NEWLINE
    if beside.take(before).all() and beside.take(after).all():
        return starts, ends
    starts_field = ends_field[array[quotes - 1]] | (quotes == 0)
    return _quoted_slowly(quotes.tolist(), starts_field.tolist())


def _quoted_slowly(quotes: list[int], starts_field: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Process one quote after the other, as the parsers do: quotes in the middle of a field are ignored."""
    import numpy as np

    opened: list[int] = []
    closed: list[int] = []
    index = 0
    while index < len(quotes):
        if len(opened) == len(closed):
            if starts_field[index]:
                opened.append(quotes[index])
        elif index + 1 < len(quotes) and quotes[index + 1] == quotes[index] + 1:
            index += 1
        else:
            closed.append(quotes[index])
        index += 1
    return np.array(opened, np.int64), np.array(closed, np.int64)


def row_starts(data: bytes, separator: bytes) -> np.ndarray:
    """Return the positions of the non-blank records in a piece, if every newline outside of quotes ends one."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == _NEWLINE)
    if b'"' in data:
        opened, closed = inside_quotes(data, separator)
        before = np.searchsorted(opened, ends) - 1
        ends = ends[(before < 0) | (np.append(closed, len(data))[before] < ends)]
    if not len(ends) or ends[-1] + 1 < len(data):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (array[np.minimum(starts, len(array) - 1)] == _RETURN))
    return starts[~blank]
