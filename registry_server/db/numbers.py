"""Numbers of states and versions that were given: both outlive the package that they were given in.

Each state of a package gets the next number at its first push. What a deleted package leaves is a tombstone: its last
number and its versions. So a package that is pushed anew under the name never uses a number twice, and a version
never names other content than it did before.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, insert, literal, select, update

from registry_server.db.database import is_among
from registry_server.db.packages import PackageRow
from registry_server.db.tables import retired_versions, states, tombstones, versions


def of_state(connection: Connection, package_id: int, hash: str) -> int | None:
    """Return the number of a state, or None for one that was not pushed yet."""
    here = (states.c.package_id == package_id) & (states.c.hash == hash)
    return connection.execute(select(states.c.number).where(here)).scalar_one_or_none()


def of_states(connection: Connection, package_id: int, hashes: Collection[str]) -> dict[str, int]:
    """Return the numbers of these states."""
    here = (states.c.package_id == package_id) & is_among(connection, states.c.hash, hashes)
    return {row.hash: row.number for row in connection.execute(select(states.c.hash, states.c.number).where(here))}


def following(connection: Connection, user: str, name: str, package_id: int | None) -> int:
    """Return the number that the next new state gets; `package_id` is None where there is no package (any more)."""
    used = select(func.max(states.c.number)).where(states.c.package_id == package_id)
    here = (tombstones.c.user_name == user) & (tombstones.c.name == name)
    left = connection.execute(select(tombstones.c.last_number).where(here)).scalar()
    return max(connection.execute(used).scalar() or 0, left or 0) + 1


def retire(connection: Connection, package: PackageRow) -> None:
    """Keep the last number and the versions of a package that is about to be deleted."""
    last = following(connection, package.user, package.name, package.id) - 1
    here = (tombstones.c.user_name == package.user) & (tombstones.c.name == package.name)
    if not connection.execute(update(tombstones).where(here).values(last_number=last)).rowcount:
        connection.execute(insert(tombstones).values(user_name=package.user, name=package.name, last_number=last))
    name = literal(package.user), literal(package.name)
    known = select(retired_versions.c.key).where(
        retired_versions.c.user_name == package.user, retired_versions.c.name == package.name
    )
    given = select(*name, versions.c.key, versions.c.version, versions.c.hash).where(
        versions.c.package_id == package.id, versions.c.key.not_in(known)
    )
    connection.execute(insert(retired_versions).from_select(["user_name", "name", "key", "version", "hash"], given))


def retired_version(connection: Connection, user: str, name: str, key: str) -> tuple[str, str] | None:
    """Return a version with this key that a package had before it was deleted, and its state, or None."""
    row = connection.execute(
        select(retired_versions.c.version, retired_versions.c.hash).where(
            retired_versions.c.user_name == user,
            retired_versions.c.name == name,
            retired_versions.c.key == key,
        )
    ).one_or_none()
    return None if row is None else (row.version, row.hash)
