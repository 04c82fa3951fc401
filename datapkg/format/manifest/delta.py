"""Deltas: bytes described as ranges of other objects, with the new bytes between them.

A delta is a sequence of steps: 32 bytes of sha256, 8 bytes of offset, 8 bytes of length (little-endian). A step whose
hash is all zeros is followed by its bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO

from datapkg.errors import InvalidInput, QuotaExceeded
from datapkg.format.chunks import Gap, Step
from datapkg.format.frames import read_exactly

HEAD_BYTES = 48
MAX_STEPS = 100_000
PIECE_BYTES = 1 << 20
_NEW = bytes(32)


def steps_over(gaps: Sequence[Gap], old: str, old_size: int) -> list[Step]:
    """Return the steps that make the new bytes from an older object (hash and size) and the gaps between the two."""
    steps: list[Step] = []
    at = 0
    for gap in [*gaps, Gap(old_size, old_size, 0, 0)]:
        if at < gap.old_start:
            steps.append(Step(old, at, gap.old_start - at))
        if gap.start < gap.stop:
            steps.append(Step(None, gap.start, gap.stop - gap.start))
        at = gap.old_stop
    return steps


def encode_delta(steps: Sequence[Step], new: memoryview) -> Iterator[bytes]:
    """Yield the body that carries a delta of the bytes `new`, in pieces of at most `PIECE_BYTES`."""
    for step in steps:
        source = _NEW if step.source is None else bytes.fromhex(step.source)
        offset = 0 if step.source is None else step.offset
        yield source + offset.to_bytes(8, "little") + step.size.to_bytes(8, "little")
        if step.source is None:
            stop = step.offset + step.size
            for start in range(step.offset, stop, PIECE_BYTES):
                yield bytes(new[start : min(start + PIECE_BYTES, stop)])


class DeltaStream:
    """The bytes that a delta describes, as a stream; `sources` opens a range of an object (hash, start, stop).

    Reading raises `InvalidInput` for a truncated delta or a step without bytes, `QuotaExceeded` for more than
    `max_bytes` or too many steps, and what `sources` raises. The caller verifies the hash of the whole. `steps` are
    those that were read so far.
    """

    def __init__(self, body: BinaryIO, sources: Callable[[str, int, int], BinaryIO], max_bytes: int) -> None:
        self._body = body
        self._sources = sources
        self._stack = ExitStack()
        self._piece: BinaryIO = io.BytesIO()
        self._left = 0
        self.steps: list[Step] = []
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, and at least one before the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._left:
            if not self._next():
                return b""
        data = self._piece.read(min(size, self._left))
        if not data:
            raise InvalidInput(f"the body ends {self._left:,} bytes too early")
        self._left -= len(data)
        return data

    def _next(self) -> bool:
        """Begin the next step; return False at the end."""
        self.close()
        head = read_exactly(self._body, HEAD_BYTES, allow_end=True)
        if not head:
            return False
        offset, self._left = (int.from_bytes(head[at : at + 8], "little") for at in (32, 40))
        if not self._left:  # it would name an object without reading it
            raise InvalidInput("a delta has a step without bytes")
        self.steps.append(Step(None if head[:32] == _NEW else head[:32].hex(), offset, self._left))
        self.size_bytes += self._left
        if len(self.steps) > MAX_STEPS:
            raise QuotaExceeded(f"a delta of more than {MAX_STEPS:,} steps, which is the most allowed")
        if self.size_bytes > self._max_bytes:
            raise QuotaExceeded(
                f"a delta of more than {self._max_bytes:,} bytes, which is the most allowed", limit=self._max_bytes
            )
        if head[:32] == _NEW:
            self._piece = self._body
        else:
            self._piece = self._stack.enter_context(self._sources(head[:32].hex(), offset, offset + self._left))
        return True

    def close(self) -> None:
        """Close the source that was opened last."""
        self._stack.close()
        self._stack = ExitStack()
