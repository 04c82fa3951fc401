"""A registry without a server: what a server would answer, from the files of one, and what it would do to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from datapkg.errors import InvalidInput, NotFound, QuotaExceeded, Refused, Unreachable
from datapkg.format import push_wire, run_cache_wire, wire
from datapkg.format import static_registry as layout
from datapkg.format.hashing import check_hash
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.objects.blobs.base import Blobs
from datapkg.remote.addresses import is_web
from datapkg.remote.client import Client
from datapkg.remote.static import names, search
from datapkg.remote.static.counted import CountedBlobs
from datapkg.remote.static.objects import StaticObjects
from datapkg.remote.static.package import StaticPackage
from datapkg.remote.static.publish import checked, mark, publish
from datapkg.remote.static.seen import SeenLogs

# Folders of which all keys are ours; of the others those that a push writes.
_OWN_FOLDERS = ("index", "simple", "tmp", "trash")


class StaticClient(Client):
    """The files of a registry; `seen` is what this machine saw of its logs, `author` is written into them."""

    def __init__(self, blobs: CountedBlobs, seen: SeenLogs, author: str = "") -> None:
        self._raw, self.seen, self._author = blobs, seen, author
        self._packages: dict[str, StaticPackage] = {}
        self._is_new = seen.is_new
        self._is_known = False

    @property
    def url(self) -> str:
        return self._raw.url

    @property
    def sent_bytes(self) -> int:
        return self._raw.sent_bytes

    @property
    def received_bytes(self) -> int:
        return self._raw.received_bytes

    @cached_property
    def blobs(self) -> Blobs:
        """The files, once it is known that they are those of a registry; raise `Unreachable` where they are not."""
        if not self._is_registry():
            make = "" if is_web(self.url) else f"; to make it a registry: datapkg push USER/NAME --registry {self.url}"
            raise Unreachable(
                f"there is no registry at {self.url}: it has no file {layout.MARKER}", hint=f"check the address{make}"
            )
        return self._raw

    def _is_registry(self) -> bool:
        if self._is_known:
            return True
        try:
            data = self._raw.read(layout.MARKER, layout.MAX_MARKER_BYTES)
        except (NotFound, QuotaExceeded):
            return False
        layout.decode(data, layout.Marker, f"{self.url}/{layout.MARKER}", self.url)
        self._is_known = True
        return True

    def check_place(self) -> None:
        """Raise unless this is a registry that can be pushed to, or a place that is empty and can become one."""
        other = None
        if not self._is_registry():
            other = next((each.key for each in self._raw.list() if not _is_own(each.key)), None)
        if other and not self._is_registry():  # another pusher may have made it one meanwhile
            raise Refused(
                f"{self.url} is not a registry and is not empty: {other} is there; nothing was pushed",
                hint="name a new folder in it, or one that is empty",
            )
        self._raw.check_can_create()

    def begin(self) -> None:
        """Make the place a registry; raise `Refused` where that cannot be."""
        self.check_place()
        mark(self._raw)

    def check_may_change(self, ref: Ref) -> None:
        pass

    def me(self) -> wire.Me:
        raise self._no_accounts()

    def access(self, ref: Ref) -> wire.Access:
        raise self._no_accounts()

    def grant(self, ref: Ref, who: str, confirm: bool = False, write: bool = False) -> wire.Access:
        raise self._no_accounts()

    def revoke(self, ref: Ref, who: str) -> wire.Access:
        raise self._no_accounts()

    def _no_accounts(self) -> InvalidInput:
        return InvalidInput(
            f"{self.url} is a registry without a server: it has no accounts, tokens or grants; who may read and write "
            "its files is set where they are kept"
        )

    def packages(self, query: str = "") -> Iterator[wire.PackageSummary]:
        return search.find(self.blobs, query)

    def package_of(self, ref: Ref, *, is_new: bool = False) -> StaticPackage:
        """Return a package; only a new one may be in a place that is not a registry yet."""
        blobs = self._raw if is_new else self.blobs
        if ref.package not in self._packages:
            self._packages[ref.package] = StaticPackage(blobs, ref, self.seen, self._author)
        return self._packages[ref.package]

    def package(self, ref: Ref) -> wire.PackageInfo:
        return self.package_of(ref).info()

    def delete(self, ref: Ref) -> None:
        self.package_of(ref).delete()

    def resolve(self, ref: Ref, *, with_packages: bool = False) -> wire.Resolved:
        return self.package_of(ref).resolve(ref.state, with_packages=with_packages)

    def manifest(self, ref: Ref, hash: str, older: Manifest | None = None, size: int | None = None) -> bytes:
        return self.package_of(ref).manifest(hash, size)

    def objects(self, ref: Ref, push: str | None = None) -> StaticObjects:
        return self.package_of(ref, is_new=push is not None).objects(push)

    def start_push(self, ref: Ref, manifest: str, hashes: Iterable[str]) -> push_wire.PushStarted:
        self.check_place()
        package = self.package_of(ref, is_new=True)
        heads, objects = package.log.read().heads, package.objects(check_hash(manifest))
        # What the latest state has, and an interrupted push of this one, counts as present.
        if heads.latest:
            objects.places.of_state(heads.latest)
        damaged = objects.places.lost()
        if not package.push_of(heads, manifest):
            objects.places.resume(manifest)
        missing = objects.missing(hashes)
        return push_wire.PushStarted(
            push=manifest,
            missing=sorted(missing),
            damaged=damaged,
            latest=heads.latest,
            public=True,
            exists=heads.latest is not None,
            record_objects=True,
        )

    def notes(self) -> list[str]:
        if not self._is_new:
            return []
        return [f"a registry without a server has no private packages: who can read {self.url} reads all in it"]

    def check_publish(self, ref: Ref, push: str, request: push_wire.PublishCheck) -> push_wire.PublishChecked:
        wanted = checked(request.publish)
        heads = self.package_of(ref, is_new=True).log.read().heads
        changed = heads.latest != wanted.manifest
        if changed:
            names.check_parent(ref, heads, wanted)
        if wanted.version:
            names.is_new_version(ref, heads, wanted.version, wanted.manifest)
        return push_wire.PublishChecked(changed=changed)

    def publish(self, ref: Ref, push: str, request: push_wire.Publish, objects: int = 0) -> push_wire.Published:
        return publish(self.package_of(ref, is_new=True), push, request, is_first=not self._is_registry())

    def find_stages(self, ref: Ref, keys: Sequence[str]) -> list[run_cache_wire.StageHit]:
        raise self.no_run_cache()

    def keep_stages(self, ref: Ref, push: str, entries: Sequence[run_cache_wire.StageEntry]) -> int:
        raise self.no_run_cache()

    def no_run_cache(self) -> InvalidInput:
        """Return the error for what needs a server."""
        return InvalidInput(
            f"{self.url} is a registry without a server: it has no run cache of stages, so --pull-cache and "
            "--push-cache do not work there",
            hint="name a registry with a server: --registry https://data.example.org",
        )

    def log(self, ref: Ref) -> Iterator[wire.LogEntry]:
        return self.package_of(ref).log_entries()

    def checks(self, ref: Ref, hash: str) -> wire.StateChecks:
        return self.package_of(ref).checks(hash)

    def tag_list(self, ref: Ref) -> wire.TagList:
        return names.tag_list(self.package_of(ref).heads())

    def set_tag(self, ref: Ref, tag: str, hash: str) -> wire.TagList:
        return self.package_of(ref).set_tag(tag, hash)

    def remove_tag(self, ref: Ref, tag: str) -> wire.TagList:
        return self.package_of(ref).remove_tag(tag)

    def versions(self, ref: Ref) -> list[wire.VersionEntry]:
        return self.package_of(ref).versions()

    def add_version(self, ref: Ref, version: str, hash: str) -> wire.VersionList:
        return self.package_of(ref).add_version(version, hash)

    def set_yanked(self, ref: Ref, version: str, reason: str | None) -> wire.VersionList:
        return self.package_of(ref).set_yanked(version, reason)

    def wheel(self, ref: Ref, version: str, sha256: str) -> bytes:
        return self.package_of(ref).wheels.read(version, sha256)


def _is_own(key: str) -> bool:
    """Return whether a push that did not end may have left this key, so that somebody's own files are never taken."""
    return layout.is_stored(key) or key.split("/")[0] in _OWN_FOLDERS
