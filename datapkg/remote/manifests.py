"""Fetch a long manifest from a registry: only the chunks that an earlier one, which is here, lacks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import IO

from datapkg.errors import Unreachable
from datapkg.format.chunks import Chunk, decode_chunks, max_map_bytes
from datapkg.format.hashing import check_file
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.mapped_pages import give_back
from datapkg.remote.session import RegistrySession

IDENTITY = {"Accept-Encoding": "identity"}
MAX_MANIFEST_BYTES = 2 << 30
MAX_MAP_BYTES = 16 << 20
NEAR_BYTES = 32 << 10
"""Ranges nearer to each other than this are fetched as one."""
MAX_RANGES = 256  # with more, the whole manifest is fetched in one request


def fetch_by_chunks(
    session: RegistrySession,
    path: str,
    chunks_path: str,
    hash: str,
    older: MappedManifest,
    limit: int,
    file: IO[bytes],
) -> None:
    """Write a manifest of at most `limit` bytes to a file, with the right hash; what the older one has does not travel.

    Raise one of our errors where it is better to fetch the whole: for a registry without chunk maps, for one
    whose answers do not make up the manifest, and where most of it is new.
    """
    with session.request("GET", chunks_path, headers=IDENTITY) as response:
        chunks = decode_chunks(session.body(response, min(MAX_MAP_BYTES, max_map_bytes(limit))))
    size = chunks[-1].stop if chunks else 0
    # By size too: a map of short chunks, each with the hash of a long one that is here, would fill the disk.
    known = {_key(chunk): chunk for chunk in older.chunks}
    ranges = _ranges([chunk for chunk in chunks if _key(chunk) not in known])
    if not 0 < size <= limit or len(ranges) > MAX_RANGES or 2 * _total(ranges) > size:
        raise Unreachable(f"{session.url} has little of the manifest {hash} in chunks that are here")
    here, at = older.view, 0
    for chunk in chunks:
        if chunk.start < at:  # it came with the one before
            continue
        if before := known.get(_key(chunk)):
            file.write(here[before.start : before.stop])
            give_back(here, before.start, before.stop)
            continue
        start, at = ranges.pop(0)
        file.write(session.retried(partial(_fetch, session, path, start, at)))
    check_file(file, hash, "manifest")


def _key(chunk: Chunk) -> tuple[bytes, int]:
    return chunk.digest, chunk.stop - chunk.start


def _ranges(lacking: Sequence[Chunk]) -> list[tuple[int, int]]:
    """Return the ranges of these chunks, near ones joined."""
    ranges: list[tuple[int, int]] = []
    for chunk in lacking:
        if ranges and chunk.start - ranges[-1][1] <= NEAR_BYTES:
            ranges[-1] = (ranges[-1][0], chunk.stop)
        else:
            ranges.append((chunk.start, chunk.stop))
    return ranges


def _total(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in ranges)


def _fetch(session: RegistrySession, path: str, start: int, stop: int) -> bytes:
    headers = {**IDENTITY, "Range": f"bytes={start}-{stop - 1}"}
    with session.request("GET", path, headers=headers) as response:
        given = response.headers.get("Content-Range", "")
        if response.status_code != 206 or not given.startswith(f"bytes {start}-{stop - 1}/"):
            raise Unreachable(f"{session.url} answered a request for a part with another one: {given[:80]!r}")
        data = session.body(response, stop - start)
    if len(data) != stop - start:
        raise Unreachable(f"{session.url} broke off", again=True)
    return data
