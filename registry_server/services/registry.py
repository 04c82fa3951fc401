"""A registry while it is open: its database, objects, settings and clock."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from datapkg.errors import (
    Conflict,
    DatapkgError,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    Refused,
    ResourceExhausted,
    exhausted,
)
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.files import remove_tree
from datapkg.objects.packs import PackedObjects
from datapkg.objects.trash import Trash
from registry_server.db.copying import copy_database
from registry_server.db.database import Database, sqlite_url
from registry_server.db.database import WouldWait as WouldWait
from registry_server.db.schema import migrate, problems
from registry_server.services.chunk_maps import ChunkMaps
from registry_server.services.object_store import NOTE, open_objects
from registry_server.services.reply_sizes import OpenReplies
from registry_server.services.unpublished import UnpublishedBytes
from registry_server.settings import Settings
from registry_server.workers.checker import ClaimChecker

SQLITE_FILES = 5
"""At least as many as SQLite opens at once: the database, its folder, its log, the log's index, a temporary file."""

# The folders of files that can hold objects, or hashes of objects, by what keeps such a file; a test finds any other.
FOLDERS = {
    "packs": "the objects in it, while one is alive and half of the bytes are",
    "objects": "the object in it, while it is alive",
    "recipes": "the recipe, while its object is alive; it keeps the objects in it (`recipe_bases`)",
    "maps": "the chunk map in it, which is derived, while its object is alive",
    "trash": "objects that may come back, for the grace period",
    "tmp": "uploads, while their push is open",
    "quarantine": "damaged files that a check has set aside, until the operator deletes them",
}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Registry:
    """One registry.

    `created` is whether it was made when it was opened. `scratch` is the folder for what this process writes, if the
    data folder can only be read: the database is a copy in it, so nothing that is noted lasts. `objects` is for
    reading. To write, call `new_writer`: a batch is durable at its end only if no other batch is under way in the same
    home, so each writer is a home of its own. `trash` has the files of objects that nothing refers to, until they are
    deleted.
    """

    settings: Settings
    db: Database
    objects: PackedObjects
    trash: Trash
    new_writer: Callable[[], PackedObjects]
    checker: ClaimChecker
    chunk_maps: ChunkMaps
    created: bool = False
    scratch: Path | None = None
    replies: OpenReplies = field(default_factory=OpenReplies)
    unpublished: UnpublishedBytes = field(default_factory=UnpublishedBytes)
    now: Callable[[], datetime] = _now

    @property
    def sweep_lock(self) -> Path:
        """The file that the one process that sweeps has locked."""
        return self.settings.data / "sweep.lock"

    @property
    def has_storage(self) -> bool:
        """Whether the objects are not in the data folder, so that whoever asks for one may have to wait."""
        return isinstance(self.objects, CloudObjects)

    @property
    def temporary(self) -> Path:
        """The folder of unfinished files."""
        return self.scratch or self.settings.temporary

    @property
    def deletions(self) -> int:
        """How many sweeps have deleted files so far; a sweep deletes only what an earlier one moved to the trash."""
        try:
            return os.stat(self.sweep_lock).st_size
        except FileNotFoundError:
            return 0

    def restore(self, hashes: Collection[str], deletions: int) -> set[str]:
        """Restore these objects from the trash, in a write transaction; return those that were deleted.

        `deletions` is what it was before the objects were stored. In most cases nothing was swept since then, and the
        objects need not be looked for.
        """
        if self.deletions == deletions and not self.trash.folder.is_dir():
            return set()
        return self.trash.restore(hashes)

    def close(self) -> None:
        """End the worker processes and the connections to the database."""
        self.checker.close()
        self.db.close()
        if self.scratch:
            remove_tree(self.scratch)


def open_registry(settings: Settings, *, create: bool = False, only_reads: bool = False) -> Registry:
    """Open the registry in the data folder, migrated if it is older; with `create`, make one if there is none.

    With `only_reads`, a folder that cannot be written is opened with a copy of its database. Raise `InvalidInput` for a
    folder that cannot be used or has no registry. The caller closes the registry.
    """
    with contextlib.ExitStack() as undo:
        scratch = None
        if only_reads and _is_read_only(settings):
            scratch = Path(tempfile.mkdtemp(prefix="datapkg-registry-"))
            undo.callback(remove_tree, scratch)
        found = _opened(settings, create, scratch)
        undo.pop_all()
    return found


def _opened(settings: Settings, create: bool, scratch: Path | None) -> Registry:
    remains = _prepare_folder(settings, create, is_written=scratch is None)
    database, created = _open_database(settings, create, remains, scratch)
    stored = open_objects(settings, create=create)
    return Registry(
        settings=settings,
        db=database,
        objects=stored,
        trash=Trash(stored),
        checker=ClaimChecker(
            stored.local_places,
            seconds=settings.check_timeout_s,
            max_bytes=settings.max_check_bytes,
            memory_bytes=settings.max_check_memory_bytes,
        ),
        chunk_maps=ChunkMaps(settings.data / "maps", settings.temporary),
        new_writer=stored.writer,
        created=created,
        scratch=scratch,
    )


