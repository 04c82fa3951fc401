"""The record of an export: which files it wrote into a folder, so that a second one changes only these.

It is one file per folder in the data folder of the user, not in the exported folder, which is then what was exported
and nothing else. Without it (the folder was copied to another machine) an export treats all files as the user's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from datapkg.errors import Conflict, DatapkgError
from datapkg.format.hashing import hash_bytes
from datapkg.objects.files import private_folder, write_atomic
from datapkg.objects.folders import OpenFolder

Parts = tuple[str, ...]
Stamp = tuple[int, int, int, int]
NO_STAMP: Stamp = (-1, 0, 0, 0)
ABSENT, UNCHANGED, EDITED = "absent", "unchanged", "edited"


class ExportedFile(msgspec.Struct, frozen=True):
    """A file as it was written: its path, its node's path, and a key of all that its bytes follow from.

    `stamp` is its size, inode and times of modification and change: while that is the same, it is not hashed again.
    """

    parts: Parts
    sha256: str
    stamp: Stamp
    node: str = ""
    key: str = ""
    separator: str | None = None
    note: str = ""

    def state(self, target: OpenFolder) -> str:
        """Return whether the file is as it was written, edited (or something else), or absent."""
        try:
            with target.below(self.parts[:-1]) as folder:
                found = folder.status(self.parts[-1])
                if found is None:
                    return ABSENT
                if _stamp(found) == self.stamp:
                    return UNCHANGED
                if not stat.S_ISREG(found.st_mode) or found.st_size != self.stamp[0]:
                    return EDITED
                return UNCHANGED if _hash(folder, self.parts[-1]) == self.sha256 else EDITED
        except (FileNotFoundError, NotADirectoryError, Conflict):
            return ABSENT
        except OSError:
            return EDITED


class ExportRecord(msgspec.Struct, frozen=True):
    """What an export of a package, or of a node in it, wrote into a folder (by its inode)."""

    package: str
    folder: int
    files: tuple[ExportedFile, ...] = ()


def read_record(data: Path, dest: Path, package: str, folder: Path | None = None) -> ExportRecord | None:
    """Return the record of the last export of this package into a folder that exists; None if there is none.

    `folder` is that of a target which is one file.
    """
    try:
        record = msgspec.json.decode(_path(data, dest).read_bytes(), type=ExportRecord)
        # The inode: a folder that was removed and made again has none of these files.
        is_same = record.package == package and os.lstat(folder or dest).st_ino == record.folder
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # An export replaces and removes the files with these names, so an edited record must not name files elsewhere.
    is_safe = all(name not in ("", ".", "..") and "/" not in name for each in record.files for name in each.parts)
    return record if is_same and is_safe and all(each.parts for each in record.files) else None


def write_record(
    data: Path, dest: Path, package: str, files: Iterable[ExportedFile], folder: Path | None = None
) -> None:
    """Write the record of an export; a data folder that cannot be written is left without one."""
    with contextlib.suppress(OSError, DatapkgError):
        path = _path(data, dest)
        private_folder(path.parent)
        record = ExportRecord(package, os.lstat(folder or dest).st_ino, tuple(files))
        write_atomic(path, msgspec.json.encode(record), path.parent)


def stamped(file: ExportedFile, target: OpenFolder) -> ExportedFile:
    """Return a file with the stamp that it has now."""
    with target.below(file.parts[:-1]) as folder:
        found = folder.status(file.parts[-1])
        return msgspec.structs.replace(file, stamp=_stamp(found)) if found else file


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _hash(folder: OpenFolder, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor)
    with os.fdopen(fd, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(data: Path, dest: Path) -> Path:
    return data / "exports" / f"{hash_bytes(os.fsencode(dest))}.json"
