"""What every rule works on: the database, the objects, the settings and the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from datapkg.objects.base import Objects
from registry_server.db.database import Database
from registry_server.settings import Settings


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
    now: Callable[[], datetime] = _now
