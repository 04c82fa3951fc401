"""The version of a store's layout: the number in its file `format`.

1  objects, packs, packages
2  objects may be recipes, which older datapkgs would report as missing

A store has the lowest version that describes it, so that older datapkgs can use it as long as possible: what writes
the first file of a newer version calls `raise_to` before. A store below `OLDEST_WRITTEN` is migrated before it is
written; until then it is read as it is.
"""

from __future__ import annotations

from pathlib import Path

from datapkg.errors import UPGRADE_HINT, NewerFormat
from datapkg.objects.files import write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OLDEST_WRITTEN, NEWEST = 1, 2
MIGRATIONS: dict[int, Callable[[Path], None]] = {}
"""What makes a store of the version before one of this version, if anything: it may be killed, and is then run again.

Readers may be at work meanwhile, writers are not."""


def check(folder: Path) -> None:
    """Raise `NewerFormat` for a store that a newer datapkg has written."""
    found = declared(folder)
    if found is not None and found > NEWEST:
        raise NewerFormat(
            f"the store {folder} has format {str(found)[:20]}; this datapkg reads formats up to {NEWEST}",
            hint=f"{UPGRADE_HINT}; or set DATAPKG_HOME to another folder",
        )


def declared(folder: Path) -> int | None:
    """Return the version that a store declares; None if there is none, or anything but a version: that is damage."""
    try:
        text = (folder / "format").read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # int() raises for more than 4,300 digits.
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 1000 and int(text) > 0 else None


def prepare(folder: Path, tmp: Path, work_lock: Path) -> None:
    """Declare the version of a new store, or of one whose file is damaged; migrate an old one."""
    found = declared(folder)
    if found is None:
        # What is here shows the lowest version that describes it.
        _declare(folder, tmp, 2 if (folder / "recipes").is_dir() else OLDEST_WRITTEN)
    elif found < OLDEST_WRITTEN:
        from datapkg.store import writer_lock

        with writer_lock.exclusive(work_lock, wait=True):
            # Declared anew: another process may have migrated the store while this one waited for the lock.
            for version in range((declared(folder) or found) + 1, OLDEST_WRITTEN + 1):
                MIGRATIONS.get(version, _as_it_is)(folder)
                _declare(folder, tmp, version)


def raise_to(folder: Path, tmp: Path, version: int) -> None:
    """Declare that a store has what only readers of this version understand."""
    if (declared(folder) or 0) < version:
        _declare(folder, tmp, version)


def _declare(folder: Path, tmp: Path, version: int) -> None:
    write_atomic(folder / "format", b"%d\n" % version, tmp)


def _as_it_is(folder: Path) -> None:
    """Change nothing."""
