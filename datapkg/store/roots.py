"""The files of a store and its cache, and which of them name states: the one table of `gc`, `rm` and `verify`.

An object is needed if a state needs it, and a state is needed by what names it: its roots. `FILES` has a line for each
kind of file, with the function that reads the states that files of this kind name. A file kind that is missing there
makes a test fail, so that no later one can name an object that `gc` does not know of.

What decides whether a state stays: `PINNED` roots keep it always, and its objects whole; the others (an older event of
a log, a registry's tag or version as last seen) keep it until the user asks `gc` for the space of older states.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from datapkg.errors import CorruptObject, DatapkgError, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.format.object_sets import merged, without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.store.known_locks import KnownLocks
    from datapkg.store.refs import Refs
    from datapkg.store.verified import VerifiedObjects

    class CollectableStore(Protocol):
        """The parts of a store that garbage collection needs; the store itself imports `gc`, to free space."""

        folder: Path
        links_folder: Path
        refs: Refs

        @property
        def objects(self) -> VerifiedObjects: ...

        @property
        def known_locks(self) -> KnownLocks: ...

        @property
        def work_lock(self) -> Path: ...

        def manifest(self, hash: str) -> Manifest: ...


PINNED = frozenset({"current", "kept", "lock", "build"})
NEWEST_BUILDS = 2
"""The last build and the one before it, which a user compares it with, and goes back to if it went wrong."""
_MANIFEST_HEAD = b'{"datapkg":'  # manifests are in canonical form, so each begins with this


@dataclass(frozen=True)
class StoredState:
    """A state of packages on this machine, and why it is here: the names of its roots.

    `at` is when it was last built, installed or pushed here, in seconds since 1970; `is_pushed` states whether a
    registry had it when it was last asked, so that it can be installed again. `records` are the objects with long lists
    of its records, which stay and go with it.
    """

    hash: str
    packages: tuple[str, ...] = ()
    roots: frozenset[str] = frozenset()
    at: float = 0.0
    is_pushed: bool = False
    records: frozenset[str] = frozenset()

    @property
    def is_pinned(self) -> bool:
        """Return whether the state stays whatever is asked for."""
        return bool(self.roots & PINNED)

    @property
    def is_named(self) -> bool:
        """Return whether a package names the state: not a lock alone, nor the mere presence of its manifest."""
        return bool(self.packages)

    def __or__(self, other: StoredState) -> StoredState:
        packages = tuple(dict.fromkeys(self.packages + other.packages))
        at, is_pushed = max(self.at, other.at), self.is_pushed or other.is_pushed
        return StoredState(self.hash, packages, self.roots | other.roots, at, is_pushed, self.records | other.records)


@dataclass
class Live:
    """The objects that states need, hash to size in bytes, their manifests included.

    `whole` are those that a pinned state needs: they stay as they are, since mapping them, their paths and load times
    depend on it. `older` are needed by other states only.
    """

    whole: Mapping[str, int] = field(default_factory=dict)
    older: Mapping[str, int] = field(default_factory=dict)

    def __contains__(self, hash: object) -> bool:
        return hash in self.whole or hash in self.older


@dataclass(frozen=True)
class FileKind:
    """Files of one kind: a glob below the store or, with `in_cache`, below the cache folder, and what they are.

    `of_package` yields the states that files of this kind name for a package, `of_store` those that are named whatever
    the package. A kind with neither may hold hashes, for the reason that `about` gives.
    """

    glob: str
    about: str
    of_package: Callable[[Refs, Ref], Iterator[StoredState]] | None = None
    of_store: Callable[[CollectableStore], Iterator[StoredState]] | None = None
    in_cache: bool = False


def _current(refs: Refs, ref: Ref) -> Iterator[StoredState]:
    if current := refs.current(ref):
        yield StoredState(current.hash, roots=frozenset({"current"}), is_pushed=_is_registry(current.origin))


def _kept(refs: Refs, ref: Ref) -> Iterator[StoredState]:
    for hash in refs.kept(ref):
        yield StoredState(hash, roots=frozenset({"kept"}))


def _tagged(refs: Refs, ref: Ref) -> Iterator[StoredState]:
    for name, hash in refs.tags(ref).items():
        yield StoredState(hash, roots=frozenset({f"tag {name}"}), is_pushed=True)


def _versioned(refs: Refs, ref: Ref) -> Iterator[StoredState]:
    for name, hash in refs.versions(ref).items():
        yield StoredState(hash, roots=frozenset({f"version {name}"}), is_pushed=True)


def _logged(refs: Refs, ref: Ref) -> Iterator[StoredState]:
    builds: dict[str, None] = {}
    for event in refs.log(ref):
        if event.event == "build":
            builds[event.hash] = None
        is_new_build = event.hash in builds and len(builds) <= NEWEST_BUILDS
        roots = {"log", "build"} if is_new_build else {"log"}
        records = frozenset({event.record_object} - {""})
        at, is_pushed = _seconds(event.at), _is_registry(event.origin)
        yield StoredState(event.hash, roots=frozenset(roots), at=at, is_pushed=is_pushed, records=records)


def _locked(store: CollectableStore) -> Iterator[StoredState]:
    for hash in store.known_locks.pinned():
        yield StoredState(hash, roots=frozenset({"lock"}))


def _staged(store: CollectableStore) -> Iterator[StoredState]:
    """Yield the outputs of stages that a build used lately."""
    from datapkg.store.stage_results import IDLE_S, used_since

    for result in used_since(store.folder, time.time() - IDLE_S):
        yield StoredState(result.manifest, roots=frozenset({"stage"}), at=_seconds(result.at))


def _used(store: CollectableStore) -> Iterator[StoredState]:
    """Yield the states that users of this store have installed, if it is a shared one."""
    from datapkg.store.shared_uses import used

    for hash, at in used(store.folder):
        yield StoredState(hash, roots=frozenset({"used"}), at=at, is_pushed=True)


def _unnamed(store: CollectableStore) -> Iterator[StoredState]:
    """Yield every manifest, also of states that nothing names, such as one that was only looked at."""
    loose = store.objects.packed.loose
    for hash in loose:
        with contextlib.suppress(OSError):
            if _head(loose.path(hash)) == _MANIFEST_HEAD:
                yield StoredState(hash)


def _head(path: Path) -> bytes:
    """Return the first bytes of a file without a new access time, by which what a process relies on is known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only the owner of a file may leave its access time
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, len(_MANIFEST_HEAD))
    finally:
        os.close(fd)


