"""Thin wheels, each built once and kept for ever, also when its package is deleted: a lock elsewhere has its sha256."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, String, and_, cast, exists, func, literal, or_, select

from datapkg.format.thin_wheel import HASH_DIGITS
from registry_server.db.database import insert_new, is_among
from registry_server.db.tables import log, packages, states, versions, wheels


class Wheel(NamedTuple):
    """A wheel by its version: the state that it pins, its object with the size in bytes, and what an index shows of it.

    `metadata` is the sha256 of its core metadata.
    """

    version: str
    state: str
    object: str
    size: int
    metadata: str
    requires_python: str
    built_at: datetime


_WHEEL = tuple(wheels.c[name] for name in Wheel._fields)


def named(connection: Connection, user: str, name: str, versions: Collection[str]) -> list[Wheel]:
    """Return the wheels of a package that have these versions, in no particular order."""
    here = and_(wheels.c.user_name == user, wheels.c.name == name, is_among(connection, wheels.c.version, versions))
    return [Wheel._make(row) for row in connection.execute(select(*_WHEEL).where(here)).all()]


def versions_of_package(connection: Connection, user: str, name: str) -> set[str]:
    """Return the versions of all wheels that were ever built for a package."""
    query = select(wheels.c.version).where(wheels.c.user_name == user, wheels.c.name == name)
    return set(connection.execute(query).scalars())


def find(connection: Connection, user: str, name: str, version: str) -> Wheel | None:
    """Return the wheel with this version, or None."""
    here = and_(wheels.c.user_name == user, wheels.c.name == name, wheels.c.version == version)
    row = connection.execute(select(*_WHEEL).where(here)).one_or_none()
    return Wheel(*row) if row else None


def hashes(connection: Connection, user: str, name: str, named: Collection[str]) -> dict[str, str]:
    """Return the sha256 of the wheels with these versions; those that are not built yet are omitted."""
    here = and_(wheels.c.user_name == user, wheels.c.name == name, is_among(connection, wheels.c.version, named))
    return dict(connection.execute(select(wheels.c.version, wheels.c.object).where(here)).all())


def with_objects(connection: Connection, hashes: Collection[str]) -> list[tuple[str, Wheel]]:
    """Return the wheels whose objects are among these, each with its package as `user/name`."""
    query = select(wheels.c.user_name, wheels.c.name, *_WHEEL).where(is_among(connection, wheels.c.object, hashes))
    return [(f"{row[0]}/{row[1]}", Wheel._make(row[2:])) for row in connection.execute(query)]


def add(connection: Connection, user: str, name: str, wheel: Wheel) -> Wheel:
    """Add a wheel, whose object is listed, and return it; or the one that has this version already."""
    row = {"user_name": user, "name": name} | {column: getattr(wheel, column) for column in Wheel._fields}
    insert_new(connection, wheels, [row])
    found = find(connection, user, name, wheel.version)
    assert found is not None
    return found


def states_of(connection: Connection, package_id: int) -> Sequence[tuple[str, int]]:
    """Return the hash and the number of each state, by number."""
    query = select(states.c.hash, states.c.number).where(states.c.package_id == package_id)
    return connection.execute(query.order_by(states.c.number)).all()


def pushed_at(connection: Connection, package_id: int, hash: str) -> datetime | None:
    """Return when a state was first pushed."""
    here = (log.c.package_id == package_id) & (log.c.hash == hash)
    return connection.execute(select(log.c.pushed_at).where(here).order_by(log.c.id).limit(1)).scalar_one_or_none()


def incomplete(connection: Connection) -> list[tuple[int, str, str]]:
    """Return the packages in which a state or a version has no wheel, as id, user and name."""
    # `wheel_version` in SQL.
    unnumbered = literal("0.dev") + cast(states.c.number, String) + "+h" + func.substr(states.c.hash, 1, HASH_DIGITS)
    given = versions.c.version + "+h" + func.substr(versions.c.hash, 1, HASH_DIGITS)
    lacking = [
        exists().where(table.c.package_id == packages.c.id, ~exists().where(_of_package(), wheels.c.version == version))
        for table, version in ((states, unnumbered), (versions, given))
    ]
    query = select(packages.c.id, packages.c.user_name, packages.c.name).where(or_(*lacking))
    return [(row.id, row.user_name, row.name) for row in connection.execute(query)]


def _of_package() -> ColumnElement[bool]:
    return (wheels.c.user_name == packages.c.user_name) & (wheels.c.name == packages.c.name)
