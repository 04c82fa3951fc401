"""Check that the file of locations of a state leads to all that the state needs, before anything relies on that.

The file is derived, and its own sha256 says only that its bytes are whole: it may be that of another state, or have
been written by hand. A reader verifies each object that it gets, but whoever deletes or copies by it verifies it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from datapkg.errors import CorruptObject, DatapkgError
from datapkg.format import static_registry as layout
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation, StateLocations
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref
from datapkg.objects.pack_file import Pack
from datapkg.remote.static.package import StaticPackage


class LocationsCheck:
    """Checks states of one package; the index of each pack is read once.

    `unread` are the states whose manifests are lost or damaged, so that it is not known what they need.
    """

    def __init__(self, package: StaticPackage) -> None:
        self._package = package
        self._packs: dict[str, Pack | None] = {}
        self.unread: set[str] = set()
        self._checked: set[tuple[str, str | None]] = set()

    @property
    def ref(self) -> Ref:
        """The package."""
        return self._package.ref

    def locations(self, state: str, record_object: str | None = None) -> dict[str, StateLocations]:
        """Return the file of a state and those of its bases, by state.

        Raise `CorruptObject` where one is absent, or they do not lead to all objects. What is lost or damaged itself is
        no error here, as long as it is written where it belongs.
        """
        files = {state: self._file(state, state)}
        files |= {base: self._file(base, state) for base in files[state].bases}
        if (state, record_object) not in self._checked:
            for hash, place in files[state]:
                if not self._is_right(hash, place):
                    raise self._error(state, f"pack {place.pack[:12]} does not have object {hash[:12]} there")
            self._check_listed(state, files.values(), [state, *filter(None, [record_object])])
            self._check_listed(state, files.values(), self._objects(state))
            self._checked.add((state, record_object))
        return files

    def _file(self, state: str, needed_by: str) -> StateLocations:
        found = self._package.places.of_state(state)
        if found is None:
            raise self._error(needed_by, f"{layout.locations_key(self.ref, state)} is lost or damaged")
        return found

    def _objects(self, state: str) -> Iterable[str]:
        """Return the objects of a manifest; none where it is lost or damaged, which `verify` reports."""
        try:
            return read_manifest(self._package.manifest(state), state).objects()
        except (DatapkgError, OSError):
            self.unread.add(state)
            return ()

    def _check_listed(self, state: str, files: Iterable[StateLocations], needed: Iterable[str]) -> None:
        for hash in needed:
            if not any(each.find(hash) for each in files):
                raise self._error(state, f"it is not written where object {hash[:12]} is")

    def _is_right(self, hash: str, place: ObjectLocation) -> bool:
        if place.pack in (WHOLE, RECIPE):
            return True
        if place.pack not in self._packs:
            self._packs[place.pack] = self._index(place.pack)
        pack = self._packs[place.pack]
        if pack is None:
            return True
        held = pack.find(bytes.fromhex(hash))
        return held is not None and (held.offset, held.size) == (place.offset, place.size)

    def _index(self, pack: str) -> Pack | None:
        """Return the index of a pack, None where it is lost or damaged."""
        blobs, key = self._package.blobs, layout.pack_key(pack)
        try:
            size = blobs.size(key)
            if size is None:
                return None
            return Pack.elsewhere(PurePath(key), size, lambda start, stop: blobs.read_ranges(key, [(start, stop)])[0])
        except (CorruptObject, LookupError):
            return None

    def _error(self, state: str, what: str) -> CorruptObject:
        package, url = self._package.ref.package, self._package.blobs.url
        return CorruptObject(
            f"it is not known where the objects of {package}@sha256:{state[:12]} at {url} are: {what}; nothing was "
            "changed",
            hint=layout.verify_line(url),
        )
