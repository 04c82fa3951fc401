"""The columns that can hold the hash of an object, and which of them keep an object alive.

Whatever decides whether an object may be deleted reads this table. A column that is not in it is a mistake, which a
test finds in the definitions of the tables and in the rows of a registry in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum

from sqlalchemy import Column, ColumnElement, or_, select

from registry_server.db.tables import (
    metadata,
    objects,
    push_objects,
    pushes,
    recipe_bases,
    stage_objects,
    stage_results,
)

FAR = datetime.max.replace(tzinfo=UTC)


class Role(Enum):
    """What a hash in a column means for the object."""

    ROOT = "keeps the object alive"
    BASE = "keeps the object alive while the object in `recipe_bases.hash` is"
    HELD = "names a manifest that the package holds by a root"
    ABOUT = "describes the object if it is there, and keeps nothing"
    TEXT = "a text that may mention hashes, and keeps nothing"
    OTHER = "64 hexadecimal digits that do not name an object"


HASH_COLUMNS = {
    "package_objects.hash": Role.ROOT,
    "push_objects.hash": Role.ROOT,
    "stage_objects.hash": Role.ROOT,
    "log.record_object": Role.ROOT,
    "wheels.object": Role.ROOT,
    "recipe_bases.base": Role.BASE,
    "states.hash": Role.HELD,
    "log.hash": Role.HELD,
    "log.parent": Role.HELD,
    "tags.hash": Role.HELD,
    "versions.hash": Role.HELD,
    "stage_results.manifest": Role.HELD,
    "objects.hash": Role.ABOUT,
    "damaged_objects.hash": Role.ABOUT,
    "recipe_bases.hash": Role.ABOUT,
    "pushes.manifest": Role.ABOUT,
    "retired_versions.hash": Role.ABOUT,
    "wheels.state": Role.ABOUT,
    "states.title": Role.TEXT,
    "states.description": Role.TEXT,
    "states.previews": Role.TEXT,
    "states.unchecked": Role.TEXT,
    "log.message": Role.TEXT,
    "log.parents": Role.TEXT,  # the states of a merge, of whichever package; each has a root of its own, or none
    "versions.yanked": Role.TEXT,
    "log.record": Role.TEXT,
    "stage_results.code": Role.TEXT,  # hashes of files that a run imported, which nobody sent
    "search.name": Role.TEXT,
    "search.about": Role.TEXT,
    "search.nodes": Role.TEXT,
    "search.readme": Role.TEXT,
    "search.originals": Role.TEXT,
    "events.detail": Role.TEXT,
    "events.subject": Role.TEXT,
    "pushes.package": Role.TEXT,
    "wheels.metadata": Role.OTHER,
    "wheels.version": Role.TEXT,
    "tokens.hash": Role.OTHER,
    "stage_results.key": Role.OTHER,
    "stage_results.code_key": Role.OTHER,
    "checked_tables.key": Role.OTHER,
}


def columns(role: Role) -> Iterator[Column[str]]:
    """Yield the columns with this role."""
    for name, each in HASH_COLUMNS.items():
        if each is role:
            table, column = name.split(".")
            yield metadata.tables[table].c[column]


def is_referenced(now: datetime | None = None) -> ColumnElement[bool]:
    """Return the condition that a root has the object of a row of `objects`, or one that is made of its ranges.

    With `now`, pushes and results of stages that have expired by then do not count, as if they were deleted.
    """
    used = select(recipe_bases.c.base).where(recipe_bases.c.base == objects.c.hash, _in_root(recipe_bases.c.hash, now))
    return or_(_in_root(objects.c.hash, now), used.correlate(objects).exists())


def is_held(hash: Column[str]) -> ColumnElement[bool]:
    """Return the condition that a package holds this object; open pushes and run caches do not count."""
    return _in_root(hash, FAR)


def _in_root(hash: Column[str], now: datetime | None) -> ColumnElement[bool]:
    found = []
    for root in columns(Role.ROOT):
        query = select(root).where(root == hash)
        if now is not None and root.table is push_objects:
            query = query.join(pushes, pushes.c.id == push_objects.c.push_id).where(pushes.c.expires_at > now)
        if now is not None and root.table is stage_objects:
            kept = stage_results.c.id == stage_objects.c.result_id
            query = query.join(stage_results, kept).where(stage_results.c.expires_at > now)
        found.append(query.correlate(hash.table).exists())
    return or_(*found)
