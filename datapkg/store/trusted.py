"""Objects of this machine, believed only while their file has not changed since its hash was right."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.hashing import READ_BYTES, is_hash
from datapkg.objects.base import Objects
from datapkg.objects.files import seal, temp_path
from datapkg.objects.pack_file import OpenFiles, Place, open_place, read_place
from datapkg.objects.packs import FEW_LOOKUPS, PackedObjects
from datapkg.store.index import Index


class TrustedObjects(Objects):
    """Packed objects and the index that says which of their files may be believed without hashing them again."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.packed = PackedObjects(folder, named=index.believe)
        self.quarantine_folder = folder / "quarantine"
        self.index = index

    def trusted(self, hash: str) -> Place:
        """Where the object lies, its bytes being right.

        Raises `ObjectNotFound`; `CorruptObject` where the bytes have changed since they were stored.
        """
        place = self.packed.locate(hash)
        if self._file_is_right(place, hash) or hash_place(place) == hash:
            return place
        raise CorruptObject(
            f"object {hash} in the store is damaged: its bytes have changed since it was stored; they were not used",
            hint="datapkg verify, then datapkg install the package again",
            hash=hash,
        )

    def _believed(self, place: Place) -> bool:
        if place.path.parent == self.packed.tmp:  # of a batch still open in this process
            return True
        return self.index.believes(place.path)

    def _file_is_right(self, place: Place, hash: str) -> bool:
        """Whether the file is what its name says, by its stat or by hashing it again; a pack stands or falls whole."""
        if self._believed(place):
            return True
        if hash_file(place.path) != (place.pack or hash):
            return False
        self.index.believe([place.path])
        return True

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Those not here, and those damaged, which are put into quarantine on the way."""
        wanted = set(hashes)
        wanted -= self._in_whole_packs(wanted)
        absent = self.packed.missing(wanted)
        whole: set[Path] = set()
        suspect: set[Path] = set()
        for hash in wanted - absent:
            try:
                place = self.packed.locate(hash)
                if place.path not in whole and place.path not in suspect:
                    (whole if self._file_is_right(place, hash) else suspect).add(place.path)
                if place.path in suspect and hash_place(place) != hash:
                    self.quarantine(hash)
                    absent.add(hash)
            except ObjectNotFound:
                absent.add(hash)
        return absent

    def _in_whole_packs(self, wanted: set[str]) -> set[str]:
        """Those in packs that may be believed as they lie; quick, where there are many."""
        if len(wanted) <= FEW_LOOKUPS:
            return set()
        digests = {bytes.fromhex(hash) for hash in wanted}
        found: set[bytes] = set()
        for pack in self.packed.packs():
            here = digests.intersection(pack.hashes())
            if here and self.index.believes(pack.path):
                found |= here
        return {digest.hex() for digest in found}

    def files(self, hashes: Iterable[str]) -> set[Path]:
        """The files in which these objects lie."""
        wanted = {bytes.fromhex(hash) for hash in hashes}
        files = set()
        for pack in self.packed.packs():
            if here := wanted.intersection(pack.hashes()):
                wanted -= here
                files.add(pack.path)
        return files | {self.packed.locate(digest.hex()).path for digest in wanted}

    def quarantine(self, hash: str) -> None:
        """Takes a damaged object out of use, keeping its bytes for whoever wants to look."""
        place = self.packed.locate(hash)
        self.keep_aside(hash, read_place(place))
        if place.pack:
            self.packed.delete(hash)
        else:
            place.path.unlink(missing_ok=True)

    def keep_aside(self, name: str, data: bytes) -> None:
        """Writes damaged bytes into the quarantine, under a name of their own."""
        self.quarantine_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.quarantine_folder / f"{name}-{secrets.token_hex(4)}").write_bytes(data)

    def quarantined(self) -> set[str]:
        """The hashes of objects that were taken out of use and not replaced since."""
        try:
            names = os.listdir(self.quarantine_folder)
        except FileNotFoundError:
            return set()
        return self.packed.missing({name[:64] for name in names if is_hash(name[:64])})

    def size(self, hash: str) -> int:
        return self.packed.size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return open_place(self.trusted(hash), start, stop)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        whole: set[Path] = set()
        with contextlib.closing(OpenFiles()) as files:
            for hash in hashes:
                place = self.packed.locate(hash)
                if place.path not in whole:
                    place = self.trusted(hash)
                    if self._believed(place):
                        whole.add(place.path)
                yield hash, files.read(place)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        return self.packed.put(stream, expected)

    def batch(self) -> AbstractContextManager[None]:
        return self.packed.batch()

    def forget(self, hashes: Iterable[str]) -> None:
        self.packed.forget(hashes)

    def delete(self, hash: str) -> None:
        self.packed.delete(hash)

    def __iter__(self) -> Iterator[str]:
        return iter(self.packed)

    def copy_to(self, hash: str, target: Path, tmp: Path) -> None:
        """Makes an ordinary read-only file of the object, whole or not at all; `tmp` is on the target's file system."""
        temp = temp_path(tmp, "link")
        try:
            sha256 = hashlib.sha256()
            with open_place(self.trusted(hash)) as source, open(temp, "xb") as file:
                while piece := source.read(READ_BYTES):
                    sha256.update(piece)
                    file.write(piece)
                seal(file)
            if sha256.hexdigest() != hash:
                raise CorruptObject(f"object {hash} changed while it was copied", hash=hash)
            os.replace(temp, target)
        finally:
            temp.unlink(missing_ok=True)


def hash_place(place: Place) -> str:
    """The sha256 of the bytes at this place."""
    sha256 = hashlib.sha256()
    with open_place(place) as stream:
        while piece := stream.read(READ_BYTES):
            sha256.update(piece)
    return sha256.hexdigest()


def hash_file(path: Path) -> str:
    """The sha256 of a file."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
