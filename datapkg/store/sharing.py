"""Shared stores: folders of objects that several users read, and that those of their group add downloads to.

An object that a shared store has is read where it is, after it was verified once by each user (the index is the
user's). A store is shared on purpose (`make_shared`): its folder is set-group-ID and writable for the group, and what
is made below it is open to that group (`objects.files.make_folder`), whatever the umask of who writes. Writing needs no
lock: a file is written under a random name, synced, and renamed, which is atomic on NFS too; two users who write the
same object write the same bytes.
"""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from datapkg.errors import Conflict, CorruptObject, InvalidInput, ObjectNotFound, Refused
from datapkg.format.chunks import Chunk
from datapkg.objects.base import Writable
from datapkg.objects.files import is_shared, make_folder, no_such_path, sweep_temp, write_atomic
from datapkg.objects.pack_file import PackLocation
from datapkg.store import shared_uses
from datapkg.store.index import Index
from datapkg.store.verified import VerifiedObjects

if TYPE_CHECKING:
    from datapkg.format.manifest.parsed import Manifest

SHARED_MODE = 0o2770
"""Not readable for others, since it has data of private packages too; folders in it get the same mode."""


class SharingObjects(VerifiedObjects):
    """The objects of a store and, behind them, those of shared stores; only its own are counted, moved or deleted."""

    def __init__(self, folder: Path, index: Index, shared: Sequence[Path]) -> None:
        super().__init__(folder, index)
        self._others = [VerifiedObjects(each, index) for each in shared]
        self._downloads: Writable | None = None

    @property
    def downloads(self) -> Writable:
        """Return the home for what is fetched: the first shared store that this user may write, else this store."""
        if self._downloads is None:
            writable = (each for each in self._others if _is_writable(each.packed.folder))
            target = next(writable, None)
            if target is not None:
                # `Store.prepare`, which does this for the user's own store, is not called for a shared one.
                sweep_temp(target.packed.tmp)
            self._downloads = _SharedDownloads(self, target) if target else self
        return self._downloads

    def note_use(self, manifest: Manifest) -> None:
        """Note in the shared stores that a state is used here, so that nobody's `gc` takes its objects away."""
        for each in self._writable():
            with contextlib.suppress(OSError):
                # First, since `gc` learns from it what the state needs.
                if each.packed.missing([manifest.hash]):
                    each.packed.put(manifest.opened(), manifest.hash)
                shared_uses.note(each.packed.folder, self.packed.folder, manifest.hash)

    def forget_uses(self, needed: Collection[str]) -> None:
        """Take back what was noted of states that are not needed here any more."""
        for each in self._writable():
            shared_uses.forget(each.packed.folder, self.packed.folder, needed)

    def _writable(self) -> list[VerifiedObjects]:
        return [each for each in self._others if _is_writable(each.packed.folder)]

    def _whole(self, hash: str) -> PackLocation:
        return self._home(hash)._own_whole(hash)

    def _home(self, hash: str) -> VerifiedObjects:
        """Return the objects that have this one, by names; these if none has."""
        if self.packed.missing([hash]):
            for other in self._others:
                # A shared store on a network may disappear at any moment; then its objects are
                # fetched.
                with contextlib.suppress(OSError):
                    if not other.packed.missing([hash]):
                        return other
        return self

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are neither here nor intact in a shared store."""
        absent = super().missing(hashes)
        for other in self._others:
            absent = _absent(other, absent) if absent else absent
        return absent

    def absent(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are neither here nor in a shared store, judging by names only."""
        absent = super().absent(hashes)
        for other in self._others:
            with contextlib.suppress(OSError):
                absent = other.absent(absent) if absent else absent
        return absent

    def locate(self, hash: str) -> PackLocation:
        """Return where an object is, unverified; raise `ObjectNotFound`."""
        return self._home(hash).packed.locate(hash)

    def size(self, hash: str) -> int:
        """Return the size of an object in bytes."""
        return self._home(hash).packed.size(hash)

    def files(self, hashes: Iterable[str]) -> set[Path]:
        """Return the files, here or in shared stores, that contain these objects; raise `ObjectNotFound`."""
        absent = self.packed.missing(hashes := set(hashes))
        found = super().files(hashes - absent)
        for other in self._others:
            with contextlib.suppress(OSError):
                there = absent - other.packed.missing(absent)
                found |= other.files(there)
                absent -= there
        return found | super().files(absent)

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        """Return the chunks of an object that is here or in a shared store."""
        home = self._home(hash)
        return super().chunks(hash, size) if home is self else home.chunks(hash, size)

    def quarantine(self, hash: str) -> None:
        """Move a corrupt object into the quarantine of its store, if this user may write that."""
        home = self._home(hash)
        if home is self:
            super().quarantine(hash)
        else:
            # Another user owns it: here it counts as missing, and its owner finds it by `verify`.
            with contextlib.suppress(OSError):
                home.quarantine(hash)


class _SharedDownloads(Writable):
    """What is put goes into a shared store; what is read comes from wherever it is."""

    def __init__(self, mine: VerifiedObjects, shared: VerifiedObjects) -> None:
        self._mine, self._shared = mine, shared.packed

    def missing(self, hashes: Iterable[str]) -> set[str]:
        return self._mine.missing(hashes)

    def size(self, hash: str) -> int:
        return self._mine.size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._mine.open(hash, start, stop)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        return self._shared.put(stream, expected)

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        self._shared.put_verified(items)

    def batch(self) -> AbstractContextManager[None]:
        return self._shared.batch()

    def discard(self, hashes: Iterable[str]) -> None:
        self._shared.discard(hashes)


def _absent(other: VerifiedObjects, hashes: set[str]) -> set[str]:
    """Return the hashes that a shared store does not have intact; nothing in it is moved."""
    try:
        left = set(hashes)
        other._in_whole_packs(left)
        absent = other.packed.missing(left)
    except OSError:  # it has gone, or may not be read
        return hashes
    for hash in left - absent:
        try:
            other.trusted(hash)
        except (ObjectNotFound, CorruptObject, OSError):
            absent.add(hash)
    return absent


def _is_writable(folder: Path) -> bool:
    return is_shared(folder) and os.access(folder, os.W_OK | os.X_OK)


def make_shared(folder: Path, group: str | None, format: str) -> None:
    """Make a shared store, of the group with this name or of the user's own; one that exists is left as it is.

    Raise `Conflict` for a folder that has something else in it, `InvalidInput` for an unknown group, `Refused` if the
    user may not do this.
    """
    if not folder.parent.is_dir():
        raise no_such_path(folder.parent, "folder", "nothing was made")
    if (folder / "format").exists() and is_shared(folder):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is not a shared store; nothing was made", hint="name a new folder")
    try:
        number = grp.getgrnam(group).gr_gid if group is not None else -1
    except KeyError:
        raise InvalidInput(f"there is no group {group!r} on this machine", hint="getent group") from None
    try:
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, number)
        folder.chmod(SHARED_MODE)
        if not is_shared(folder):  # the system drops the bit for a group that the user is not in
            raise PermissionError(1, f"you are not a member of the group {group}")
        for name in ("objects", "packs", "tmp"):
            make_folder(folder / name)
        write_atomic(folder / "format", f"{format}\n".encode(), folder / "tmp", mode=0o444)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Refused(f"the shared store {folder} cannot be made: {reason}", hint="id -Gn") from error