FILES = (
    FileKind("packages/*/*/current", "the state last built or installed", _current),
    FileKind("packages/*/*/kept/*", "states that the user pinned with `cache keep`", _kept),
    FileKind(
        "packages/*/*/log/*.json",
        "events, and objects of records; these name sources and parents, which have events",
        _logged,
    ),
    FileKind("packages/*/*/log-archive/*/*.json", "older events; `_logged` reads both"),
    FileKind("packages/*/*/tags.json", "tags of the registry, as last seen", _tagged),
    FileKind("packages/*/*/versions.json", "versions of the registry, as last seen", _versioned),
    FileKind("packages/*/*/yanked.json", "reasons of the registry's yanked versions, as last seen"),
    FileKind("packages/*/*/dates.json", "states that dates meant; those that were installed are in the log"),
    FileKind("packages/*/*/tags/*", "tags as older datapkgs wrote them; `_tagged` reads both"),
    FileKind("packages/*/*/versions/*", "versions as older datapkgs wrote them; `_versioned` reads both"),
    FileKind("locks/*", "paths of the lock files that were used on this machine", of_store=_locked),
    FileKind("stages/*/*.json", "results of stages, which name the manifests of their outputs", of_store=_staged),
    FileKind("uses/*/*", "states that users of a shared store have installed", of_store=_used),
    FileKind("shared-name", "the name of this store in shared ones"),
    FileKind("objects/*/*", "objects; those that are manifests name others", of_store=_unnamed),
    FileKind("packs/*.pack", "small objects"),
    FileKind("recipes/*/*", "objects as ranges of others, which are needed while the object is"),
    FileKind("links/*/*/*", "names of objects of a state, which are deleted with it"),
    FileKind("partial/*/*", "incomplete objects, and their chunk maps"),
    FileKind("quarantine/*", "wrong bytes"),
    FileKind("trash/objects/*", "objects that are being deleted; a run that was killed is undone by the next"),
    FileKind("trash/packs/*", "packs that are being deleted"),
    FileKind("trash/recipes/*", "recipes that are being deleted"),
    FileKind("trash/removed/**/*", "what names the states of packages that were removed"),
    FileKind("trash/lock", "the lock of whoever deletes"),
    FileKind("tmp/*", "files that are being written"),
    FileKind("work.lock", "the lock of all writers"),
    FileKind("format", "the version of this layout"),
    FileKind("index.db*", "a cache; what it says of an object is checked against the store", in_cache=True),
    FileKind("warm/**/*", "copies of tables in another format", in_cache=True),
    FileKind("manifests/**/*", "indexes of long manifests", in_cache=True),
    FileKind("restored/**/*", "objects of read-only stores that are recipes there", in_cache=True),
    FileKind("links/*/*/*", "names of objects of read-only stores", in_cache=True),
    FileKind("sources/**/*", "sources of builds by their own hash, which are not objects", in_cache=True),
    FileKind("stages/*/*/*/*.log", "what stages printed", in_cache=True),
)


