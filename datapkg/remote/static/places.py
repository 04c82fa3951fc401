"""Find the objects of a package: by the files of locations of its states, else by their own keys."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from datapkg.errors import CorruptObject, NotFound, QuotaExceeded
from datapkg.format import static_registry as layout
from datapkg.format.chunks import Step
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation, StateLocations, decode_locations, encode_locations
from datapkg.format.names import Ref
from datapkg.objects.base import not_found
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.recipes import MAX_RECIPE_BYTES, decode_recipe
from datapkg.objects.threads import ThreadPool

MAX_FILES = 100_000
MAX_BASES = 8
"""A file that would be searched together with more others is written whole."""


class ObjectPlaces:
    """Where the objects of one package are; `states` yields those of its log, the likeliest first.

    Safe for threads. What a push puts is added, and found before all else.
    """

    def __init__(self, blobs: Blobs, ref: Ref, states: Callable[[], Iterator[str]]) -> None:
        self._blobs, self._ref, self._states = blobs, ref, states
        self.added: dict[str, ObjectLocation] = {}
        self._read: dict[str, StateLocations | None] = {}
        self._lost: set[str] = set()
        self._begun: set[str] = set()
        self._left: Iterator[str] | None = None
        self._lock = threading.RLock()

    def of_state(self, state: str) -> StateLocations | None:
        """Return the file of a state, None where it is absent or damaged; it and its bases are searched from now on."""
        with self._lock:
            left = [state]
            while left and len(self._read) < MAX_FILES:
                each = left.pop()
                if each not in self._read:
                    found = self._read[each] = fetched(self._blobs, layout.locations_key(self._ref, each))
                    left += found.bases if found else ()
            return self._read.get(state)

    def known(self, hash: str) -> ObjectLocation | None:
        """Return where an object is by what was read until now."""
        if found := self.added.get(hash):
            return found
        # Of a copy: other threads add files meanwhile.
        places = (place for each in list(self._read.values()) if each and (place := each.find(hash)))
        return next((place for place in places if place.pack not in self._lost), None)

    def forget(self, pack: str) -> None:
        """Note that a pack is gone: what is in it is looked for elsewhere, and may have been pushed again."""
        self._lost.add(pack)
        self.added = {hash: place for hash, place in self.added.items() if place.pack != pack}

    def lost(self) -> list[str]:
        """Return the objects that are nowhere, as their packs are gone, of the states whose files were read."""
        files = [each for each in list(self._read.values()) if each]
        packs = sorted({pack for each in files for pack in each.packs})
        with ThreadPool(self._blobs.jobs) as pool:
            sizes = pool.map(self._blobs.size, map(layout.pack_key, packs))
            for pack, size in zip(packs, sizes, strict=True):
                if size is None:
                    self.forget(pack)
        if not self._lost:
            return []
        return sorted({hash for each in files for hash, _ in each if self.known(hash) is None})

    def heal(self) -> None:
        """Write the files that name lost packs anew, with where their objects are now that they were put again."""
        for state, found in list(self._read.items()):
            if found and self._lost.intersection(found.packs):
                here = {hash: self.known(hash) or place for hash, place in found}
                sizes = {name: getattr(found, name) for name in ("number", "manifest_size", "bytes_logical", "bases")}
                data = encode_locations(here, **sizes)
                self._put(layout.locations_key(self._ref, state), data)
                self._read[state] = decode_locations(data)

    def find(self, hash: str) -> ObjectLocation:
        """Return where an object is; raise `ObjectNotFound` after all states of the package were searched for it."""
        if found := self.known(hash):
            return found
        if found := self.whole(hash):
            return found
        with self._lock:
            if self._left is None:
                self._left = self._states()
            for state in self._left:
                self.of_state(state)
                if found := self.known(hash):
                    return found
        raise not_found(hash, f"in {self._ref.package} at {self._blobs.url}")

    def whole(self, hash: str) -> ObjectLocation | None:
        """Return the place of an object that has a file of its own, whichever package it was pushed with."""
        size = self._blobs.size(layout.object_key(hash))
        if size is None:
            return None
        found = self.added[hash] = ObjectLocation(WHOLE, 0, size)
        return found

    def recipe(self, hash: str) -> list[Step]:
        """Return the ranges that an object is kept as; raise `NotFound`, `CorruptObject`."""
        data = self._blobs.read(layout.recipe_key(hash), MAX_RECIPE_BYTES)
        return decode_recipe(data, hash, f" at {self._blobs.url}")

    def resume(self, state: str) -> None:
        """Add what an earlier push of this state has stored that did not end; packs that are gone are passed over."""
        with self._lock:
            self._read.pop(state, None)
        for key in (layout.locations_key(self._ref, state), layout.begun_key(self._ref, state)):
            if found := fetched(self._blobs, key):
                self._begun.add(key)
                here = {pack for pack in found.packs if self._blobs.size(layout.pack_key(pack)) is not None}
                self.added |= {hash: place for hash, place in found if place.pack in here}

    def write(self, state: str, before: str | None, needed: Iterable[str], sizes: Mapping[str, int]) -> None:
        """Write the file of a state with the places of `needed`; those that are in the file of `before` are left there.

        A file of this state that is there already is replaced by one that is as complete, unless nothing of it was put
        anew. `sizes` has the fields `number`, `manifest_size` and `bytes_logical`.
        """
        needed = list(needed)
        if self.of_state(state) and not self.added.keys() & set(needed):
            return
        bases: list[str] = []
        if before and (found := self.of_state(before)):
            bases = [*found.bases, before]
        if len(bases) > MAX_BASES or state in bases:  # a base must not have left anything to this file itself
            bases = []
        held = [each for base in bases if (each := self._read.get(base))]
        is_held = {hash: any(each.find(hash) for each in held) and hash not in self.added for hash in needed}
        own = {hash: self.find(hash) for hash in needed if not is_held[hash]}
        for hash in [hash for hash, place in own.items() if place.pack == RECIPE]:
            for step in self.recipe(hash):  # what it is made of is kept, and found, with it
                own.setdefault(str(step.source), self.find(str(step.source)))
        data = encode_locations(own, bases=bases, **sizes)
        self._put(layout.locations_key(self._ref, state), data)
        with self._lock:
            self._read[state] = decode_locations(data)
        # Last: until the file of the state is written, an interrupted push is resumed from this one.
        if (key := layout.begun_key(self._ref, state)) in self._begun:
            self._blobs.delete(key)

    def keep(self, needed: Iterable[str]) -> None:
        """Make sure that what a push relies on is there now that it is in the log; some of it may be in the trash.

        Raise `ObjectNotFound` for what is gone.
        """
        used = {hash: self.added[hash] for hash in needed if hash in self.added}
        # Not recipes: those in `added` were written by this push, too lately to be collected.
        keys = {layout.pack_key(each.pack): hash for hash, each in used.items() if each.pack not in (WHOLE, RECIPE)}
        keys |= {layout.object_key(hash): hash for hash, each in used.items() if each.pack == WHOLE}
        for key, hash in keys.items():
            if self._blobs.size(key) is None:
                try:
                    self._blobs.rename(layout.trash_key(key), key)
                except NotFound as error:
                    raise not_found(hash, f"at {self._blobs.url} any more; push again") from error

    def write_begun(self, state: str) -> None:
        """Write where what was put until now is, so that the push of this state can be resumed."""
        self._begun.add(key := layout.begun_key(self._ref, state))
        self._put(key, encode_locations(self.added))

    def _put(self, key: str, data: bytes) -> None:
        self._blobs.put(key, io.BytesIO(data))


def fetched(blobs: Blobs, key: str) -> StateLocations | None:
    """Return a file of locations, None where it is absent or damaged: it is derived."""
    try:
        return decode_locations(blobs.read(key, layout.MAX_LOCATIONS_BYTES))
    except (NotFound, CorruptObject, QuotaExceeded):
        return None
