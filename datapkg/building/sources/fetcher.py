"""Fetch remote sources and replace them with local files: first downloads, then archive members."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers import TRANSFORMS, node_name
from datapkg.building.sources.download_cache import DownloadCache, FetchedFile
from datapkg.building.sources.download_checks import check_claims, check_page
from datapkg.building.sources.file import hash_source, open_source
from datapkg.building.sources.source_errors import located_errors
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.git_address import is_in_repository, repository_of
from datapkg.building.spec.globs import fixed_prefix, is_glob
from datapkg.building.spec.model import BuildSpec, FileSource, NodeSpec, UrlSource
from datapkg.errors import BuildFailed, HashMismatch
from datapkg.format.hashing import is_hash
from datapkg.format.metadata import COLUMNS_KEY
from datapkg.format.texts import quoted
from datapkg.format.urls import file_name, without_credentials
from datapkg.objects.concurrency import Moved, run_all
from datapkg.objects.progress import Progress, SumOfProgress, silent
from datapkg.store.index import TICK_NS, stamp

if TYPE_CHECKING:
    from datapkg.building.sources.extract import Extracted


_Key = tuple[str, str, str]  # URL, checksum, name


@dataclass(frozen=True)
class Fetcher:
    """The download cache and limits: the bytes of one file, the seconds that a server may send nothing.

    At most `jobs` files are downloaded at once. `environ` is where credentials for buckets are looked for.
    """

    downloads: DownloadCache
    limit_bytes: int
    timeout_s: float
    progress: Progress = silent
    jobs: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checksum:
    """A URL's old checksum ("" if the build file had none) and its current one; the URL without query and user-info."""

    url: str
    old: str
    new: str


@dataclass(frozen=True)
class Fetched:
    """A package to build with all files local; `sums` are the new checksums by full URL, with `update`."""

    spec: BuildSpec
    sums: dict[str, Checksum] = field(default_factory=dict)


def fetch_sources(
    spec: BuildSpec, fetcher: Fetcher, *, update: bool = False, force: bool = False, hint: str = ""
) -> Fetched:
    """Fetch all files of a package; with `update`, each URL is downloaded again and its checksum accepted.

    With `force`, each URL is downloaded again and must match the checksum in the build file. `hint` is the command that
    accepts new checksums. Raise `HashMismatch` that lists all URLs whose checksum differs; `Unreachable`, `NotFound` or
    `BuildFailed` with the place in the build file.
    """
    sources = {node.path: node.source for node in spec.nodes if isinstance(node.source, UrlSource)}
    if not sources:
        return Fetched(spec)
    downloads = _Downloads(fetcher, update, force)
    downloads.bring_all([(node, sources[node.path]) for node in spec.nodes if node.path in sources])
    files = {node.path: downloads.file(node, sources[node.path]) for node in spec.nodes if node.path in sources}
    downloads.raise_changed(hint)
    here = {path: file for path, file in files.items() if file is not None}
    extracted = _extract([node for node in spec.nodes if node.path in sources], sources, here, fetcher)
    nodes: list[NodeSpec] = []
    groups = dict(spec.groups)
    for node in spec.nodes:
        source = sources.get(node.path)
        if source is None:
            nodes.append(node)
        elif not source.extract:
            nodes.append(_settled(node, source, _file_of(source, here[node.path])))
        else:
            nodes += _members(node, source, here[node.path], extracted[node.path], groups)
    return Fetched(replace(spec, nodes=nodes, groups=groups), downloads.sums)


