"""Reads of objects by the places of their bytes, in packs, in files of their own or as recipes."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from datapkg.errors import ObjectNotFound
from datapkg.objects.base import Objects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.pack_file import JoinedPlaces, OpenFiles, Pack, PackLocation, open_places, readable_bytes

T = TypeVar("T")


class PackedReads(Objects):
    """The part of a home with packs that reads."""

    loose: DirectoryObjects
    packs_folder: Path
    _packs: dict[str, Pack]

    @abstractmethod
    def places(self, hash: str, start: int = 0, stop: int | None = None) -> list[PackLocation]:
        """Return where the object's bytes from `start` up to `stop` are now: in one piece, or as its recipe states."""

    @abstractmethod
    def look_again(self) -> None:
        """List the packs anew at the next question: they were changed here, by other means than a batch."""

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._at_places(hash, self.open_places, start, stop)

    def open_places(self, places: Sequence[PackLocation]) -> BinaryIO:
        """Return a stream of the bytes at several places, one after the other; the caller closes it."""
        return open_places(places)

    def unbuffered(self, places: Sequence[PackLocation]) -> JoinedPlaces:
        """Return the same without a buffer, for readers that may pause for minutes."""
        return JoinedPlaces(places)

    def readable_bytes(self, place: PackLocation) -> bytes:
        """Return the bytes at a place for inspection, none if they cannot be read."""
        return readable_bytes(place)

    def signed_url(self, hash: str, seconds: int) -> str | None:
        """Return an address from which anybody can read an object for some time, None where there is none."""
        return None

    @contextmanager
    def local_places(self) -> Iterator[Callable[[str], list[PackLocation]]]:
        """Inside, give a function that returns where the bytes of an object are in files of this machine."""
        yield self.places

    @contextmanager
    def reading(self, hashes: Sequence[str]) -> Iterator[Callable[[str], bytes]]:
        """Inside, give a function that returns small objects whole, fast for those named here in their order."""
        with contextlib.closing(OpenFiles()) as files:
            yield lambda hash: self.read_from(files, hash)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        hashes = list(hashes)
        with self.reading(hashes) as read:
            for hash in hashes:
                yield hash, read(hash)

    def read_from(self, files: OpenFiles, hash: str) -> bytes:
        """Return the whole object in memory; of many objects, each pack is opened once."""
        if place := self.near(files, hash):
            return files.read(place)
        return self._at_places(hash, lambda places: b"".join(self._read_piece(files, place) for place in places))

    def near(self, files: OpenFiles, hash: str) -> PackLocation | None:
        """Return where an object is in the pack that `files` read last, which stays readable; None if elsewhere.

        Objects that are read together were mostly stored together, and searching one pack takes less than all.
        """
        place = files.find_near(hash)
        # A file of its own has priority: it may replace a damaged copy in the pack.
        return place if place and not self.loose.has(hash) else None

    def _read_piece(self, files: OpenFiles, place: PackLocation) -> bytes:
        data = files.read(place)
        self.stay_near(files, place)
        return data

    def stay_near(self, files: OpenFiles, place: PackLocation) -> None:
        """Make the pack that was just read at a place the first in which `near` looks."""
        files.last_pack = self._packs.get(place.path.name) if place.path.parent == self.packs_folder else None

    def _at_places(
        self, hash: str, read: Callable[[list[PackLocation]], T], start: int = 0, stop: int | None = None
    ) -> T:
        """Return what `read` gives for the object's places; a pack may be replaced between the two steps."""
        places = self.places(hash, start, stop)
        try:
            return read(places)
        # Another process may have merged or rewritten the pack between the two steps; its objects are
        # elsewhere now.
        except ObjectNotFound:
            self.look_again()
            return read(self.places(hash, start, stop))
