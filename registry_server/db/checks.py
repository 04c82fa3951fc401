"""Tables whose content was checked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from registry_server.db.database import batches, insert_new
from registry_server.db.tables import checked_tables


def known(connection: Connection, keys: Collection[str]) -> set[str]:
    """Return those of the keys (`tables/content_claims.claim_key`) whose tables were found right."""
    found: set[str] = set()
    for batch in batches(keys):
        rows = connection.execute(select(checked_tables.c.key).where(checked_tables.c.key.in_(batch)))
        found.update(rows.scalars())
    return found


def keep(connection: Connection, keys: Collection[str], now: datetime) -> None:
    """Note that the tables with these keys are right."""
    insert_new(connection, checked_tables, [{"key": key, "checked_at": now} for key in sorted(keys)])