class _Downloads:
    """The files at URLs, each downloaded once; files with another checksum than expected are collected."""

    def __init__(self, fetcher: Fetcher, update: bool, force: bool) -> None:
        self._fetcher, self._update, self._force = fetcher, update, force
        self._brought: dict[_Key, tuple[Path | None, str]] = {}
        self._here: dict[_Key, FetchedFile] = {}
        self._changed: list[tuple[str, Checksum]] = []
        self.sums: dict[str, Checksum] = {}

    def bring_all(self, wanted: Sequence[tuple[NodeSpec, UrlSource]]) -> None:
        """Download the files of all nodes, several at once; raise the first error, with the place of its node."""
        first: dict[_Key, tuple[NodeSpec, UrlSource]] = {}
        for node, source in wanted:
            if source.inside is None:
                first.setdefault(self._key(node, source), (node, source))
        if first:
            progress = SumOfProgress(self._fetcher.progress)
            tasks = [partial(self._bring_for, *each, key, progress) for key, each in first.items()]
            run_all(tasks, self._fetcher.jobs, lambda _: None)

    def _bring_for(self, node: NodeSpec, source: UrlSource, key: _Key, progress: SumOfProgress, moved: Moved) -> None:
        with located_errors(node):
            self._brought[key] = self._bring(source, key, progress.part(moved))

    def _key(self, node: NodeSpec, source: UrlSource) -> _Key:
        """Return URL, checksum and name; with `--update` any content is accepted, so there is no checksum."""
        name = file_name(source.url) or node.path.rpartition("/")[2]
        return source.url, "" if self._update else source.sha256, name

    def file(self, node: NodeSpec, source: UrlSource) -> FetchedFile | None:
        """Return the file or archive of a node; None if its checksum differs from the build file's."""
        if source.inside is not None:
            return _local(source.inside, self._fetcher.downloads)
        shown, key = without_credentials(source.url), self._key(node, source)
        if key not in self._here:
            path, hash = self._brought[key]
            if path is None:
                self._changed.append((node.place, Checksum(shown, source.sha256, hash)))
                return None
            self._here[key] = FetchedFile(path, hash, shown, {"url": shown})
        file = self._here[key]
        if source.claims:
            with located_errors(node):
                claims = check_claims(source, file, self._fetcher.downloads)
            file = replace(file, record={**file.record, **claims})
        if self._update:
            self.sums[source.url] = Checksum(shown, source.sha256, file.hash)
        return file

    def _bring(self, source: UrlSource, key: _Key, progress: Progress) -> tuple[Path | None, str]:
        """Return the file at a URL and its hash; None and the hash if the checksum differs."""
        url, sha256, name = key
        downloads = self._fetcher.downloads
        if sha256 and not self._force and (path := downloads.find(sha256, name)):
            return path, sha256
        from filelock import FileLock

        from datapkg.remote.download_file import noted_validator

        temp = downloads.temp()
        piece = downloads.pieces / hashlib.sha256(url.encode()).hexdigest()[:32]
        piece.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The lock makes several builds that need the same file wait for one download.
        with FileLock(f"{piece}.lock"):
            if sha256 and not self._force and (path := downloads.find(sha256, name)):  # another process was quicker
                return path, sha256
            hash = self._download(url, piece, sha256, progress)
            downloads.keep_validator(url, hash, noted_validator(piece))
            # Done under the lock: otherwise the next process would try to resume a complete download.
            os.replace(piece, temp)
            piece.with_name(f"{piece.name}.json").unlink(missing_ok=True)
        try:
            check_page(source, temp, without_credentials(url))
            if sha256 and hash != sha256:
                return None, hash
            return downloads.find(hash, name) or downloads.keep(temp, hash, name), hash
        finally:
            temp.unlink(missing_ok=True)

    def _download(self, url: str, piece: Path, sha256: str, progress: Progress) -> str:
        from datapkg.remote.download import download

        fetcher = self._fetcher
        if is_in_repository(url):
            from datapkg.building.sources.git_archive import write_archive

            under = fetcher.downloads.folder / "tmp"
            return write_archive(repository_of(url), piece, under, fetcher.environ, fetcher.limit_bytes)
        bring = partial(
            download,
            url,
            piece,
            limit_bytes=fetcher.limit_bytes,
            timeout_s=fetcher.timeout_s,
            progress=progress,
            environ=fetcher.environ,
        )
        got = bring()
        if got.resumed_bytes and got.hash != sha256:
            # The server claimed that the file is unchanged and may have been wrong, so download it again in full.
            piece.unlink(missing_ok=True)
            got = bring()
        return got.hash

    def raise_changed(self, hint: str) -> None:
        """Raise `HashMismatch` that lists all URLs whose checksum differs from the build file's, if there are any."""
        if not self._changed:
            return
        lines = [
            f"{place}: {each.url} has changed: expected {each.old}, got {each.new}" for place, each in self._changed
        ]
        first = self._changed[0][1]
        raise HashMismatch(
            "\n".join(lines),
            hint=hint or "build again with --update, which takes the new bytes and writes their sums",
            expected=first.old,
            actual=first.new,
            problems=[(place, f"{each.url}: expected {each.old}, got {each.new}") for place, each in self._changed],
        )


