"""What every rule works on: the database, the objects, the settings and the time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.exc import DatabaseError

from datapkg.errors import InvalidInput
from datapkg.objects.base import Objects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.packs import PackedObjects
from registry_server.db.database import Database, sqlite_url
from registry_server.db.schema import migrate
from registry_server.services.chunk_maps import ChunkMaps
from registry_server.services.replies import OpenReplies
from registry_server.settings import Settings
from registry_server.workers.checker import ClaimChecker

# From this many on, the objects of a batch share a file. Packs are looked through one after the other, so that there
# should not be many of them.
PACK_FROM_OBJECTS = 64


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Registry:
    """One registry.

    `objects` is for reading. Who writes says how many objects and takes a `new_writer`, since a batch is durable at its
    end only where nobody else's batch is under way in the same home.
    """

    settings: Settings
    db: Database
    objects: Objects
    new_writer: Callable[[int], Objects]
    checker: ClaimChecker
    chunk_maps: ChunkMaps = field(default_factory=ChunkMaps)
    replies: OpenReplies = field(default_factory=OpenReplies)
    now: Callable[[], datetime] = _now

    def close(self) -> None:
        """End the worker processes and the connections to the database."""
        self.checker.close()
        self.db.close()


def open_registry(settings: Settings) -> Registry:
    """The registry in the data folder, made or brought up to date where needed.

    Raises `InvalidInput` for a folder that cannot be used; whoever calls closes it.
    """
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(settings.data, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        settings.database.touch(mode=0o600)
    except OSError as error:
        raise InvalidInput(
            f"the data folder {settings.data} cannot be used: {error.strerror}",
            hint="give another one with --data, or set DATAPKG_REGISTRY_DATA",
        ) from error
    database = Database(sqlite_url(settings.database))
    try:
        migrate(database)
    except DatabaseError as error:
        database.close()
        raise InvalidInput(
            f"the database {settings.database} cannot be used: {error.orig}",
            hint="restore it from a backup, or give another folder with --data",
        ) from error
    except BaseException:
        database.close()
        raise
    stored = PackedObjects(settings.data)
    return Registry(
        settings=settings,
        db=database,
        objects=stored,
        checker=ClaimChecker(
            stored.locate,
            seconds=settings.check_timeout_s,
            max_bytes=settings.max_check_bytes,
            memory_bytes=settings.max_check_memory_bytes,
        ),
        new_writer=lambda count: _new_writer(settings, count),
    )


def _new_writer(settings: Settings, count: int) -> Objects:
    if count >= PACK_FROM_OBJECTS:
        return PackedObjects(settings.data)
    return DirectoryObjects(settings.data / "objects", settings.temporary)
