"""What a registry is asked, whether it is a server or the files of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from mmap import mmap
from pathlib import Path

from datapkg.format import push_wire, run_cache_wire, wire
from datapkg.format.chunks import Step
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.objects.base import Writable


class PushTarget(Writable):
    """The objects of a package at its registry; what is put belongs to one push."""

    @abstractmethod
    def put_delta(self, hash: str, new: memoryview, steps: Sequence[Step]) -> None:
        """Store an object with the bytes `new` by steps that refer to other objects of the registry."""

    @abstractmethod
    def signed_urls(self, hashes: Sequence[str], seconds: int) -> list[str]:
        """Return addresses at which anybody can read objects for a time, about as long, without those that have none.

        Raise `ObjectNotFound`, `Refused` if the registry gives none.
        """

    def arrived(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return of objects (hash to size in bytes) how many bytes arrived in an interrupted upload, if any."""
        return {}


class Client(ABC):
    """A registry; raises our errors."""

    @property
    @abstractmethod
    def sent_bytes(self) -> int:
        """How many bytes of bodies were sent until now."""

    @property
    @abstractmethod
    def received_bytes(self) -> int:
        """How many bytes of bodies were received until now."""

    @abstractmethod
    def check_may_change(self, ref: Ref) -> None:
        """Raise, before any request, for what is certain to be refused: `NotLoggedIn` without a token."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The address, as it is shown and remembered."""

    @abstractmethod
    def me(self) -> wire.Me:
        """Return whose token is sent; `user` is None without one."""

    @abstractmethod
    def packages(self, query: str = "") -> Iterator[wire.PackageSummary]:
        """Yield all packages that the actor may see and that hold every word of the query, page by page."""

    @abstractmethod
    def package(self, ref: Ref) -> wire.PackageInfo:
        """Return a package as the actor sees it; raise `PackageNotFound`."""

    @abstractmethod
    def delete(self, ref: Ref) -> None:
        """Delete a package with all its states."""

    @abstractmethod
    def resolve(self, ref: Ref, *, with_packages: bool = False) -> wire.Resolved:
        """Return the full hash that the ref's state means now; `latest` where it has none.

        `with_packages` asks for the packages whose nodes the state contains, too.
        """

    @abstractmethod
    def manifest(self, ref: Ref, hash: str, older: Manifest | None = None, size: int | None = None) -> bytes:
        """Return the bytes of a state's manifest, checked against its hash; no more than `size` where that is known.

        What a long one has in common with an older one that is here does not travel. Where that fails for any reason
        the whole is fetched.
        """

    def mapped_manifest(
        self, ref: Ref, hash: str, folder: Path, older: Manifest | None = None, size: int | None = None
    ) -> bytes | mmap:
        """Return what `manifest` returns; a long one may be in a temporary file of the folder, mapped into memory."""
        return self.manifest(ref, hash, older, size)

    @abstractmethod
    def objects(self, ref: Ref, push: str | None = None) -> PushTarget:
        """Return the objects of a package; writable within a push."""

    @abstractmethod
    def start_push(self, ref: Ref, manifest: str, hashes: Iterable[str]) -> push_wire.PushStarted:
        """Begin a push of the state with this manifest hash; return which of the first hashes are missing."""

    def notes(self) -> list[str]:
        """Return what a pusher should know of this registry, at the first push from this machine."""
        return []

    @abstractmethod
    def publish(self, ref: Ref, push: str, request: push_wire.Publish, objects: int = 0) -> push_wire.Published:
        """End a push: the manifest becomes a state of the package. It may take longer the more `objects` are new."""

    @abstractmethod
    def check_publish(self, ref: Ref, push: str, request: push_wire.PublishCheck) -> push_wire.PublishChecked:
        """Raise what `publish` would raise for this push, as far as that is known before its objects are sent."""

    @abstractmethod
    def find_stages(self, ref: Ref, keys: Sequence[str]) -> list[run_cache_wire.StageHit]:
        """Return the results for keys of stages in the run cache of a package; their objects are those of the package.

        Raise `PackageNotFound`; `InvalidInput` for a registry without run caches.
        """

    @abstractmethod
    def keep_stages(self, ref: Ref, push: str, entries: Sequence[run_cache_wire.StageEntry]) -> int:
        """Add results to the run cache, whose objects were sent in this push; return how many were not there."""

    @abstractmethod
    def log(self, ref: Ref) -> Iterator[wire.LogEntry]:
        """Yield the pushes of a package, newest first."""

    @abstractmethod
    def checks(self, ref: Ref, hash: str) -> wire.StateChecks:
        """Return the results of checks in the record of a state."""

    @abstractmethod
    def tag_list(self, ref: Ref) -> wire.TagList:
        """Return the tags: name to hash, and when each was moved."""

    @abstractmethod
    def set_tag(self, ref: Ref, tag: str, hash: str) -> wire.TagList:
        """Make a tag name this state, whatever it named before; return all tags."""

    @abstractmethod
    def remove_tag(self, ref: Ref, tag: str) -> wire.TagList:
        """Remove a tag; the state stays. Return the other tags."""

    @abstractmethod
    def versions(self, ref: Ref) -> list[wire.VersionEntry]:
        """Return the versions in the order of PEP 440."""

    @abstractmethod
    def add_version(self, ref: Ref, version: str, hash: str) -> wire.VersionList:
        """Give a state a version, for good; return all versions."""

    @abstractmethod
    def set_yanked(self, ref: Ref, version: str, reason: str | None) -> wire.VersionList:
        """Yank a version for this reason, or for None, undo that; return all versions."""

    @abstractmethod
    def wheel(self, ref: Ref, version: str, sha256: str) -> bytes:
        """Return a thin wheel of the package by its version (`format/thin_wheel.py`), verified."""

    @abstractmethod
    def access(self, ref: Ref) -> wire.Access:
        """Return who may read and write the package."""

    @abstractmethod
    def grant(self, ref: Ref, who: str, confirm: bool = False, write: bool = False) -> wire.Access:
        """Let a user, or `public`, read the package; with `write`, let a user push to it too."""

    @abstractmethod
    def revoke(self, ref: Ref, who: str) -> wire.Access:
        """Take the rights to read and write from a user, or `public`."""
