"""Open pushes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from registry_server.db.tables import objects, package_objects, push_objects, pushes


@dataclass(frozen=True)
class Push:
    """One push: its user, the package (`user/name`) and manifest (hash) that it is for, and when it expires."""

    id: str
    user_id: int
    package: str
    manifest: str
    expires_at: datetime


def add(connection: Connection, push: Push) -> None:
    """Add a push."""
    connection.execute(insert(pushes).values(**vars(push)))


def find(connection: Connection, id: str) -> Push | None:
    """Return the push with this id, or None."""
    row = connection.execute(
        select(pushes.c.id, pushes.c.user_id, pushes.c.package, pushes.c.manifest, pushes.c.expires_at).where(
            pushes.c.id == id
        )
    ).one_or_none()
    return Push(*row) if row else None


def count_of(connection: Connection, user_id: int) -> int:
    """Return the number of open pushes of a user."""
    return connection.execute(select(func.count()).where(pushes.c.user_id == user_id)).scalar_one()


def unpublished_bytes(connection: Connection, user_id: int) -> int:
    """Return the size of all objects that were sent in the user's pushes and are not published yet."""
    mine = select(pushes.c.id).where(pushes.c.user_id == user_id)
    sent = select(objects.c.hash, objects.c.size).join(push_objects, push_objects.c.hash == objects.c.hash)
    # Each object once: it may be in two pushes.
    sizes = sent.where(push_objects.c.push_id.in_(mine)).distinct().subquery().c.size
    return int(connection.execute(select(func.coalesce(func.sum(sizes), 0))).scalar_one())


def finish(connection: Connection, push: Push, package_id: int, until: datetime) -> None:
    """Release the objects of a push, which its package holds now; until `until` the push may be published again.

    Other pushes of the user to the package keep only what it does not hold.
    """
    mine = select(pushes.c.id).where(pushes.c.user_id == push.user_id, pushes.c.package == push.package)
    # Looked up for each object of these pushes: a list of all that the package holds grows with its history.
    is_held = exists().where(package_objects.c.package_id == package_id, package_objects.c.hash == push_objects.c.hash)
    connection.execute(delete(push_objects).where(push_objects.c.push_id == push.id))
    connection.execute(delete(push_objects).where(push_objects.c.push_id.in_(mine), is_held))
    connection.execute(update(pushes).where(pushes.c.id == push.id).values(expires_at=until))


def remove_older(connection: Connection, now: datetime) -> int:
    """Delete the expired pushes and return how many there were."""
    return connection.execute(delete(pushes).where(pushes.c.expires_at <= now)).rowcount


def count_older(connection: Connection, now: datetime) -> int:
    """Return the number of expired pushes."""
    return connection.execute(select(func.count()).where(pushes.c.expires_at <= now)).scalar_one()
