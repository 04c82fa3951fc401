"""Files of a store that no object or pointer is: what killed processes left, and what was derived from what is gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable
from pathlib import Path

from datapkg.format.hashing import is_hash
from datapkg.objects.files import stale_temps
from datapkg.store.small_files import names
from datapkg.store.stage_results import IDLE_S, idle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.store.deletion import Garbage
    from datapkg.store.roots import CollectableStore, Live


def all_of(store: CollectableStore, live: Live, limit: float) -> dict[Path, int]:
    """Return the files that belong to nothing, with the bytes of each; `live` are the objects that are needed.

    An incomplete object of which something arrived after `limit`, in seconds since 1970, is left to the next install.
    """
    found: dict[Path, int] = {}
    for folder in (store.folder / "tmp", store.links_folder / "tmp", *(store.folder / "partial").glob("*")):
        found |= _sized(stale_temps(folder))
    found |= _sized(path for path in store.links_folder.glob("*/*/*") if path.parts[-3] not in live)
    parts = [path for path in (store.folder / "partial").glob("*/*") if is_hash(path.name[:64])]
    whole = {path.name[:64] for path in parts} - store.objects.absent({path.name[:64] for path in parts})
    found |= _sized(path for path in parts if path.name[:64] in whole or _is_idle(path, live, limit))
    found |= _sized(_replaced(store, live))
    found |= _sized(_needless_recipes(store, live))
    found |= _sized(idle(store.folder, time.time() - IDLE_S))
    return found | _sized(store.known_locks.gone())


def arriving_bytes(store: CollectableStore, live: Live, limit: float) -> int:
    """Return the bytes of the incomplete objects of no state that `all_of` leaves to the next install."""
    parts = (path for path in (store.folder / "partial").glob("*/*") if is_hash(path.name[:64]))
    sizes = _sized(path for path in parts if path.name[:64] not in live and not _is_idle(path, live, limit))
    return sum(sizes.values())


def of_garbage(store: CollectableStore, garbage: Garbage) -> dict[Path, int]:
    """Return the links of states that are garbage, and the incomplete files of such objects, with the bytes of each."""
    links = (
        path
        for hash in names(store.links_folder)
        if hash in garbage
        for path in (store.links_folder / hash).glob("*/*")
    )
    parts = (path for path in (store.folder / "partial").glob("*/*") if path.name[:64] in garbage)
    return _sized(links) | _sized(parts)


def remove(found: dict[Path, int]) -> int:
    """Delete these files, and the folders that are then empty; return the bytes that this freed."""
    size_bytes = 0
    for path, size in found.items():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            size_bytes += size
        for folder in list(path.parents)[:2]:
            # A folder that is not empty stays; another process may be adding to it.
            with contextlib.suppress(OSError):
                if is_hash(folder.name) or is_hash(folder.parent.name):
                    folder.rmdir()
    return size_bytes


def _is_idle(path: Path, live: Container[str], limit: float) -> bool:
    """Return whether an incomplete object is of no state, and no process is fetching it."""
    try:
        return path.name[:64] not in live and path.stat().st_mtime < limit
    except FileNotFoundError:
        return False


def _replaced(store: CollectableStore, live: Container[str]) -> list[Path]:
    """Return the wrong bytes in quarantine whose object is right again, or is not needed."""
    folder = store.objects.quarantine_folder
    lacking = store.objects.quarantined()
    return [
        path
        for path in folder.glob("*")
        if is_hash(path.name[:64]) and (path.name[:64] not in lacking or path.name[:64] not in live)
    ]


def _needless_recipes(store: CollectableStore, live: Live) -> list[Path]:
    """Return the recipes of objects that are here whole, and have to stay so."""
    recipes = store.objects.packed.recipes
    made = {hash for hash in recipes if hash in live.whole}
    return [recipes.path(hash) for hash in made - store.objects.packed.missing_whole(made)]


def _sized(paths: Iterable[Path]) -> dict[Path, int]:
    """Return the bytes that each file takes on the disk; a link takes none."""
    sizes = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.lstat()
            # Blocks, not the size: partial objects are sparse.
            sizes[path] = 0 if path.is_symlink() else status.st_blocks * 512
    return sizes
