"""Which objects are kept as ranges of which others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select

from registry_server.db.database import batches, insert_new
from registry_server.db.tables import objects, recipe_bases


def keep(connection: Connection, hash: str, bases: Mapping[str, int], now: datetime) -> bool:
    """Note that an object is kept as ranges of these alone (hash to size in bytes); return False where it cannot be.

    An object that others are ranges of stays whole, so no object is read through two recipes, or through itself.
    """
    wrong = or_(recipe_bases.c.base == hash, recipe_bases.c.hash.in_(list(bases)))
    if hash in bases or connection.execute(select(recipe_bases.c.hash).where(wrong).limit(1)).first():
        return False
    other = recipe_bases.c.base.not_in(list(bases))
    connection.execute(delete(recipe_bases).where(recipe_bases.c.hash == hash, other))
    # A remainder was never sent by itself, so it has no row yet to refer to.
    insert_new(connection, objects, [{"hash": base, "size": bases[base], "created_at": now} for base in sorted(bases)])
    insert_new(connection, recipe_bases, [{"hash": hash, "base": base} for base in sorted(bases)])
    return True


def bases_of(connection: Connection, hash: str) -> set[str]:
    """Return the objects of which an object is made, as it was noted."""
    return set(connection.execute(select(recipe_bases.c.base).where(recipe_bases.c.hash == hash)).scalars())


def remove(connection: Connection, hashes: Collection[str]) -> None:
    """Delete what was noted of the recipes of these objects."""
    for batch in batches(hashes):
        connection.execute(delete(recipe_bases).where(recipe_bases.c.hash.in_(batch)))


def keep_only(connection: Connection, hashes: Collection[str]) -> None:
    """Delete what was noted of the recipes of all other objects, which are here whole."""
    noted = connection.execute(select(recipe_bases.c.hash).distinct()).scalars().all()
    remove(connection, [hash for hash in noted if hash not in hashes])
