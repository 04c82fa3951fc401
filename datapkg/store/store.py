"""The local store: one folder of immutable objects and small pointers to them."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

from datapkg.errors import CorruptObject, DamagedFile, ObjectNotFound, PackageNotInstalled
from datapkg.objects.files import private_folder, sweep_temp
from datapkg.store import format_version
from datapkg.store.refs import Refs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import Any

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.format.names import Ref
    from datapkg.objects.base import Readable
    from datapkg.store.arrow_cache import ArrowCache
    from datapkg.store.index import Index
    from datapkg.store.known_locks import KnownLocks
    from datapkg.store.links import Links
    from datapkg.store.read_through import ReadThrough
    from datapkg.store.refs import Event, LogEvent
    from datapkg.store.verified import VerifiedObjects
    from datapkg.store.verified_content import VerifiedContent


class Store:
    """A store in a folder; `index` is a cache in any folder, and `links` may be elsewhere if the store is read-only.

    Objects that it lacks are read from the `shared` stores.
    """

    def __init__(self, folder: Path, index: Index, links: Path | None = None, shared: Sequence[Path] = ()) -> None:
        self.folder = Path(folder)
        self.links_folder = links or self.folder / "links"
        self.shared = shared
        self.tmp = self.folder / "tmp"
        self.refs = Refs(self.folder / "packages", self.tmp)
        self._index = index
        self._opened: dict[str, VerifiedObjects] = {}
        self._copies: ArrowCache | None = None
        self._claims: VerifiedContent | None = None
        self._writers = 0
        format_version.check(self.folder)

    @property
    def index_path(self) -> Path:
        """Return the path of the cache of verified files."""
        return self._index.path

    @property
    def objects(self) -> VerifiedObjects:
        """Return all objects; their modules are imported here, since most imports of a package do not need them."""
        if found := self._opened.get("objects"):
            return found
        if self.shared:
            from datapkg.store.sharing import SharingObjects

            return self._opened.setdefault("objects", SharingObjects(self.folder, self._index, self.shared))
        from datapkg.store.verified import VerifiedObjects

        return self._opened.setdefault("objects", VerifiedObjects(self.folder, self._index))

    def through(self, theirs: Callable[[], Readable], origin: str) -> ReadThrough:
        """Return the objects here, and behind them those of `origin`, which are fetched only if missing, and stored."""
        from datapkg.store.partial_objects import PartialObjects
        from datapkg.store.read_through import ReadThrough

        return ReadThrough(self.objects, theirs, PartialObjects(self.folder / "partial", origin))

    def forget_parts(self) -> None:
        """Delete partial files of objects that are now complete; open readers keep working."""
        from datapkg.store.partial_objects import sweep

        sweep(self.folder / "partial", self.objects.absent)

    @property
    def links(self) -> Links:
        """Return the read-only paths of objects."""
        from datapkg.store.links import Links

        return Links(self.links_folder, self.objects)

    @property
    def copies(self) -> ArrowCache:
        """Return the cached copies of tables that are faster to read, in the cache folder."""
        if found := self._copies:
            return found
        from datapkg.store.arrow_cache import ArrowCache

        self._copies = ArrowCache(self._index.path.parent / "warm", self._index)
        return self._copies

    @property
    def known_locks(self) -> KnownLocks:
        """Return the lock files that were used with this store, whose pins `gc` keeps."""
        from datapkg.store.known_locks import KnownLocks

        return KnownLocks(self.folder / "locks", self.tmp)

    @property
    def claims(self) -> VerifiedContent:
        """Return which tables are known to have the content that their manifests state."""
        if found := self._claims:
            return found
        from datapkg.store.verified_content import VerifiedContent

        self._claims = VerifiedContent(self._index)
        return self._claims

    def prepare(self) -> None:
        """Create the folder, private to its owner, and delete temporary files of killed processes."""
        private_folder(self.folder)
        format_version.prepare(self.folder, self.tmp, self.work_lock)
        sweep_temp(self.tmp)

    @property
    def work_lock(self) -> Path:
        """Return the path of the lock that all writers share."""
        return self.folder / "work.lock"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock for writing, which keeps others from deleting what is counted as present; may be nested.

        Space that could not be freed when a package was removed is freed first.
        """
        from datapkg.store import gc, writer_lock

        if not self._writers:
            self.prepare()
            if gc.has_removed(self):
                # Before the lock: this process itself would count as a writer that may rely on the objects.
                gc.free(self, wait=False)
        with writer_lock.shared(self.work_lock):
            self._writers += 1
            self.objects.is_renewing = True
            try:
                yield
                if self._writers == 1 and self.objects.packed.has_new_packs:
                    gc.merge_packs(self)
            finally:
                self._writers -= 1
                self.objects.is_renewing = self._writers > 0

    def save(self, manifest: Manifest, *, downloaded: bool = False) -> str:
        """Save a manifest, whose objects must be here already (or are omitted on purpose); return its hash.

        One that was `downloaded` is kept in the shared store too, if there is one that this user may write.
        """
        from datapkg.store.manifests import keep_chunks

        self._index.put_many({f"manifest:{manifest.hash}": b"read"})
        keep_chunks(self._index, manifest)
        objects = self.objects
        if not self.has(manifest.hash):  # avoid writing and syncing a long manifest again
            if downloaded and objects.downloads is not objects:
                objects.downloads.put(manifest.opened(), manifest.hash)
        elif not objects.packed.missing([manifest.hash]):
            return manifest.hash
        return self.objects.put(manifest.opened(), manifest.hash)

    def use(self, manifest: Manifest) -> None:
        """Note that a state is about to be installed, before its objects are counted as present.

        In shared stores, others may free space meanwhile: they keep what the manifest names, which is there first.
        """
        self.objects.note_use(manifest)

    def forget_uses(self) -> None:
        """Take back in shared stores what was noted of states that are not here any more."""
        from datapkg.store.roots import all_states

        if self.shared:
            states = {hash for hash, state in all_states(self).items() if state.roots}
            self.objects.forget_uses(states - self.objects.packed.missing(states))

    def manifest(self, hash: str) -> Manifest:
        """Return the verified manifest with this hash; raise `ObjectNotFound`, `CorruptObject`."""
        from datapkg.store.manifests import read_manifest

        return read_manifest(self.objects, self._index, hash)

    def open_manifest(self, hash: str) -> Manifest:
        """Return the same manifest for looking up nodes: a long one is not parsed each time."""
        from datapkg.store.manifests import open_manifest

        return open_manifest(self.objects, self._index, hash)

    def holds(self, hash: str) -> bool:
        """Return whether an object with this hash is here, judging by names only.

        This is fast for objects in files of their own, such as manifests: every import that follows a lock calls it.
        """
        return bool(self.held([hash]))

    def held(self, hashes: Collection[str]) -> set[str]:
        """Return those of these objects that are here, judging by names only."""
        folder = f"{self.folder}/objects"
        rest = {hash for hash in hashes if not os.path.exists(f"{folder}/{hash[:2]}/{hash[2:]}")}
        found = {hash for hash in hashes if hash not in rest}
        return found | (rest - self.objects.absent(rest)) if rest else found

    def freed(self, ref: Ref, hash: str) -> PackageNotInstalled | None:
        """Return the error for a state that was here by the log, and whose space `gc` has freed; None for another."""
        events = list(self.refs.log(ref, hash=hash))
        if not events or self.holds(hash):
            return None
        message = f"the state sha256:{hash[:12]}… of {ref.package} is not here any more: its space was freed"
        if any("://" in each.origin for each in events):
            hint = f"datapkg install {ref.package}@sha256:{hash}"
        else:
            hint, message = f"datapkg log {ref.package}", f"{message}; it was never pushed, so it must be built again"
        return PackageNotInstalled(message, hint=hint, package=ref.package)

    def has(self, hash: str) -> bool:
        """Return whether the manifest with this hash is here and intact."""
        return not self.objects.missing([hash])

    def absent(self, manifest: Manifest, path: str = "") -> Mapping[str, int]:
        """Return the objects of a package (below a path) that are missing or corrupt: hash to size in bytes."""
        from datapkg.format.object_sizes import lacking

        return lacking(manifest.objects(path), self.objects.missing)

    def append_log(self, ref: Ref, event: LogEvent) -> None:
        """Write an event to the log of a package; long lists of its record become an object."""
        from dataclasses import replace

        from datapkg.format.record_lists import split_record

        record, lists = split_record(event.record)
        if lists:
            event = replace(event, record=record, record_object=self.objects.put_bytes(lists))
        self.refs.append_log(ref, event)

    def record(self, ref: Ref, hash: str, event: Event = "build") -> Mapping[str, Any] | None:
        """Return the record of a state; None if there is none (see `Refs.recorded`)."""
        found = self.refs.recorded(ref, hash, event)
        return None if found is None else self.record_of(found)

    def record_of(self, event: LogEvent) -> Mapping[str, Any]:
        """Return the whole record of an event; lists that are lost are empty, with a `DamagedFile` warning."""
        if not event.record_object:
            return event.record
        from datapkg.format.record_lists import Record

        return Record(event.record, lambda: self._record_lists(event))

    def _record_lists(self, event: LogEvent) -> dict[str, list[Any]]:
        from datapkg.format.record_lists import read_lists

        try:
            with self.objects.open(event.record_object) as stream:
                return read_lists(stream)
        except (CorruptObject, ObjectNotFound, ValueError) as error:
            what = f"the record of the {event.event} of {event.hash[:12]}… lost its lists"
            warnings.warn(f"{what}: {error}", DamagedFile, stacklevel=3)
            return {}

    def here(self, ref: Ref, hash: str) -> str:
        """Return the hash in a package's pointer, or the newest hash of its log that is here if that one is not.

        A digit of the pointer may be corrupt.
        """
        if self.holds(hash):
            return hash
        made = (each.hash for each in self.refs.log(ref, "build", "install"))
        newest = next(filter(self.holds, made), None)
        if newest is None:
            return hash
        used = f"{newest[:12]}…, the newest of its log that is, is used; type: datapkg install {ref.package}"
        warnings.warn(f"the state {hash[:12]}… of {ref.package} is not here; {used}", DamagedFile, stacklevel=3)
        return newest
