"""A revision of a git repository as a tar file, from which nodes take files as from any archive.

The same files give the same bytes on every machine, so that their sha256 can be written into a build file: names are
sorted, and nothing of the checkout but names, contents, links and the right to execute is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from datapkg.building.sources.git_repository import open_checkout
from datapkg.building.spec.git_address import Address


def write_archive(address: Address, path: Path, under: Path, environ: Mapping[str, str], limit_bytes: int) -> str:
    """Fetch a revision and write its files, or those of its folder, to `path`; return the sha256 of the archive.

    The commit is noted beside it as the validator of a download is. Raise what `open_checkout` raises.
    """
    with open_checkout(address, under, environ, limit_bytes) as checkout:
        with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, found in _files(checkout.folder):
                _add(archive, name, found)
        path.with_name(f"{path.name}.json").write_text(json.dumps({"validator": checkout.record["commit"]}))
    with path.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files and links below a folder with their paths in it, sorted; without those of git itself."""
    found = []
    for root, folders, names in os.walk(folder):
        if root == str(folder):
            folders[:] = [each for each in folders if each != ".git"]
        found += [Path(root, name) for name in names]
        found += [Path(root, name) for name in folders if os.path.islink(os.path.join(root, name))]
    yield from sorted((each.relative_to(folder).as_posix(), each) for each in found)


def _add(archive: tarfile.TarFile, name: str, path: Path) -> None:
    entry = tarfile.TarInfo(name)
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
        archive.addfile(entry)
        return
    entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
    with path.open("rb") as file:
        archive.addfile(entry, file)