def _is_read_only(settings: Settings) -> bool:
    """Return whether there is a database that this process may not write, or not beside it."""
    return settings.database.is_file() and not all(
        os.access(path, os.W_OK) for path in (settings.data, settings.database)
    )


def _prepare_folder(settings: Settings, create: bool, *, is_written: bool) -> str:
    """Make the data folder usable, and return what an earlier registry left in it (`_remains`)."""
    try:
        remains = _remains(settings)
        exists = settings.database.is_file() and settings.database.stat().st_size > 0
        if not exists and (remains or not create):
            raise _no_registry(settings, remains)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(settings.data, os.R_OK | os.X_OK | (os.W_OK if is_written else 0)):
            reason = errno.EROFS if os.statvfs(settings.data).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
        for name in FOLDERS:
            if os.path.lexists(settings.data / name) and not (settings.data / name).is_dir():
                raise NotADirectoryError(20, f"{name} is not a folder")
        # SQLite would make the file with the rights that the umask leaves to others.
        if is_written:
            settings.database.touch(mode=0o600)
    except OSError as error:
        raise exhausted(error) or InvalidInput(
            f"the data folder {settings.data} cannot be used: {error.strerror}",
            hint="give another one with --data, or set DATAPKG_REGISTRY_DATA",
        ) from error
    return remains


def _open_database(settings: Settings, create: bool, remains: str, scratch: Path | None) -> tuple[Database, bool]:
    """Return the database, or a copy of it in `scratch`, migrated, and whether it was empty before."""
    path = scratch / settings.database.name if scratch else settings.database
    database = Database(sqlite_url(path))
    try:
        if scratch:
            copy_database(settings.database, path)
        # Beside objects that are left, an empty database is a lost one: a new one would make them unreachable.
        return database, migrate(database, create=create and not remains)
    except BaseException as error:
        database.close()
        if isinstance(error, DatabaseError):
            raise unusable(settings, error) from error
        if isinstance(error, NotFound):
            raise _no_registry(settings, remains) from error
        raise


# Texts of SQLite's errors for a database that is not damaged.
_UNDAMAGED: dict[str, tuple[type[DatapkgError], str]] = {
    "disk is full": (QuotaExceeded, "make room in {data}, and run it again"),
    "unable to open": (Refused, "see who may read and write there: ls -ld {data} {data}/*.db"),
    "readonly": (Refused, "see who may write there: ls -ld {data} {data}/*.db"),
    "locked": (Conflict, "run it again when the other process has ended: fuser {database}"),
    "I/O error": (DatapkgError, "see what the system says about the disk: dmesg"),
}


def unusable(settings: Settings, error: DatabaseError) -> DatapkgError:
    """Return the error for a database that cannot be read or written."""
    if lack := _what_opening_lacks(settings):
        return lack
    cls, hint = next(
        (found for text, found in _UNDAMAGED.items() if text in str(error.orig)),
        (InvalidInput, "restore it from a backup, or give another folder with --data"),
    )
    return cls(
        f"the database {settings.database} cannot be used: {error.orig}",
        hint=hint.format(data=settings.data, database=settings.database),
    )


def _what_opening_lacks(settings: Settings) -> ResourceExhausted | None:
    """Return the error of a process that may open no more files, of which SQLite says only that it cannot open one."""
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(SQLITE_FILES):
                stack.callback(os.close, os.open(settings.data, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return exhausted(error, f"opening the database {settings.database}")
    return None


def database_problems(registry: Registry) -> list[str]:
    """Return what is damaged in the database, reading all of it; raise if it cannot be read for another reason."""
    try:
        with registry.db.read() as connection:
            return problems(connection)
    except DatabaseError as error:
        if any(text in str(error.orig) for text in _UNDAMAGED):
            raise unusable(registry.settings, error) from error
        return [str(error.orig)]


def _remains(settings: Settings) -> str:
    """Return what an earlier registry left in the data folder, such as `packs/`, or "" for nothing."""
    for name in ("packs", "objects", "recipes", "trash"):
        folder = settings.data / name
        if folder.is_dir() and any(each.is_file() for each in folder.rglob("*")):
            return f"{name}/"
    if (settings.data / NOTE).is_file() and not settings.database.is_file():
        return NOTE
    wal = settings.database.with_name(settings.database.name + "-wal")
    return wal.name if wal.is_file() and wal.stat().st_size and not settings.database.is_file() else ""


def _no_registry(settings: Settings, remains: str) -> InvalidInput:
    if remains:
        return InvalidInput(
            f"the database {settings.database} is missing or empty, but {settings.data / remains} is not: users, "
            "packages and permissions of that registry cannot be restored from its objects; nothing was changed",
            hint=f"restore {settings.database.name} from a backup, or give another folder with --data",
        )
    return InvalidInput(
        f"there is no registry in {settings.data}; only `serve` makes one",
        hint=f"check --data; a new one: datapkg-registry serve --data {shlex.quote(str(settings.data))}",
    )
