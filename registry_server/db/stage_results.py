"""The run caches of packages: results of stages, who added them, and the objects that they keep."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from registry_server.db.database import batches, insert_hashes, is_among
from registry_server.db.tables import damaged_objects, objects, stage_objects, stage_results


@dataclass(frozen=True)
class StageRow:
    """A result; `code_key` is a hash of `code`, the imported files (path to hash)."""

    key: str
    code_key: str
    code: Mapping[str, str]
    manifest: str
    size: int


@dataclass(frozen=True)
class FoundRow:
    """A result that is in the cache."""

    id: int
    key: str
    code: dict[str, str]
    manifest: str
    manifest_size: int
    author: str
    filled_at: datetime
    expires_at: datetime


def find(
    connection: Connection, package_id: int, keys: Collection[str], now: datetime, max_code: int
) -> list[FoundRow]:
    """Return the results for these keys, the last used first, without those that expired or have a damaged object.

    Those whose `code` would be more than `max_code` characters together are omitted.
    """
    table = stage_results.c
    order = (table.expires_at.desc(), table.id.desc())
    damaged = select(stage_objects.c.result_id).join(damaged_objects, damaged_objects.c.hash == stage_objects.c.hash)
    chosen = (
        select(table.id, func.sum(func.length(table.code)).over(order_by=order).label("code_until"))
        .where(
            table.package_id == package_id,
            is_among(connection, table.key, keys),
            table.expires_at > now,
            table.id.not_in(damaged),
        )
        .subquery()
    )
    columns = table.id, table.key, table.code, table.manifest, objects.c.size, table.author, table.filled_at
    query = (
        select(*columns, table.expires_at)
        .join(chosen, chosen.c.id == table.id)
        .join(objects, objects.c.hash == table.manifest)
        .where(chosen.c.code_until <= max_code)
        .order_by(*order)
    )
    return [FoundRow(row[0], row[1], json.loads(row[2]), *row[3:]) for row in connection.execute(query)]


def renew(connection: Connection, ids: Collection[int], until: datetime) -> None:
    """Keep results until a later time."""
    for batch in batches(ids):
        connection.execute(update(stage_results).where(stage_results.c.id.in_(batch)).values(expires_at=until))


def keep(
    connection: Connection,
    package_id: int,
    row: StageRow,
    hashes: Collection[str],
    *,
    author: str,
    now: datetime,
    until: datetime,
) -> bool:
    """Add a result with its objects, in place of another one of the same code; return False if it is there already."""
    table = stage_results.c
    same = (table.package_id == package_id) & (table.key == row.key) & (table.code_key == row.code_key)
    known = connection.execute(select(table.id, table.manifest).where(same)).one_or_none()
    if known is not None and known.manifest == row.manifest:
        renew(connection, [known.id], until)
        # Some of its rows may have been lost with a damaged database.
        insert_hashes(connection, stage_objects, dict.fromkeys(hashes), result_id=known.id)
        return False
    connection.execute(delete(stage_results).where(same))
    values = {**vars(row), "code": json.dumps(dict(row.code)), "author": author, "filled_at": now, "expires_at": until}
    added = insert(stage_results).values(package_id=package_id, **values).returning(table.id)
    result_id = connection.execute(added).scalar_one()
    insert_hashes(connection, stage_objects, dict.fromkeys(hashes), result_id=result_id)
    return True


def keep_variants(connection: Connection, package_id: int, keys: Collection[str], count: int) -> None:
    """Delete all but the last used `count` results of each of these keys."""
    table = stage_results.c
    order = (table.expires_at.desc(), table.id.desc())
    numbered = (
        select(table.id, func.row_number().over(partition_by=table.key, order_by=order).label("number"))
        .where(table.package_id == package_id, is_among(connection, table.key, keys))
        .subquery()
    )
    _remove(connection, stage_results.c.id.in_(select(numbered.c.id).where(numbered.c.number > count)))


def make_room(connection: Connection, package_id: int, max_count: int, max_bytes: int) -> None:
    """Delete the results of a package that were used the longest ago, beyond a number and a sum of sizes."""
    table = stage_results.c
    mine = table.package_id == package_id
    count, size = connection.execute(select(func.count(), func.coalesce(func.sum(table.size), 0)).where(mine)).one()
    if count <= max_count and size <= max_bytes:
        return
    oldest = select(table.id, table.size).where(mine).order_by(table.expires_at, table.id)
    gone = []
    for row in connection.execute(oldest):
        if count <= max_count and size <= max_bytes:
            break
        gone.append(row.id)
        count, size = count - 1, size - row.size
    for batch in batches(gone):
        _remove(connection, table.id.in_(batch))


def remove_older(connection: Connection, now: datetime) -> int:
    """Delete the expired results of all packages and return how many there were."""
    return _remove(connection, stage_results.c.expires_at <= now)


def count_all(connection: Connection) -> int:
    """Return the number of results of all packages."""
    return connection.execute(select(func.count()).select_from(stage_results)).scalar_one()


def count_older(connection: Connection, now: datetime) -> int:
    """Return the number of expired results."""
    return connection.execute(select(func.count()).where(stage_results.c.expires_at <= now)).scalar_one()


def _remove(connection: Connection, where: ColumnElement[bool]) -> int:
    return connection.execute(delete(stage_results).where(where)).rowcount
