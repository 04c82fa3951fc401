"""Which states the users of a shared store have installed: its roots, by which `gc` knows what is still needed there.

A store of a user has a name in each shared store, and a file for each state that its user downloaded or found there:
`uses/NAME/HASH`. It is written before an install counts what is present, so that whoever frees space meanwhile finds it
when looking again. Its modification time is that of the last install or fetch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from datapkg.format.hashing import is_hash
from datapkg.objects.files import make_folder, new_file, write_atomic
from datapkg.objects.folder_lock import changing
from datapkg.store.small_files import names

FOLDER = "uses"
NAME_FILE = "shared-name"


def note(shared: Path, store: Path, hash: str) -> None:
    """Note in a shared store that the user of another store needs a state; what cannot be written is left out."""
    with contextlib.suppress(OSError):
        path = shared / FOLDER / _name_of(store) / hash
        try:
            os.utime(path)
        except FileNotFoundError:
            make_folder(path.parent)
            with contextlib.suppress(FileExistsError), new_file(path) as file:
                os.fchmod(file.fileno(), 0o444)


def forget(shared: Path, store: Path, needed: Collection[str]) -> None:
    """Take back what was noted for a store, except for the states that are still needed."""
    with contextlib.suppress(OSError):
        folder = shared / FOLDER / _name_of(store)
        for hash in names(folder):
            if is_hash(hash) and hash not in needed:
                (folder / hash).unlink(missing_ok=True)


def used(shared: Path) -> Iterator[tuple[str, float]]:
    """Yield the hash of each state that a user of a shared store needs, and when it was last installed."""
    for name in names(shared / FOLDER):
        for hash in names(shared / FOLDER / name):
            with contextlib.suppress(FileNotFoundError):
                if is_hash(hash):
                    yield hash, os.stat(shared / FOLDER / name / hash).st_mtime


def _name_of(store: Path) -> str:
    """Return the name of a store, which no other has; paths and host names may be equal on several machines."""
    path = store / NAME_FILE
    with contextlib.suppress(FileNotFoundError):
        if name := path.read_text().strip():
            return name
    with changing(store):
        # Again: what another process notes meanwhile under a name that is replaced would never be taken back.
        with contextlib.suppress(FileNotFoundError):
            if name := path.read_text().strip():
                return name
        write_atomic(path, (name := os.urandom(8).hex()).encode(), store / "tmp")
        return name
