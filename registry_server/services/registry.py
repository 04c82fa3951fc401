"""What every rule works on: the database, the objects, the settings and the time."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.exc import DatabaseError

from datapkg.errors import InvalidInput, NotFound
from datapkg.objects.base import Objects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.packs import PackedObjects
from datapkg.objects.trash import Trash
from registry_server.db.database import Database, sqlite_url
from registry_server.db.schema import migrate, problems
from registry_server.services.chunk_maps import ChunkMaps
from registry_server.services.reply_sizes import OpenReplies
from registry_server.settings import Settings
from registry_server.workers.checker import ClaimChecker

# From this many on, the objects of a batch share a file. Packs are looked through one after the other, so that there
# should not be many of them.
PACK_FROM_OBJECTS = 64
FOLDERS = ("packs", "objects", "trash", "tmp")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Registry:
    """One registry.

    `created` tells whether it was made when it was opened. `objects` is for reading. Who writes says how many objects
    and takes a `new_writer`, since a batch is durable at its end only where nobody else's batch is under way in the
    same home. `trash` has the files of objects that nothing refers to, until they are deleted.
    """

    settings: Settings
    db: Database
    objects: PackedObjects
    trash: Trash
    new_writer: Callable[[int], Objects]
    checker: ClaimChecker
    created: bool = False
    chunk_maps: ChunkMaps = field(default_factory=ChunkMaps)
    replies: OpenReplies = field(default_factory=OpenReplies)
    now: Callable[[], datetime] = _now

    def close(self) -> None:
        """End the worker processes and the connections to the database."""
        self.checker.close()
        self.db.close()


def open_registry(settings: Settings, *, create: bool = False) -> Registry:
    """Open the registry in the data folder, brought up to date where needed; with `create`, make one if there is none.

    Raises `InvalidInput` for a folder that cannot be used or has no registry; the caller closes the registry.
    """
    try:
        filled = _what_is_left(settings)
        exists = settings.database.is_file() and settings.database.stat().st_size > 0
        if not exists and (filled or not create):
            raise _no_registry(settings, filled)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(settings.data, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        for name in FOLDERS:
            if os.path.lexists(settings.data / name) and not (settings.data / name).is_dir():
                raise NotADirectoryError(20, f"{name} is not a folder")
        settings.database.touch(mode=0o600)
    except OSError as error:
        raise InvalidInput(
            f"the data folder {settings.data} cannot be used: {error.strerror}",
            hint="give another one with --data, or set DATAPKG_REGISTRY_DATA",
        ) from error
    database = Database(sqlite_url(settings.database))
    try:
        created = migrate(database, create=create and not filled)
    except DatabaseError as error:
        database.close()
        raise unusable(settings, error) from error
    except NotFound as error:
        database.close()
        raise _no_registry(settings, filled) from error
    except BaseException:
        database.close()
        raise
    stored = PackedObjects(settings.data)
    return Registry(
        settings=settings,
        db=database,
        objects=stored,
        trash=Trash(stored),
        checker=ClaimChecker(
            stored.locate,
            seconds=settings.check_timeout_s,
            max_bytes=settings.max_check_bytes,
            memory_bytes=settings.max_check_memory_bytes,
        ),
        new_writer=lambda count: _new_writer(settings, count),
        created=created,
    )


def unusable(settings: Settings, error: DatabaseError) -> InvalidInput:
    """Return what to say where the database fails."""
    return InvalidInput(
        f"the database {settings.database} cannot be used: {error.orig}",
        hint="restore it from a backup, or give another folder with --data",
    )


def database_problems(registry: Registry) -> list[str]:
    """Return what is damaged in the database; reads all of it."""
    try:
        with registry.db.read() as connection:
            return problems(connection)
    except DatabaseError as error:
        return [str(error.orig)]


def _what_is_left(settings: Settings) -> str:
    """What only a registry of before can have left in the data folder, or nothing."""
    for name in FOLDERS[:3]:
        folder = settings.data / name
        if folder.is_dir() and any(each.is_file() for each in folder.rglob("*")):
            return f"{name}/"
    wal = settings.database.with_name(settings.database.name + "-wal")
    return wal.name if wal.is_file() and wal.stat().st_size and not settings.database.is_file() else ""


def _no_registry(settings: Settings, filled: str) -> InvalidInput:
    if filled:
        return InvalidInput(
            f"the database {settings.database} is missing or empty, but {settings.data / filled} is not: users, "
            "packages and permissions of that registry cannot be made anew from its objects; nothing was changed",
            hint=f"restore {settings.database.name} from a backup, or give another folder with --data",
        )
    return InvalidInput(
        f"there is no registry in {settings.data}; only `serve` makes one",
        hint=f"check --data; a new one: datapkg-registry serve --data {shlex.quote(str(settings.data))}",
    )


def _new_writer(settings: Settings, count: int) -> Objects:
    if count >= PACK_FROM_OBJECTS:
        return PackedObjects(settings.data)
    return DirectoryObjects(settings.data / "objects", settings.temporary)
