"""Who may read a package besides its owner."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from registry_server.db.database import insert_new
from registry_server.db.tables import grants, users


def readers_of(connection: Connection, package_id: int) -> list[str]:
    """The names of those with a grant, sorted."""
    rows = connection.execute(
        select(users.c.name)
        .join(grants, grants.c.user_id == users.c.id)
        .where(grants.c.package_id == package_id)
        .order_by(users.c.name)
    )
    return list(rows.scalars())


def add(connection: Connection, package_id: int, user_id: int) -> None:
    insert_new(connection, grants, [{"package_id": package_id, "user_id": user_id}])


def remove(connection: Connection, package_id: int, user_id: int) -> bool:
    """Whether there was a grant."""
    here = (grants.c.package_id == package_id) & (grants.c.user_id == user_id)
    return connection.execute(delete(grants).where(here)).rowcount > 0
