"""Extract the members of archives that a build file names into the download cache, in one pass over each archive."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from datapkg.building.sources.archives import ByteStream, Member, member_problem, members
from datapkg.building.sources.download_cache import DownloadCache, FetchedFile
from datapkg.building.sources.file import open_source
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.globs import is_glob
from datapkg.errors import BuildFailed
from datapkg.format.patterns import matcher
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted
from datapkg.objects.progress import EXTRACTING, CountedReader, PartCounter, Progress, silent

# Increase when the same pattern would extract other members from the same archive.
FORMAT = 1
_NAMES_KEPT = 2_000  # to suggest one if a pattern matches nothing


@dataclass(frozen=True)
class Extracted:
    """An extracted member: the names in its path, its hash, and the path of the extracted file."""

    parts: tuple[str, ...]
    hash: str
    path: Path


def extract_members(
    archive: FetchedFile,
    patterns: Iterable[str],
    downloads: DownloadCache,
    limit_bytes: int,
    progress: Progress = silent,
) -> dict[str, list[Extracted]]:
    """Return the members that match each pattern, ordered by name.

    Members that were extracted from the same bytes before are not read again. Raise `BuildFailed` if a pattern matches
    nothing, or a member that cannot be extracted.
    """
    asked = list(dict.fromkeys(patterns))
    found = _known(archive, asked, downloads)
    extraction = _Extraction(archive, [each for each in asked if each not in found], downloads, limit_bytes)
    if extraction.patterns:
        with open_source(archive.path, archive.shown) as stream:
            size = os.fstat(stream.fileno()).st_size
            share = PartCounter(progress, [size], (EXTRACTING, EXTRACTING)).share(0)
            counted = cast(BinaryIO, CountedReader(stream, size, share))
            for member, body in members(counted, archive.shown):
                extraction.see(member, body)
        extraction.finish()
        _remember(archive, extraction.taken, downloads)
    return {**found, **extraction.taken}


class _Extraction:
    """One pass over an archive, for the patterns whose members are not cached."""

    def __init__(self, archive: FetchedFile, patterns: list[str], downloads: DownloadCache, limit_bytes: int) -> None:
        self._archive, self._downloads, self._limit_bytes = archive, downloads, limit_bytes
        self.patterns = {each: _wanted(each) for each in patterns}
        self.taken: dict[str, list[Extracted]] = {each: [] for each in patterns}
        self._names: list[str] = []

    def see(self, member: Member, body: ByteStream | None) -> None:
        """Extract a member, once for all patterns that match it."""
        parts = member.parts
        if len(self._names) < _NAMES_KEPT and member.kind == "file":
            self._names.append("/".join(parts))
        asking = [each for each, wants in self.patterns.items() if wants(member)]
        if not asking:
            return
        problem = member_problem(member) or name_problem(parts)
        if problem or body is None:
            raise self._failure(member, problem)
        if any(parts == each.parts for pattern in asking for each in self.taken[pattern]):
            raise self._failure(member, "it is in there twice")
        try:
            hash, path = self._downloads.put(body, parts[-1], self._limit_bytes)
        except OverflowError:
            bound = f"it has more than {self._limit_bytes:,} bytes, the bound that max_source_bytes sets"
            raise self._failure(member, bound) from None
        for pattern in asking:
            self.taken[pattern].append(Extracted(parts, hash, path))

    def finish(self) -> None:
        """Sort what was extracted; raise `BuildFailed` for patterns that match nothing."""
        for pattern, taken in self.taken.items():
            taken.sort(key=lambda each: each.parts)
            if not taken:
                hint = suggestion(pattern, self._names)
                raise BuildFailed(f"{quoted(self._archive.shown)} has no member {quoted(pattern)}{hint}")

    def _failure(self, member: Member, problem: str) -> BuildFailed:
        return BuildFailed(
            f"{quoted(self._archive.shown)}: member {quoted(member.name)} cannot be extracted: {problem}"
        )


def _wanted(pattern: str) -> Callable[[Member], bool]:
    """Return the predicate of a pattern: a whole path, or a glob, which does not match folders and hidden files."""
    if not is_glob(pattern):
        name = tuple(unicodedata.normalize("NFC", pattern).removeprefix("./").split("/"))
        return lambda member: member.parts == name
    matches = matcher(pattern)
    return lambda member: member.kind != "folder" and not _is_hidden(member.parts) and matches(member.parts)


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") and part.strip(".") and "\\" not in part for part in parts)


def _known(archive: FetchedFile, patterns: list[str], downloads: DownloadCache) -> dict[str, list[Extracted]]:
    """Return the cached members of this archive for patterns whose members are all still in the download cache."""
    keys = {_key(archive, pattern): pattern for pattern in patterns}
    found = {}
    for key, data in downloads.index.get_many(keys).items():
        taken = _decoded(data, downloads)
        if taken:
            found[keys[key]] = taken
    return found


def _decoded(data: bytes, downloads: DownloadCache) -> list[Extracted] | None:
    try:
        rows = [(tuple(parts), hash) for parts, hash in json.loads(data)]
        # Cached paths are data of the index and are validated again before they are used.
        if any(name_problem(parts) for parts, _ in rows):
            return None
        paths = [downloads.find(hash, parts[-1]) for parts, hash in rows]
    except (ValueError, TypeError, AttributeError, IndexError):
        return None
    taken = [Extracted(parts, hash, path) for (parts, hash), path in zip(rows, paths, strict=True) if path is not None]
    return taken if len(taken) == len(rows) else None


def _remember(archive: FetchedFile, taken: dict[str, list[Extracted]], downloads: DownloadCache) -> None:
    downloads.index.put_many(
        {
            _key(archive, pattern): json.dumps([[each.parts, each.hash] for each in found]).encode()
            for pattern, found in taken.items()
        }
    )


def _key(archive: FetchedFile, pattern: str) -> str:
    return f"members:{FORMAT}:{archive.hash}:{hashlib.sha256(pattern.encode()).hexdigest()}"
