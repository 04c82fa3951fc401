"""Pushes under way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from registry_server.db.tables import objects, push_objects, pushes


@dataclass(frozen=True)
class Push:
    """One push: whose it is, what package and manifest it is for (`user/name`, hash), and when it ends."""

    id: str
    user_id: int
    package: str
    manifest: str
    expires_at: datetime


def add(connection: Connection, push: Push) -> None:
    connection.execute(insert(pushes).values(**vars(push)))


def find(connection: Connection, id: str) -> Push | None:
    row = connection.execute(
        select(pushes.c.id, pushes.c.user_id, pushes.c.package, pushes.c.manifest, pushes.c.expires_at).where(
            pushes.c.id == id
        )
    ).one_or_none()
    return Push(*row) if row else None


def count_of(connection: Connection, user_id: int) -> int:
    return connection.execute(select(func.count()).where(pushes.c.user_id == user_id)).scalar_one()


def unpublished_bytes(connection: Connection, user_id: int) -> int:
    """The size of all that came in the user's pushes and was not published yet."""
    sent = (
        select(objects.c.size)
        .distinct()
        .add_columns(objects.c.hash)
        .join(push_objects, push_objects.c.hash == objects.c.hash)
        .join(pushes, pushes.c.id == push_objects.c.push_id)
        .where(pushes.c.user_id == user_id)
        .subquery()
    )
    return int(connection.execute(select(func.coalesce(func.sum(sent.c.size), 0))).scalar_one())


def finish(connection: Connection, push: str, until: datetime) -> None:
    """Forgets what came in a push, since a package holds it now; until then the push may be published again."""
    connection.execute(delete(push_objects).where(push_objects.c.push_id == push))
    connection.execute(update(pushes).where(pushes.c.id == push).values(expires_at=until))


def remove_older(connection: Connection, now: datetime) -> int:
    """Removes the pushes whose time is over; gives how many there were."""
    return connection.execute(delete(pushes).where(pushes.c.expires_at <= now)).rowcount
