"""Grants to read or write a package, by user name: a grant can be older than the user that it names."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from registry_server.db.database import insert_new
from registry_server.db.tables import grants


def readers_of(connection: Connection, package_id: int) -> list[str]:
    """Return the names of the users with a grant, sorted."""
    rows = connection.execute(
        select(grants.c.user_name).where(grants.c.package_id == package_id).order_by(grants.c.user_name)
    )
    return list(rows.scalars())


def writers_of(connection: Connection, package_id: int) -> list[str]:
    """Return the names of the users who may write as well, sorted."""
    rows = connection.execute(
        select(grants.c.user_name)
        .where(grants.c.package_id == package_id, grants.c.may_write)
        .order_by(grants.c.user_name)
    )
    return list(rows.scalars())


def add(connection: Connection, package_id: int, user_name: str, *, write: bool = False) -> bool:
    """Grant the right to read, with `write` to write as well; return whether that is new. A wider right stays."""
    here = (grants.c.package_id == package_id) & (grants.c.user_name == user_name)
    found = connection.execute(select(grants.c.may_write).where(here)).one_or_none()
    if found is None:
        row = {"package_id": package_id, "user_name": user_name, "may_write": write}
        insert_new(connection, grants, [row])
    elif write and not found.may_write:
        connection.execute(update(grants).where(here).values(may_write=True))
    else:
        return False
    return True


def remove(connection: Connection, package_id: int, user_name: str) -> bool:
    """Delete a grant and return whether there was one."""
    here = (grants.c.package_id == package_id) & (grants.c.user_name == user_name)
    return connection.execute(delete(grants).where(here)).rowcount > 0
