"""The audit: every change, with its actor and time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from registry_server.db.tables import events


def add(connection: Connection, action: str, actor: str, subject: str, now: datetime, **detail: Any) -> None:
    """Add a line to the audit, in the transaction of the change that it describes."""
    connection.execute(
        insert(events).values(at=now, action=action, actor=actor, subject=subject, detail=json.dumps(detail))
    )


def moves_of_tag(
    connection: Connection, subject: str, tag: str, since: datetime, until: datetime
) -> Iterator[tuple[datetime, str]]:
    """Yield when a tag was moved in a span of time, and to which state, newest first."""
    rows = connection.execute(
        select(events.c.at, events.c.detail)
        .where(events.c.subject == subject, events.c.action == "package:tag", events.c.at.between(since, until))
        .order_by(events.c.id.desc())
    )
    for at, text in rows:
        detail = json.loads(text)
        if detail.get("tag") == tag:
            yield at, detail["hash"]


def last_about(connection: Connection, subject: str) -> int:
    """Return the id of the last event of a package or user, 0 without one."""
    return connection.execute(select(func.max(events.c.id)).where(events.c.subject == subject)).scalar() or 0


def about(connection: Connection, subject: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (action, actor, detail) of every event of a package or user, oldest first."""
    rows = connection.execute(
        select(events.c.action, events.c.actor, events.c.detail)
        .where(events.c.subject == subject)
        .order_by(events.c.id)
    )
    return [(action, actor, json.loads(detail)) for action, actor, detail in rows]