def all_states(store: CollectableStore, without: str = "") -> dict[str, StoredState]:
    """Return every state that a root names or whose manifest is here, by hash; `without` what one package names.

    Raise `CorruptObject` if a pointer or log cannot be read: what it names is not known.
    """
    found: dict[str, StoredState] = {}
    for ref in store.refs.folders():
        if ref.package == without:
            continue
        if damaged := store.refs.damaged(ref):
            raise CorruptObject(f"{damaged[0][1]}, so it is not known what {ref.package} needs", hint="datapkg verify")
        _add(found, states_of(store.refs, ref).values())
    for kind in FILES:
        if kind.of_store:
            _add(found, kind.of_store(store))
    return found


def states_of(refs: Refs, ref: Ref) -> dict[str, StoredState]:
    """Return the states that the pointers and the log of a package name, by hash."""
    found: dict[str, StoredState] = {}
    for kind in FILES:
        if kind.of_package:
            _add(found, (replace(each, packages=(ref.package,)) for each in kind.of_package(refs, ref)))
    return found


def _add(found: dict[str, StoredState], states: Iterable[StoredState]) -> None:
    for each in states:
        found[each.hash] = found[each.hash] | each if each.hash in found else each


class Needs:
    """What states need, by their manifests and by the recipes of the store as they are now."""

    def __init__(self, store: CollectableStore) -> None:
        self._store = store
        self._recipes = set(store.objects.packed.recipes)

    def of(self, state: StoredState) -> Mapping[str, int]:
        """Return the objects of a state, hash to size in bytes, with its manifest, records, and what recipes use.

        Raise `ObjectNotFound`, `CorruptObject`, `InvalidManifest`.
        """
        # Without an index, which takes much longer to make than the objects of a long manifest are read once.
        manifest = self._store.manifest(state.hash)
        needed = {state.hash: manifest.size_bytes, **sizes_of(self._store, state.records)}
        bases: dict[str, int] = {}
        objects = manifest.objects()
        for hash in [hash for hash in self._recipes if hash in objects or hash in needed]:
            with contextlib.suppress(CorruptObject):
                for each in self._store.objects.packed.recipes.find(hash):
                    # A lower bound: a recipe does not state the size of its bases.
                    bases.setdefault(str(each.source), each.offset + each.size)
        return merged(merged(objects, needed), bases)


def mark(store: CollectableStore, states: Iterable[StoredState]) -> Live:
    """Return what these states need. Raise `CorruptObject` if that is unknown, as for a manifest that is corrupt.

    A state whose manifest is not here needs nothing, unless it is a current one: its objects may still be restored.
    """
    live, needs = Live(), Needs(store)
    # Pinned states first, since `older` leaves out what one of them needs.
    for state in sorted(states, key=lambda each: not each.is_pinned):
        try:
            needed = needs.of(state)
        except ObjectNotFound as error:
            if "current" in state.roots:
                what = f"the manifest of {state.packages[0]} is not here, so it is not known what the package needs"
                raise CorruptObject(what, hint=f"datapkg install {state.packages[0]}", hash=state.hash) from error
            continue
        except DatapkgError:
            if state.roots:
                raise
            continue
        if state.is_pinned:
            live.whole = merged(live.whole, needed)
        else:
            live.older = merged(live.older, without(needed, live.whole))
    return live


def sizes_of(store: CollectableStore, hashes: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of those objects that are here."""
    sizes = {}
    for hash in hashes:
        with contextlib.suppress(ObjectNotFound):
            sizes[hash] = store.objects.size(hash)
    return sizes


def _is_registry(origin: str) -> bool:
    return "://" in origin


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0