def _local(file: FileSource, downloads: DownloadCache) -> FetchedFile:
    """Return an archive beside the build file; its hash is cached while its stat does not change."""
    key = f"archive:{file.path.absolute()}"
    at = time.time_ns()
    with open_source(file.path, file.shown, file.within) as stream:
        status = os.fstat(stream.fileno())
        hash = _hash_known(downloads.index.get_many([key]).get(key, b""), status)
        if not hash:
            hash, _ = hash_source(stream)
            downloads.index.put_many({key: json.dumps([stamp(status), at, hash]).encode()})
    return FetchedFile(file.path, hash, file.shown, {"file": file.shown})


def _hash_known(data: bytes, status: os.stat_result) -> str:
    """Return the cached hash of a file if its stat is unchanged; else ""."""
    try:
        before, at, hash = json.loads(data)
    except (ValueError, TypeError):
        return ""
    unchanged = before == list(stamp(status)) and status.st_mtime_ns + TICK_NS < at
    return hash if unchanged and is_hash(hash) else ""


def _extract(
    nodes: list[NodeSpec], sources: dict[str, UrlSource], files: dict[str, FetchedFile], fetcher: Fetcher
) -> dict[str, list[Extracted]]:
    """Return the members that each node extracts, by its path; each archive is read once for all nodes."""
    by_archive: dict[str, list[NodeSpec]] = {}
    for node in nodes:
        if sources[node.path].extract:
            by_archive.setdefault(files[node.path].hash, []).append(node)
    found: dict[str, list[Extracted]] = {}
    if not by_archive:
        return found
    from datapkg.building.sources.extract import extract_members

    for asking in by_archive.values():
        patterns = {node.path: sources[node.path].extract for node in asking}
        with located_errors(asking[0]):
            archive = files[asking[0].path]
            members = extract_members(
                archive, patterns.values(), fetcher.downloads, fetcher.limit_bytes, fetcher.progress
            )
        found.update({path: members[pattern] for path, pattern in patterns.items()})
    return found


def _file_of(source: UrlSource, file: FetchedFile) -> FileSource:
    return FileSource(file.path, file.shown, file_name(source.url) or file.path.name, file.record)


def _members(
    node: NodeSpec,
    asked: UrlSource,
    file: FetchedFile,
    extracted: list[Extracted],
    groups: dict[str, dict[str, Any]],
) -> Iterator[NodeSpec]:
    """Yield the nodes of members: one at the node's path, or a group of those that match a glob."""
    archive = {**file.record, "hash": file.hash}
    sources = [
        FileSource(each.path, f"{file.shown}: {'/'.join(each.parts)}", each.parts[-1], _member_record(archive, each))
        for each in extracted
    ]
    if not is_glob(asked.extract):
        yield _settled(node, asked, sources[0])
        return
    columns = {COLUMNS_KEY: node.meta[COLUMNS_KEY]} if COLUMNS_KEY in node.meta else {}
    group_meta = {key: value for key, value in node.meta.items() if key != COLUMNS_KEY}
    if group_meta:
        groups[node.path] = group_meta
    prefix = len([part for part in fixed_prefix(asked.extract)[0].split("/") if part not in ("", ".")])
    paths: dict[str, str] = {}
    for each, source in zip(extracted, sources, strict=True):
        below = _settled(replace(node, meta=columns), asked, source)
        parts = (*node.path.split("/"), *each.parts[prefix:-1], node_name(each.parts[-1], below.transform))
        path, member = "/".join(parts), "/".join(each.parts)
        problem = name_problem(parts) or (f"so does {quoted(paths[path])}" if path in paths else "")
        if problem:
            raise BuildFailed(
                f"{node.place}: {quoted(member)} would be node {quoted(path)}: {problem}",
                hint="name each member by a node of its own, or keep files with their suffixes: transform: id",
            )
        paths[path] = member
        yield replace(below, path=path)


def _member_record(archive: dict[str, Any], member: Extracted) -> dict[str, Any]:
    return {"archive": archive, "member": "/".join(member.parts)}


def _settled(node: NodeSpec, asked: UrlSource, source: FileSource) -> NodeSpec:
    """Return the node with its file and final transform; checks are dropped unless it is a table."""
    transform, kwargs = node.transform, node.kwargs
    if asked.how is not None:
        with located_errors(node):
            transform, kwargs = asked.how.of(source.path)
    checks = node.checks if TRANSFORMS[transform].kind == "table" else ()
    return replace(node, source=source, transform=transform, kwargs=kwargs, checks=checks)
