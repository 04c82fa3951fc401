"""Chunk maps depend only on the bytes, and edits change only nearby chunks; also the deltas based on them."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.errors import InvalidInput, QuotaExceeded
from datapkg.format.chunks import (
    MAX_BYTES,
    MIN_BYTES,
    Chunk,
    Gap,
    Step,
    chunks_of_lines,
    decode_chunks,
    encode_chunks,
    gaps,
    line_offsets,
    refined,
)
from datapkg.format.manifest.delta import HEAD_BYTES, DeltaStream, encode_delta, steps_over
from tests.examples import examples

GOLDEN = "38bc635fb1ff6c42161f780f540d79d54134c85649797ab131338b2252126f21"
LINE = b'{"file_name":"%d.jpg","hash":"%s","kind":"file","path":"raw/%08d.jpg","size":%d}\n'


def lines(count: int, seed: int = 1) -> list[bytes]:
    """Return lines like those of a manifest of many files."""
    return [LINE % (n, hashlib.sha256(b"%d %d" % (seed, n)).hexdigest().encode(), n, n) for n in range(count)]


def cut(data: bytes) -> list[Chunk]:
    return chunks_of_lines(data, line_offsets(data))


def test_chunk_map_equals_the_golden_one() -> None:
    chunks = cut(b"".join(lines(10_000)))
    assert len(chunks) == 18
    assert [chunk.stop for chunk in chunks[:4]] == [134_923, 329_527, 345_986, 380_716]
    assert hashlib.sha256(encode_chunks(chunks)).hexdigest() == GOLDEN


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"a\n", b"a\nb\n" * 30_000, b"x" * 700_000 + b"\n", b"y\n" + b"x" * 700_000 + b"\n"]
)
def test_any_lines_are_chunked(data: bytes) -> None:
    chunks = cut(data)
    assert b"".join(data[chunk.start : chunk.stop] for chunk in chunks) == data
    assert all(data[: chunk.stop].endswith(b"\n") for chunk in chunks)
    assert all(chunk.digest == hashlib.sha256(data[chunk.start : chunk.stop]).digest() for chunk in chunks)
    assert all(chunk.stop - chunk.start >= MIN_BYTES for chunk in chunks[:-1])
    longest = max(map(len, data.splitlines(keepends=True)), default=0)
    assert all(chunk.stop - chunk.start <= max(MAX_BYTES, longest + MIN_BYTES) for chunk in chunks)


def test_average_chunk_size_does_not_depend_on_the_lines() -> None:
    for width in (20, 200, 5_000):
        rng = random.Random(width)
        data = b"".join(rng.randbytes(width // 2).hex().encode() + b"\n" for _ in range(4_000_000 // width))
        assert 50_000 < len(data) / len(cut(data)) < 110_000


@pytest.mark.parametrize("seed", range(5))
def test_edit_changes_only_the_chunks_around_it(seed: int) -> None:
    rng, old = random.Random(seed), lines(30_000)
    new = list(old)
    for _ in range(3):
        at = rng.randrange(len(new))
        new[at : at + rng.randrange(2)] = rng.sample(lines(50, seed=2), rng.randrange(3))
    one, other = b"".join(old), b"".join(new)
    before, after = cut(one), cut(other)
    known = {chunk.digest for chunk in before}
    assert sum(chunk.digest not in known for chunk in after) <= 9
    found = between(one, other)
    assert sum(gap.stop - gap.start for gap in found) < 1_000
    assert rebuilt(one, other, found) == other


def between(one: bytes, other: bytes) -> list[Gap]:
    return [part for gap in gaps(cut(one), cut(other)) for part in refined(gap, memoryview(one), memoryview(other))]


def rebuilt(old: bytes, new: bytes, found: list[Gap]) -> bytes:
    name = hashlib.sha256(old).hexdigest()
    body = b"".join(encode_delta(steps_over(found, name, len(old)), memoryview(new)))
    return DeltaStream(io.BytesIO(body), source_of({name: old}), 1 << 30).read()


def source_of(objects: dict[str, bytes]) -> Callable[[str, int, int], BinaryIO]:
    return lambda hash, start, stop: io.BytesIO(objects[hash][start:stop])


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.data())
def test_all_differences_are_in_the_gaps(data: st.DataObject) -> None:
    pool = lines(4_000) + lines(2_000, seed=3)
    pick = st.tuples(st.integers(0, len(pool) - 1), st.integers(0, 3_000))
    parts = st.lists(pick, max_size=6)
    one, other = (b"".join(b"".join(pool[a : a + n]) for a, n in data.draw(parts)) for _ in range(2))
    found = between(one, other)
    assert rebuilt(one, other, found) == other
    for gap in found:
        for side, start, stop in ((one, gap.old_start, gap.old_stop), (other, gap.start, gap.stop)):
            assert all(at == 0 or side[at - 1 : at] == b"\n" for at in (start, stop))
    if one == other:
        assert found == []


def test_chunk_map_round_trips() -> None:
    chunks = cut(b"".join(lines(3_000)))
    assert decode_chunks(encode_chunks(chunks)) == chunks
    assert decode_chunks(b"") == []


@pytest.mark.parametrize("data", [b"x", bytes(36), bytes(35) + b"\1" + bytes(36)])
def test_invalid_chunk_map_is_rejected(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_chunks(data)


@pytest.mark.parametrize("cut_at", [1, HEAD_BYTES - 1, HEAD_BYTES + 1, 2 * HEAD_BYTES + 1])
def test_truncated_delta_is_rejected(cut_at: int) -> None:
    steps = [Step(None, 0, 2), Step("a" * 64, 1, 3)]
    body = b"".join(encode_delta(steps, memoryview(b"xy")))
    objects = source_of({"a" * 64: b"0123"})
    assert DeltaStream(io.BytesIO(body), objects, 5).read() == b"xy123"
    with pytest.raises(InvalidInput, match="too early"):
        DeltaStream(io.BytesIO(body[:cut_at]), objects, 5).read()


def test_size_of_a_delta_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    step = b"".join(encode_delta([Step("a" * 64, 0, 1 << 62)], memoryview(b"")))
    with pytest.raises(QuotaExceeded, match="1,000 bytes"):
        DeltaStream(io.BytesIO(step), source_of({}), 1000).read()
    monkeypatch.setattr("datapkg.format.manifest.delta.MAX_STEPS", 3)
    many = b"".join(encode_delta([Step(None, 0, 1)] * 4, memoryview(b"x")))
    with pytest.raises(QuotaExceeded, match="3 steps"):
        DeltaStream(io.BytesIO(many), source_of({}), 1000).read()
    empty = b"".join(encode_delta([Step("a" * 64, 0, 0)], memoryview(b"")))
    with pytest.raises(InvalidInput, match="a step without bytes"):
        DeltaStream(io.BytesIO(empty), source_of({}), 1000).read()
