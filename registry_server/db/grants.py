"""Who may read a package besides its owner, by name: a grant can be older than the user that it names."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from registry_server.db.database import insert_new
from registry_server.db.tables import grants


def readers_of(connection: Connection, package_id: int) -> list[str]:
    """The names of those with a grant, sorted."""
    rows = connection.execute(
        select(grants.c.user_name).where(grants.c.package_id == package_id).order_by(grants.c.user_name)
    )
    return list(rows.scalars())


def add(connection: Connection, package_id: int, user_name: str) -> bool:
    """Whether there was no such grant before."""
    here = (grants.c.package_id == package_id) & (grants.c.user_name == user_name)
    if connection.execute(select(grants.c.package_id).where(here)).one_or_none():
        return False
    insert_new(connection, grants, [{"package_id": package_id, "user_name": user_name}])
    return True


def remove(connection: Connection, package_id: int, user_name: str) -> bool:
    """Whether there was a grant."""
    here = (grants.c.package_id == package_id) & (grants.c.user_name == user_name)
    return connection.execute(delete(grants).where(here)).rowcount > 0
