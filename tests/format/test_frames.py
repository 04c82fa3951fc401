"""Frames: many small objects in one body, however its bytes arrive."""

from __future__ import annotations

import io
import random
from typing import BinaryIO, cast

import pytest

from datapkg.errors import InvalidInput, QuotaExceeded
from datapkg.format.frames import FRAME_HEAD_BYTES, READ_BYTES, encode_frames, read_frames
from datapkg.format.hashing import hash_bytes

SIZES = (0, 1, 39, 40, 41, 10_000, READ_BYTES - FRAME_HEAD_BYTES, READ_BYTES, 3 * READ_BYTES + 1, 0)
OBJECTS = [(hash_bytes(data), data) for data in (bytes([number]) * size for number, size in enumerate(SIZES))]
BODY = b"".join(encode_frames(OBJECTS))


class Pieces(io.RawIOBase):
    """A body that arrives in pieces of at most `longest` bytes."""

    def __init__(self, body: bytes, longest: int) -> None:
        self._body, self._longest, self._random = io.BytesIO(body), longest, random.Random(longest)

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        return self._body.read(min(size, self._random.randint(1, self._longest)))


@pytest.mark.parametrize("longest", [3, 41, 5_000, READ_BYTES, 1 << 20])
def test_frames_are_the_objects_whatever_the_pieces(longest: int) -> None:
    assert list(read_frames(cast(BinaryIO, Pieces(BODY, longest)))) == OBJECTS


def test_truncated_bodies_are_invalid_wherever_they_end() -> None:
    ends, at = set[int](), 0
    for _, data in OBJECTS:
        ends.add(at)
        at += FRAME_HEAD_BYTES + len(data)
    for stop in {*range(300), *(end + more for end in ends for more in (-1, 1, 39, 40, 41)), len(BODY) - 1}:
        if 0 <= stop < len(BODY) and stop not in ends:
            whole = [end for end in ends if end <= stop]
            found = []
            with pytest.raises(InvalidInput, match="bytes too early"):
                for each in read_frames(io.BytesIO(BODY[:stop])):
                    found.append(each)
            assert found == OBJECTS[: len(whole) - 1]
    assert list(read_frames(io.BytesIO())) == []


def test_the_missing_bytes_are_counted() -> None:
    body = b"".join(encode_frames([OBJECTS[5]]))
    for stop, lacking in ((FRAME_HEAD_BYTES, 10_000), (len(body) - 1, 1), (30, 10)):
        with pytest.raises(InvalidInput, match=rf"ends {lacking:,} bytes too early"):
            list(read_frames(io.BytesIO(body[:stop])))


def test_an_object_that_is_too_large_is_refused_before_it_is_read() -> None:
    head = bytes(32) + (101).to_bytes(8, "little")
    body = io.BytesIO(head + b"x" * READ_BYTES * 4)
    with pytest.raises(QuotaExceeded, match="101 bytes"):
        next(read_frames(body, max_bytes=100))
    assert body.tell() <= READ_BYTES
