"""Objects of this machine, whose hash is checked again whenever their file has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.hashing import READ_BYTES, is_hash
from datapkg.objects.base import Objects
from datapkg.objects.files import seal, temp_path
from datapkg.objects.pack_file import OpenFiles, PackLocation, open_place, read_place
from datapkg.objects.packs import FEW_LOOKUPS, PackedObjects
from datapkg.store.index import Index

RENEWED_NS = 300 * 10**9


class VerifiedObjects(Objects):
    """Packed objects, and the index of the files that need not be hashed again."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.packed = PackedObjects(folder, named=index.mark_verified)
        self.quarantine_folder = folder / "quarantine"
        self.index = index
        self.is_renewing = False

    def trusted(self, hash: str) -> PackLocation:
        """Return where the object is stored, verified.

        Raise `ObjectNotFound`; `CorruptObject` where the bytes have changed since they were stored.
        """
        for is_last in (False, True):
            place = self.packed.locate(hash)
            try:
                if self._file_is_right(place, hash) or hash_place(place) == hash:
                    return place
                break
            except (FileNotFoundError, ObjectNotFound):  # another process has just written its pack anew
                if is_last:
                    raise
        raise CorruptObject(
            f"object {hash} in the store is damaged: its bytes have changed since it was stored; they were not used",
            hint="datapkg verify, then install the package again",
            hash=hash,
        )

    def _is_verified(self, place: PackLocation) -> bool:
        if place.path.parent == self.packed.tmp:  # of a batch still open in this process
            return True
        return self.index.is_verified(place.path)

    def _file_is_right(self, place: PackLocation, hash: str) -> bool:
        """Whether the file is what its name says, by its stat or by hashing it again; a pack stands or falls whole."""
        if self._is_verified(place):
            return True
        if hash_file(place.path) != (place.pack or hash):
            return False
        self.index.mark_verified([place.path])
        return True

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return those not here, and those damaged, which are put into quarantine on the way.

        While the store is written to, the files of the others get a new access time: they are not deleted by others for
        an hour (`gc`).
        """
        asked = set(hashes)
        wanted = asked.copy()
        packs = self._in_whole_packs(wanted)
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
            except (FileNotFoundError, ObjectNotFound):
                absent.add(hash)
        if self.is_renewing and not self._renew(packs | whole | suspect):
            absent |= self.packed.missing(asked - absent)
        return absent

    def _renew(self, paths: set[Path]) -> bool:
        """Give files a new access time, unless theirs is recent; False where one is not there any more."""
        now, renewed, is_here = time.time_ns(), [], True
        for path in paths:
            with contextlib.suppress(OSError):  # the file of another owner stays as it is
                try:
                    status = os.stat(path)
                    if now - status.st_atime_ns < RENEWED_NS or path.parent == self.packed.tmp:
                        continue
                    is_verified = self.index.is_verified(path)
                    os.utime(path, ns=(now, status.st_mtime_ns))
                except FileNotFoundError:
                    is_here = False
                    continue
                if is_verified:
                    renewed.append(path)
        self.index.mark_verified(renewed)
        return is_here

    def _in_whole_packs(self, wanted: set[str]) -> set[Path]:
        """Remove from `wanted` the hashes in packs that are known to be verified, and return these packs.

        One look at a pack settles all its objects, which is quick where there are many.
        """
        packs: set[Path] = set()
        if len(wanted) <= FEW_LOOKUPS:
            return packs
        digests = {bytes.fromhex(hash) for hash in wanted}
        for pack in self.packed.packs():
            here = digests.intersection(pack.hashes())
            if here and self.index.is_verified(pack.path):
                wanted.difference_update(digest.hex() for digest in here)
                packs.add(pack.path)
        return packs

    def files(self, hashes: Iterable[str]) -> set[Path]:
        """Return the files in which these objects lie."""
        wanted = {bytes.fromhex(hash) for hash in hashes}
        files = set()
        for pack in self.packed.packs():
            if here := wanted.intersection(pack.hashes()):
                wanted -= here
                files.add(pack.path)
        return files | {self.packed.locate(digest.hex()).path for digest in wanted}

    def quarantine(self, hash: str) -> None:
        """Take a damaged object out of use, keeping its bytes for whoever wants to look."""
        place = self.packed.locate(hash)
        self.keep_aside(hash, read_place(place))
        if place.pack:
            self.packed.delete(hash)
        else:
            place.path.unlink(missing_ok=True)

    def keep_aside(self, name: str, data: bytes) -> None:
        """Write damaged bytes into the quarantine, under a name of their own."""
        self.quarantine_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.quarantine_folder / f"{name}-{secrets.token_hex(4)}").write_bytes(data)

    def quarantined(self) -> set[str]:
        """Return the hashes of objects that were taken out of use and not replaced since."""
        try:
            names = os.listdir(self.quarantine_folder)
        except FileNotFoundError:
            return set()
        return self.packed.missing({name[:64] for name in names if is_hash(name[:64])})

    def size(self, hash: str) -> int:
        return self.packed.size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        try:
            return open_place(self.trusted(hash), start, stop)
        except ObjectNotFound:  # gone between the look and this: its pack was written anew
            return open_place(self.trusted(hash), start, stop)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        whole: set[Path] = set()
        with contextlib.closing(OpenFiles()) as files:
            for hash in hashes:
                place = self.packed.locate(hash)
                if place.path not in whole:
                    place = self.trusted(hash)
                    if self._is_verified(place):
                        whole.add(place.path)
                try:
                    data = files.read(place)
                except ObjectNotFound:
                    data = files.read(self.trusted(hash))
                yield hash, data

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        return self.packed.put(stream, expected)

    def batch(self) -> AbstractContextManager[None]:
        return self.packed.batch()

    def discard(self, hashes: Iterable[str]) -> None:
        self.packed.discard(hashes)

    def delete(self, hash: str) -> None:
        self.packed.delete(hash)

    def __iter__(self) -> Iterator[str]:
        return iter(self.packed)

    def copy_to(self, hash: str, target: Path, tmp: Path) -> None:
        """Make an ordinary read-only file of the object, whole or not at all; `tmp` is on the target's file system."""
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


def hash_place(place: PackLocation) -> str:
    """Return the sha256 of the bytes at this place."""
    sha256 = hashlib.sha256()
    with open_place(place) as stream:
        while piece := stream.read(READ_BYTES):
            sha256.update(piece)
    return sha256.hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
