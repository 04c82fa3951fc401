"""Thin wheels of a registry without a server, and its pages as a Python package index.

A pusher stores a wheel before the entry of the log that names its sha256, so it never changes. The pages are derived:
who changes the package writes them anew, from what was written here last and the entries of the log after that. What
the registry shows is not read, as whoever may write there could have changed it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator
from datetime import datetime
from email.parser import BytesParser
from typing import Any

from datapkg.errors import DatapkgError, NotFound
from datapkg.format import simple_index
from datapkg.format import static_registry as layout
from datapkg.format.hashing import check_bytes, hash_bytes
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.format.simple_index import METADATA_SUFFIX, IndexFile
from datapkg.format.static_registry import Heads, LogChange
from datapkg.format.thin_wheel import distribution_name, thin_wheel, wheel_version
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.threads import ThreadPool
from datapkg.remote.static import search
from datapkg.remote.static.log import Position, RegistryLog, derived
from datapkg.remote.static.seen import SeenLogs

MAX_WHEEL_BYTES = 1 << 20
MAX_PAGE_BYTES = 64 << 20
MAX_TRIES = 10


class PackageWheels:
    """The wheels of one package, and its page."""

    def __init__(self, blobs: Blobs, ref: Ref, log: RegistryLog, seen: SeenLogs) -> None:
        self._blobs, self._ref, self._log, self._seen = blobs, ref, log, seen
        self._project = distribution_name(ref.package)

    def build(self, manifest: Manifest, version: str | None, number: int) -> dict[str, str]:
        """Store the wheel of a state, and return its sha256 by its version, for the entry of the log."""
        named = wheel_version(version, number, manifest.hash)
        data = thin_wheel(manifest, self._ref.package, self._address(), named).data
        return {named: self.store(named, data)}

    def store(self, version: str, data: bytes) -> str:
        """Store a wheel with its metadata, over the same bytes if they are there; return its sha256."""
        sha256 = hash_bytes(data)
        key = layout.wheel_key(self._ref, version, sha256)
        self._blobs.put(key, io.BytesIO(data))
        self._blobs.put(key + METADATA_SUFFIX, io.BytesIO(metadata_of(data)))
        return sha256

    def read(self, version: str, sha256: str) -> bytes:
        """Return the verified bytes of a wheel; raise `NotFound`, `HashMismatch`."""
        data = self._blobs.read(layout.wheel_key(self._ref, version, sha256), MAX_WHEEL_BYTES)
        check_bytes(data, sha256, "wheel")
        return data

    def of_version(self, heads: Heads, manifest: Manifest, version: str) -> dict[str, str]:
        """Return the wheel of a version: the one that it had before the package was deleted, or a new one."""
        named = wheel_version(version, 0, manifest.hash)
        if version in heads.retired:
            for change in self._log.entries():
                if named in change.wheels:
                    return {named: self.store(named, self.read(named, change.wheels[named]))}
        return self.build(manifest, version, 0)

    def _address(self) -> str:
        """Return the address of the registry that is written into its wheels."""
        try:
            data = self._blobs.read(layout.MARKER, layout.MAX_MARKER_BYTES)
        except NotFound:
            return self._blobs.url
        return layout.decode(data, layout.Marker, layout.MARKER, self._blobs.url).url or self._blobs.url

    def write_pages(self) -> None:
        """Write the page of the package after the last entry of its log, and the list of projects if that changes."""
        with derived(self._blobs.url):
            for _ in range(MAX_TRIES):
                position = self._log.read()
                self._write(position)
                # Whoever changed the package meanwhile may have written the page first, and this one over it.
                if self._log.read().heads.number == position.heads.number:
                    break
            self._list(position.heads)

    def _write(self, position: Position) -> None:
        heads = position.heads
        files = self._files(position) if heads.latest else []
        data = simple_index.project_json(self._project, files, heads.number)
        pages = {
            layout.page_key(self._project, "json"): data,
            layout.page_key(self._project, "html"): simple_index.project_html(self._project, files),
        }
        for key, page in pages.items():
            if heads.latest:
                self._blobs.put(key, io.BytesIO(page))
            else:
                self._blobs.delete(key)
        if heads.latest:
            self._seen.keep_page(self._ref, position.entry, data)

    def hashes(self, heads: Heads, wanted: Collection[str]) -> dict[str, str]:
        """Return the sha256 of the wheels with these versions, from the entries of the log that built them."""
        left, found = set(wanted), dict[str, str]()
        for change in self._log.entries() if left else ():
            if change.number < heads.first or not left:
                break
            for version in left & change.wheels.keys():
                found[version] = change.wheels[version]
            left -= found.keys()
        return found

    def _files(self, position: Position) -> list[IndexFile]:
        """Return the wheels of the package: those of the page that was written here last, and what came after it."""
        heads = position.heads
        number, known = self._known(heads)
        expected, new = position.entry, list[LogChange]()
        for change in self._log.entries():
            if change.number <= max(number, heads.first - 1):
                break
            if change.number <= heads.number:
                new.append(change)
                expected = change.previous or ""
        if number and self._seen.page(self._ref)[0] != expected:  # it is of another log, or of one that was cut
            self._seen.keep_page(self._ref, "", b"")
            return self._files(position)
        files = {each.version: each for each in known}
        wheels = [(version, sha256, change) for change in reversed(new) for version, sha256 in change.wheels.items()]
        with ThreadPool(self._blobs.jobs) as pool:
            for file in pool.map(self._file, *zip(*wheels, strict=True)) if wheels else ():
                if file:
                    files.setdefault(file.version, file)
        if not heads.yanked:
            return [each._replace(yanked=None) for each in files.values()]
        return [each._replace(yanked=_yanked(heads, version)) for version, each in files.items()]

    def _known(self, heads: Heads) -> tuple[int, list[IndexFile]]:
        """Return which entry the page shows that was written here last, and its files; none of an earlier package."""
        try:
            number, files = simple_index.read_project(self._seen.page(self._ref)[1])
        except (ValueError, LookupError, TypeError):
            return 0, []
        return (number, files) if heads.first <= number <= heads.number else (0, [])

    def _file(self, version: str, sha256: str, change: LogChange) -> IndexFile | None:
        try:
            data = self.read(version, sha256)
            metadata = metadata_of(data)
        except (DatapkgError, ValueError, LookupError):  # `verify` reports it
            return None
        key = layout.wheel_key(self._ref, version, sha256)
        return IndexFile(
            version=version,
            file_name=key.rpartition("/")[2],
            address=f"../../{simple_index.address_of(key)}",
            sha256=sha256,
            size=len(data),
            metadata=hash_bytes(metadata),
            requires_python=BytesParser().parsebytes(metadata)["Requires-Python"] or "",
            uploaded_at=simple_index.time_text(datetime.fromisoformat(change.at)),
        )

    def _list(self, heads: Heads) -> None:
        try:
            listed = set(simple_index.read_projects(self._blobs.read(layout.page_key("", "json"), MAX_PAGE_BYTES)))
        except (DatapkgError, ValueError, LookupError, TypeError):
            listed = set()
        if (self._project in listed) == (heads.latest is not None):
            return
        found = {distribution_name(name) for name, each in search.common(self._blobs).packages.items() if each.latest}
        names = sorted((listed | found | {self._project}) - ({self._project} if heads.latest is None else set()))
        self._blobs.put(layout.page_key("", "json"), io.BytesIO(simple_index.projects_json(names)))
        self._blobs.put(layout.page_key("", "html"), io.BytesIO(simple_index.projects_html(names)))


def _yanked(heads: Heads, version: str) -> str | None:
    """Return why a wheel is yanked; that of a state without a version is if all versions of the state are."""
    public, _, hash = version.partition("+h")
    of_state = [name for name, pointer in heads.versions.items() if pointer.hash.startswith(hash)]
    named = of_state if public.startswith("0.dev") else [public]
    reasons = [heads.yanked.get(name) for name in named]
    return reasons[0] if reasons and None not in reasons else None


def metadata_of(wheel: bytes) -> bytes:
    """Return the core metadata in a wheel; raise `ValueError`, `LookupError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            return archive.read(name)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def wheel_of_state(change: LogChange) -> dict[str, Any]:
    """Return the number of a pushed state and the sha256 of its wheel without a version, if the entry has them."""
    for version, sha256 in change.wheels.items():
        number = version.partition("+")[0].removeprefix("0.dev")
        if version.startswith("0.dev") and number.isdecimal():
            return {"number": int(number), "wheel": sha256}
    return {}


def keys_of(ref: Ref, change: LogChange) -> Iterator[str]:
    """Yield the keys of the files of the wheels that an entry names."""
    for version, sha256 in change.wheels.items():
        key = layout.wheel_key(ref, version, sha256)
        yield from (key, key + METADATA_SUFFIX)
