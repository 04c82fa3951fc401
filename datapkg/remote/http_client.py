"""A registry that is a server: its HTTP API, one method an endpoint."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

import msgspec

from datapkg.errors import Conflict, DatapkgError, NotLoggedIn, PackageNotFound, TagNotFound, Unreachable
from datapkg.format import push_wire, run_cache_wire, static_registry, wire
from datapkg.format.chunks import LONG_BYTES
from datapkg.format.hashing import check_bytes, check_file, check_hash
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.format.thin_wheel import distribution_name
from datapkg.objects.files import UNWRITABLE, naming, unnamed_file
from datapkg.objects.transfer import twice
from datapkg.remote.client import Client
from datapkg.remote.manifests import MAX_MANIFEST_BYTES, fetch_by_chunks
from datapkg.remote.objects import IDENTITY, RegistryObjects
from datapkg.remote.session import RegistrySession

GATEWAY_FAILURES = (502, 504)
MAX_PAGES = 10_000
ROW_BYTES = 4_000
"""A registry that writes rows for many objects takes as long as for so many bytes each: 5,000 objects a second."""
MAX_LIST_BYTES = 256 << 20
MAX_WHEEL_BYTES = 1 << 20

M = TypeVar("M", bound=msgspec.Struct)
P = TypeVar("P", wire.PackagePage, wire.LogPage)


class HttpClient(Client):
    """A server, through one session."""

    def __init__(self, session: RegistrySession) -> None:
        self.session = session
        self._direct_bytes: dict[str, int] = {}

    @property
    def url(self) -> str:
        return self.session.url

    @property
    def sent_bytes(self) -> int:
        return self.session.sent_bytes

    @property
    def received_bytes(self) -> int:
        return self.session.received_bytes

    def check_may_change(self, ref: Ref) -> None:
        known = self.session.credential
        if known.token is None:
            raise NotLoggedIn(f"changing {ref.package} at {self.url} needs a token ({known.note})", hint=known.hint)

    def me(self) -> wire.Me:
        return self.session.reply(wire.Me, "GET", wire.ME)

    def packages(self, query: str = "") -> Iterator[wire.PackageSummary]:
        for page in self._pages(wire.PackagePage, wire.PACKAGES, {"q": query}):
            yield from page.packages

    def _pages(self, model: type[P], path: str, params: dict[str, str]) -> Iterator[P]:
        """Yield all pages of a list; raise `Unreachable` for a registry that repeats one, or sends too much."""
        seen: set[str] = set()
        before = self.session.received_bytes
        while True:
            page = self.session.reply(model, "GET", path, params=params)
            yield page
            if not page.next:
                return
            if self.session.received_bytes - before > MAX_LIST_BYTES:
                raise Unreachable(f"{self.url} lists {path} with more than {MAX_LIST_BYTES:,} bytes")
            if page.next in seen or len(seen) >= MAX_PAGES:
                raise Unreachable(f"{self.url} lists {path} without an end")
            seen.add(page.next)
            params = {**params, "cursor": page.next}

    def package(self, ref: Ref) -> wire.PackageInfo:
        return self.session.reply(wire.PackageInfo, "GET", _path(wire.PACKAGE, ref))

    def delete(self, ref: Ref) -> None:
        seen = {}
        with contextlib.suppress(PackageNotFound):  # the answer to the removal says more
            seen["created_at"] = self.package(ref).created_at
        self._remove(wire.Deleted, _path(wire.PACKAGE, ref), PackageNotFound, seen)

    def _remove(self, model: type[M], path: str, gone: type[DatapkgError], seen: dict[str, str]) -> M | None:
        """Remove what is at a path; return None where it is gone and an earlier try may have done that.

        `seen` identifies what is to be removed: a repeated request must not remove what was created there since.
        """
        may_be_done = False

        def attempt() -> M | None:
            nonlocal may_be_done
            try:
                return self.session.reply(model, "DELETE", path, params=seen, again=False)
            except (gone, Conflict):
                if not may_be_done:
                    raise
                return None
            except DatapkgError as error:
                # Without an answer (of which only a server's has this detail), or with that of a proxy which got none.
                is_lost = "retry_after_s" not in error.detail or error.detail.get("status") in GATEWAY_FAILURES
                may_be_done = may_be_done or is_lost
                raise

        return self.session.retried(attempt)

    def resolve(self, ref: Ref, *, with_packages: bool = False) -> wire.Resolved:
        params = {"state": str(ref.state)} if ref.state else {}
        params |= {"packages": "true"} if with_packages else {}
        reply = self.session.reply(wire.Resolved, "GET", _path(wire.RESOLVE, ref), params=params)
        check_hash(reply.hash)
        return reply

    def manifest(self, ref: Ref, hash: str, older: Manifest | None = None, size: int | None = None) -> bytes:
        with io.BytesIO() as file:
            self._receive_manifest(ref, hash, file, older, size)
            return file.getvalue()

    def mapped_manifest(
        self, ref: Ref, hash: str, folder: Path, older: Manifest | None = None, size: int | None = None
    ) -> bytes | mmap:
        if size is not None and size < LONG_BYTES:
            return self.manifest(ref, hash, older, size)
        try:
            file = unnamed_file(folder)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            return self.manifest(ref, hash, older, size)
        with naming(folder), file:
            self._receive_manifest(ref, hash, file, older, size)
            return mmap(file.fileno(), 0, access=ACCESS_READ) if file.tell() else b""

    def _receive_manifest(self, ref: Ref, hash: str, file: IO[bytes], older: Manifest | None, size: int | None) -> None:
        """Write a manifest to a file, which was opened for writing and reading; its hash is right then."""
        path = _path(wire.MANIFEST, ref, hash=check_hash(hash))
        limit = MAX_MANIFEST_BYTES if size is None else min(size, MAX_MANIFEST_BYTES)
        if isinstance(older, MappedManifest):
            with contextlib.suppress(DatapkgError):
                chunks_path = _path(wire.MANIFEST_CHUNKS, ref, hash=hash)
                fetch_by_chunks(self.session, path, chunks_path, hash, older, limit, file)
                return

        def attempt() -> None:
            file.seek(0)
            file.truncate()
            with self.session.request("GET", path, headers=IDENTITY) as response:
                self.session.receive(response, limit, file)

        # A broken connection is tried again inside (`retried`), a wrong byte outside (`twice`).
        def checked() -> None:
            self.session.retried(attempt)
            check_file(file, hash, "manifest")

        twice(checked, self.url + path)

    def objects(self, ref: Ref, push: str | None = None) -> RegistryObjects:
        direct_bytes = self._direct_bytes.get(push or "", 0)
        return RegistryObjects(self.session, ref.user, ref.name, push, direct_bytes=direct_bytes)

    def start_push(self, ref: Ref, manifest: str, hashes: Iterable[str]) -> push_wire.PushStarted:
        body = {"manifest": manifest, "hashes": list(hashes)}
        started = self.session.reply(push_wire.PushStarted, "POST", _path(push_wire.PUSHES, ref), body)
        self._direct_bytes[started.push] = started.direct_bytes
        return started

    def publish(self, ref: Ref, push: str, request: push_wire.Publish, objects: int = 0) -> push_wire.Published:
        body, path, work = msgspec.to_builtins(request), _path(push_wire.PUBLISH, ref, push=push), objects * ROW_BYTES
        return self.session.reply(push_wire.Published, "POST", path, body, work=work)

    def check_publish(self, ref: Ref, push: str, request: push_wire.PublishCheck) -> push_wire.PublishChecked:
        body = msgspec.to_builtins(request)
        return self.session.reply(
            push_wire.PublishChecked, "POST", _path(push_wire.PUBLISH_CHECK, ref, push=push), body
        )

    def find_stages(self, ref: Ref, keys: Sequence[str]) -> list[run_cache_wire.StageHit]:
        path, found = _path(run_cache_wire.STAGES_FIND, ref), []
        for start in range(0, len(keys), run_cache_wire.MAX_STAGE_KEYS):
            body = {"stages": list(keys[start : start + run_cache_wire.MAX_STAGE_KEYS])}
            found += self.session.reply(run_cache_wire.StageHits, "POST", path, body).hits
        return found

    def keep_stages(self, ref: Ref, push: str, entries: Sequence[run_cache_wire.StageEntry]) -> int:
        body = msgspec.to_builtins(run_cache_wire.StageEntries(entries=list(entries)))
        return self.session.reply(
            run_cache_wire.StagesKept, "POST", _path(run_cache_wire.PUSH_STAGES, ref, push=push), body
        ).added

    def log(self, ref: Ref) -> Iterator[wire.LogEntry]:
        for page in self._pages(wire.LogPage, _path(wire.LOG, ref), {}):
            yield from page.entries

    def checks(self, ref: Ref, hash: str) -> wire.StateChecks:
        return self.session.reply(wire.StateChecks, "GET", _path(wire.CHECKS, ref, hash=check_hash(hash)))

    def tag_list(self, ref: Ref) -> wire.TagList:
        return self.session.reply(wire.TagList, "GET", _path(wire.TAGS, ref))

    def set_tag(self, ref: Ref, tag: str, hash: str) -> wire.TagList:
        return self.session.reply(wire.TagList, "PUT", _path(wire.TAG, ref, tag=tag), {"hash": hash})

    def remove_tag(self, ref: Ref, tag: str) -> wire.TagList:
        seen = {}
        with contextlib.suppress(PackageNotFound):
            seen = {"hash": self.tag_list(ref).tags.get(tag, "")}
        return self._remove(wire.TagList, _path(wire.TAG, ref, tag=tag), TagNotFound, seen) or self.tag_list(ref)

    def versions(self, ref: Ref) -> list[wire.VersionEntry]:
        return self.session.reply(wire.VersionList, "GET", _path(wire.VERSIONS, ref)).versions

    def add_version(self, ref: Ref, version: str, hash: str) -> wire.VersionList:
        return self.session.reply(wire.VersionList, "PUT", _path(wire.VERSION, ref, version=version), {"hash": hash})

    def set_yanked(self, ref: Ref, version: str, reason: str | None) -> wire.VersionList:
        path = _path(wire.YANK, ref, version=version)
        if reason is None:
            return self.session.reply(wire.VersionList, "DELETE", path)
        return self.session.reply(wire.VersionList, "PUT", path, {"reason": reason})

    def wheel(self, ref: Ref, version: str, sha256: str) -> bytes:
        name = quote(static_registry.wheel_key(ref, version, sha256).rpartition("/")[2])

        def attempt() -> bytes:
            path = f"/simple/{distribution_name(ref.package)}/{name}"
            with self.session.request("GET", path, headers=IDENTITY) as response:
                return self.session.body(response, MAX_WHEEL_BYTES)

        data = self.session.retried(attempt)
        check_bytes(data, sha256, "wheel")
        return data

    def access(self, ref: Ref) -> wire.Access:
        return self.session.reply(wire.Access, "GET", _path(wire.ACCESS, ref))

    def grant(self, ref: Ref, who: str, confirm: bool = False, write: bool = False) -> wire.Access:
        body = {"confirm": confirm, **({"write": True} if write else {})}
        return self.session.reply(wire.Access, "PUT", _path(wire.GRANT, ref, who=who), body)

    def revoke(self, ref: Ref, who: str) -> wire.Access:
        return self.session.reply(wire.Access, "DELETE", _path(wire.GRANT, ref, who=who))


def _path(template: str, ref: Ref, **names: Any) -> str:
    return template.format(user=ref.user, name=ref.name, **{key: quote(value, safe="") for key, value in names.items()})
