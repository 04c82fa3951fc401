"""Objects: which exist, which packages hold them, and which users may rely on them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, or_, select, true, update

from datapkg.objects.base import Readable
from registry_server.db import recipes
from registry_server.db.database import insert_hashes, insert_new, is_among
from registry_server.db.packages import visible
from registry_server.db.roots import is_referenced
from registry_server.db.tables import (
    damaged_objects,
    log,
    metadata,
    objects,
    package_objects,
    packages,
    push_objects,
    pushes,
    stage_objects,
    stage_results,
    wheels,
)


def held_by(connection: Connection, package_id: int, hashes: Collection[str]) -> dict[str, int]:
    """Return the objects that the package holds, with their sizes in bytes; others are omitted."""
    return _sizes(connection, hashes, _in_package(package_id))


def readable_in(connection: Connection, package_id: int, hashes: Collection[str]) -> dict[str, int]:
    """Return the objects that the package or its run cache holds, with their sizes in bytes; others are omitted."""
    found = held_by(connection, package_id, hashes)
    left = [hash for hash in hashes if hash not in found]
    return found | (_sizes(connection, left, _in_run_cache(package_id)) if left else {})


def usable(
    connection: Connection, hashes: Collection[str], *, user_id: int, push: str, package_id: int | None
) -> dict[str, int]:
    """Return the objects that a push may rely on, with their sizes in bytes; others are omitted.

    Those are the objects that were sent in this push or that are held by a package that its user may read, and those of
    the records and of the run cache of the package that is pushed to, unless they are damaged.
    """
    bad = damaged(connection)
    hashes = [hash for hash in hashes if hash not in bad] if bad else hashes
    # In one query, whose conditions are tested for each object until one holds: those that hold for most are first.
    held = [] if package_id is None else [_in_package(package_id)]
    records = [] if package_id is None else [_in_records(package_id), _in_run_cache(package_id)]
    return _sizes(connection, hashes, or_(*held, _in_push(push), *records, _in_visible(user_id)))


def held_or_sent(
    connection: Connection, hashes: Collection[str], *, push: str, package_id: int | None
) -> dict[str, int]:
    """Return the objects that the package or its records hold or that were sent in the push, with sizes in bytes."""
    held = [] if package_id is None else [_in_package(package_id), _in_records(package_id)]
    return _sizes(connection, hashes, or_(*held, _in_push(push)))


def damaged_in(connection: Connection, package_id: int) -> list[str]:
    """Return the damaged objects that the package holds, sorted."""
    held = select(package_objects.c.hash).where(
        package_objects.c.package_id == package_id, package_objects.c.hash == damaged_objects.c.hash
    )
    query = select(damaged_objects.c.hash).where(held.correlate(damaged_objects).exists())
    return list(connection.execute(query.order_by(damaged_objects.c.hash)).scalars())


def damaged(connection: Connection) -> set[str]:
    """Return the objects that were found damaged and have not been sent again."""
    return set(connection.execute(select(damaged_objects.c.hash)).scalars())


def set_damaged(connection: Connection, hash: str, now: datetime) -> bool:
    """Mark an object as damaged or lost; return False, and do nothing, if nothing refers to it."""
    if not referenced(connection, [hash]):
        return False
    insert_new(connection, damaged_objects, [{"hash": hash, "found_at": now}])
    return True


def set_whole(connection: Connection, hashes: Collection[str]) -> None:
    """Mark objects as intact."""
    connection.execute(delete(damaged_objects).where(is_among(connection, damaged_objects.c.hash, hashes)))


def after(connection: Connection, hash: str, limit: int) -> dict[str, int]:
    """Return up to `limit` objects that are referred to, with their sizes in bytes, in the order of their hashes."""
    query = select(objects.c.hash, objects.c.size).where(objects.c.hash > hash, is_referenced())
    return {row.hash: row.size for row in connection.execute(query.order_by(objects.c.hash).limit(limit))}


def referenced(connection: Connection, hashes: Collection[str], now: datetime | None = None) -> set[str]:
    """Return the objects that a package or an open push refers to, and those that these are ranges of.

    No push may rely on any other. With `now`, pushes that have expired by then do not count.
    """
    return set(_sizes(connection, hashes, is_referenced(now)))


def unreferenced_after(connection: Connection, hash: str, limit: int) -> list[str]:
    """Return up to `limit` objects after this one that nothing refers to, in the order of their hashes."""
    query = select(objects.c.hash).where(objects.c.hash > hash, ~is_referenced())
    return list(connection.execute(query.order_by(objects.c.hash).limit(limit)).scalars())


def remove(connection: Connection, hashes: Collection[str]) -> None:
    """Delete the rows of objects that nothing refers to."""
    # First the rows that refer to these (foreign keys).
    recipes.remove(connection, hashes)
    set_whole(connection, hashes)
    connection.execute(delete(objects).where(is_among(connection, objects.c.hash, hashes)))


def holders(connection: Connection, hash: str) -> list[str]:
    """Return the packages that hold an object, in a state, a record or the run cache or as a wheel, sorted."""
    held = select(package_objects.c.package_id).where(package_objects.c.hash == hash)
    recorded = select(log.c.package_id).where(log.c.record_object == hash)
    cached = select(stage_results.c.package_id).join(stage_objects, stage_objects.c.result_id == stage_results.c.id)
    cached = cached.where(stage_objects.c.hash == hash)
    named = select(packages.c.user_name, packages.c.name).where(packages.c.id.in_(held.union(recorded, cached)))
    built = select(wheels.c.user_name, wheels.c.name).where(wheels.c.object == hash)
    return sorted(f"{user}/{name}" for user, name in connection.execute(named.union(built)))


def _sizes(connection: Connection, hashes: Collection[str], where: ColumnElement[bool]) -> dict[str, int]:
    if not hashes:
        return {}
    query = select(objects.c.hash, objects.c.size).where(is_among(connection, objects.c.hash, hashes), where)
    # Not by name (`row.hash`), which takes more time than the query where there are many.
    return {hash: size for hash, size in connection.execute(query)}  # noqa: C416 - dict() takes longer


def _in_package(package_id: int) -> ColumnElement[bool]:
    held = select(package_objects.c.hash).where(
        package_objects.c.package_id == package_id, package_objects.c.hash == objects.c.hash
    )
    return held.correlate(objects).exists()


def _in_push(push: str) -> ColumnElement[bool]:
    sent = select(push_objects.c.hash).where(push_objects.c.push_id == push, push_objects.c.hash == objects.c.hash)
    return sent.correlate(objects).exists()


def _in_records(package_id: int) -> ColumnElement[bool]:
    recorded = select(log.c.id).where(log.c.package_id == package_id, log.c.record_object == objects.c.hash)
    return recorded.correlate(objects).exists()


def _in_run_cache(package_id: int) -> ColumnElement[bool]:
    cached = (
        select(stage_objects.c.hash)
        .join(stage_results, stage_results.c.id == stage_objects.c.result_id)
        .where(stage_results.c.package_id == package_id, stage_objects.c.hash == objects.c.hash)
    )
    return cached.correlate(objects).exists()


def _in_visible(user_id: int) -> ColumnElement[bool]:
    held = (
        select(package_objects.c.hash)
        .join(packages, packages.c.id == package_objects.c.package_id)
        .where(package_objects.c.hash == objects.c.hash, visible(user_id))
    )
    return held.correlate(objects).exists()


def sent_before(connection: Connection, hashes: Collection[str], user_id: int, package: str) -> dict[str, int]:
    """Return the intact objects that a user sent in any unfinished push to a package, with their sizes in bytes."""
    mine = select(push_objects.c.hash).join(pushes, pushes.c.id == push_objects.c.push_id)
    sent = mine.where(push_objects.c.hash == objects.c.hash, pushes.c.user_id == user_id, pushes.c.package == package)
    return _sizes(connection, set(hashes) - damaged(connection), sent.correlate(objects).exists())


def list_sent(connection: Connection, push: str, hashes: Collection[str]) -> None:
    """Add listed objects to those that were sent in a push."""
    insert_hashes(connection, push_objects, dict.fromkeys(hashes), push_id=push)


def sent_in(connection: Connection, push: str, min_bytes: int) -> list[str]:
    """Return the objects of at least `min_bytes` that were sent in a push."""
    query = select(objects.c.hash).join(push_objects, push_objects.c.hash == objects.c.hash)
    return list(connection.execute(query.where(push_objects.c.push_id == push, objects.c.size >= min_bytes)).scalars())


def add_sent(connection: Connection, push: str, sizes: dict[str, int], now: datetime) -> None:
    """Add objects (hash to size in bytes) whose bytes were sent in a push."""
    list_stored(connection, sizes, now)
    list_sent(connection, push, sizes)


def list_stored(connection: Connection, sizes: dict[str, int], now: datetime) -> None:
    """List objects (hash to size in bytes) whose right bytes were stored."""
    insert_hashes(connection, objects, sizes, created_at=now)
    if bad := damaged(connection):
        set_whole(connection, bad.intersection(sizes))


def hold(connection: Connection, package_id: int, hashes: Collection[str]) -> None:
    """Add objects to those that the package holds."""
    insert_hashes(connection, package_objects, dict.fromkeys(hashes), package_id=package_id)


def list_held(connection: Connection, package_id: int, sizes: dict[str, int], now: datetime) -> None:
    """Make the rows of objects (hash to size in bytes) that a package holds what they should be."""
    insert_hashes(connection, objects, sizes, created_at=now)
    set_sizes(connection, sizes)
    hold(connection, package_id, sizes)


def set_sizes(connection: Connection, sizes: dict[str, int]) -> None:
    """Correct the sizes in bytes of objects that are listed with another one."""
    for hash, size in _sizes(connection, sizes, true()).items():
        if size != sizes[hash]:
            connection.execute(update(objects).where(objects.c.hash == hash).values(size=sizes[hash]))


def list_unlisted(connection: Connection, home: Readable, now: datetime) -> None:
    """Insert the lost rows of objects to which other rows refer; those whose bytes are gone too are damaged."""
    for key in (key for table in metadata.sorted_tables for key in table.foreign_keys):
        if key.column is not objects.c.hash:
            continue
        lost = select(key.parent).where(key.parent.is_not(None), key.parent.not_in(select(objects.c.hash))).distinct()
        for hash in connection.execute(lost).scalars().all():
            is_gone = bool(home.missing([hash]))
            size = 0 if is_gone else home.size(hash)
            insert_new(connection, objects, [{"hash": hash, "size": size, "created_at": now}])
            if is_gone:
                insert_new(connection, damaged_objects, [{"hash": hash, "found_at": now}])
