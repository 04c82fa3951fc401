"""The states of a package, the log of its pushes, and the tags and versions that name them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from registry_server.db.packages import LATEST
from registry_server.db.tables import log, packages, search, states, tags, versions


@dataclass(frozen=True)
class StateRow:
    """One manifest of a package and what was derived from it.

    `unchecked` is JSON: the paths of tables whose content was not checked; None if that was never checked.
    """

    hash: str
    manifest_size: int
    bytes_logical: int
    title: str
    description: str
    unchecked: str | None = None

    @property
    def unchecked_paths(self) -> list[str] | None:
        """The paths of the tables whose content was not checked, or None."""
        return None if self.unchecked is None else json.loads(self.unchecked)


@dataclass(frozen=True)
class LogLine:
    """One push; `parents` is JSON: the states that it was made from, or None."""

    id: int
    hash: str
    parent: str | None
    author: str
    message: str
    pushed_at: datetime
    bytes_logical: int
    parents: str | None

    @property
    def all_parents(self) -> list[str]:
        """The states that this one was made from; the one that was the latest before where no others are known."""
        return json.loads(self.parents) if self.parents else [self.parent] if self.parent else []


@dataclass(frozen=True)
class Version:
    """A name that never moves; `key` is equal for what PEP 440 calls equal.

    `yanked` is the reason of a version that was yanked, "" without one; None if it was not.
    """

    key: str
    version: str
    hash: str
    created_at: datetime
    yanked: str | None = None


_STATE = (
    states.c.hash,
    states.c.manifest_size,
    states.c.bytes_logical,
    states.c.title,
    states.c.description,
    states.c.unchecked,
)


def find(connection: Connection, package_id: int, hash: str) -> StateRow | None:
    """Return the state of a package with this hash, or None."""
    row = connection.execute(
        select(*_STATE).where(states.c.package_id == package_id, states.c.hash == hash)
    ).one_or_none()
    return StateRow(*row) if row else None


def beginning_with(connection: Connection, package_id: int, prefix: str, limit: int) -> list[str]:
    """Return the hashes of states that begin with `prefix`, sorted."""
    rows = connection.execute(
        select(states.c.hash)
        # "g" is the character after the last hexadecimal digit: a range of the index.
        .where(states.c.package_id == package_id, states.c.hash >= prefix, states.c.hash < prefix + "g")
        .order_by(states.c.hash)
        .limit(limit)
    )
    return list(rows.scalars())


def keep(connection: Connection, package_id: int, state: StateRow, previews: str, number: int) -> None:
    """Add a state, or replace what was derived from it; its number stays the same."""
    known = (states.c.package_id == package_id) & (states.c.hash == state.hash)
    connection.execute(delete(states).where(known))
    connection.execute(insert(states).values(package_id=package_id, previews=previews, number=number, **vars(state)))


def set_unchecked(connection: Connection, package_id: int, hash: str, paths: list[str]) -> None:
    """Set which tables of a state were not checked."""
    here = (states.c.package_id == package_id) & (states.c.hash == hash)
    connection.execute(update(states).where(here).values(unchecked=json.dumps(paths)))


def all_of(connection: Connection) -> list[tuple[int, str, str]]:
    """Return each state as the id and name (`user/name`) of its package and its hash."""
    full_name = packages.c.user_name + "/" + packages.c.name
    query = select(states.c.package_id, full_name, states.c.hash).join(packages, packages.c.id == states.c.package_id)
    return [(id, name, hash) for id, name, hash in connection.execute(query.order_by(full_name, states.c.hash))]


def add_push(
    connection: Connection,
    package_id: int,
    *,
    hash: str,
    parent: str | None,
    author: str,
    message: str,
    record: str,
    record_object: str | None,
    parents: list[str],
    now: datetime,
) -> None:
    """Add a line to the log."""
    connection.execute(
        insert(log).values(
            package_id=package_id,
            hash=hash,
            parent=parent,
            author=author,
            message=message,
            record=record,
            record_object=record_object,
            pushed_at=now,
            parents=json.dumps(parents),
        )
    )


def pushes_of(connection: Connection, package_id: int, *, before: int | None, limit: int) -> list[LogLine]:
    """Return the log, newest first: up to `limit` lines older than the line `before`."""
    line = (log.c.id, log.c.hash, log.c.parent, log.c.author, log.c.message, log.c.pushed_at)
    query = (
        select(*line, states.c.bytes_logical, log.c.parents)
        .join(states, (states.c.package_id == log.c.package_id) & (states.c.hash == log.c.hash))
        .where(log.c.package_id == package_id)
    )
    if before is not None:
        query = query.where(log.c.id < before)
    return [LogLine(*row) for row in connection.execute(query.order_by(log.c.id.desc()).limit(limit))]


def last_push(connection: Connection, package_id: int, at: datetime) -> tuple[datetime, str] | None:
    """Return the time and state of the last push until a moment, or None."""
    query = select(log.c.pushed_at, log.c.hash).where(log.c.package_id == package_id, log.c.pushed_at <= at)
    row = connection.execute(query.order_by(log.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else (row.pushed_at, row.hash)


def first_pushed_at(connection: Connection, package_id: int) -> datetime | None:
    """Return the time of the first push, or None without one."""
    query = select(log.c.pushed_at).where(log.c.package_id == package_id).order_by(log.c.id).limit(1)
    return connection.execute(query).scalar()


def record_of(connection: Connection, package_id: int, hash: str) -> tuple[str, str | None] | None:
    """Return the record of the newest push of a state, as JSON, and the object that has its long lists."""
    query = select(log.c.record, log.c.record_object).where(log.c.package_id == package_id, log.c.hash == hash)
    row = connection.execute(query.order_by(log.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else (row.record, row.record_object)


def set_record(connection: Connection, package_id: int, hash: str, record: str, record_object: str | None) -> None:
    """Replace the record of the newest push of a state."""
    query = select(func.max(log.c.id)).where(log.c.package_id == package_id, log.c.hash == hash)
    newest = connection.execute(query).scalar_one()
    connection.execute(update(log).where(log.c.id == newest).values(record=record, record_object=record_object))


def latest_of(connection: Connection, package_id: int) -> str | None:
    """Return the hash of the tag `latest`, or None."""
    return connection.execute(
        select(tags.c.hash).where(tags.c.package_id == package_id, tags.c.name == LATEST)
    ).scalar_one_or_none()


def tags_of(connection: Connection, package_id: int) -> dict[str, str]:
    """Return all tags with their hashes, sorted by name."""
    rows = connection.execute(
        select(tags.c.name, tags.c.hash).where(tags.c.package_id == package_id).order_by(tags.c.name)
    )
    return {row.name: row.hash for row in rows}


def moved_at(connection: Connection, package_id: int) -> dict[str, datetime]:
    """Return when each tag was last moved, where that is known."""
    query = select(tags.c.name, tags.c.moved_at).where(tags.c.package_id == package_id, tags.c.moved_at.is_not(None))
    return {row.name: row.moved_at for row in connection.execute(query)}


def names_of(
    connection: Connection, package_id: int, hashes: Collection[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the tags and the versions of states by their hash, tags sorted by name."""
    found: tuple[dict[str, list[str]], dict[str, list[str]]] = {}, {}
    for names, column in zip(found, (tags.c.name, versions.c.version), strict=True):
        here = (column.table.c.package_id == package_id) & column.table.c.hash.in_(hashes)
        for hash, name in connection.execute(select(column.table.c.hash, column).where(here).order_by(column)):
            names.setdefault(hash, []).append(name)
    return found


def set_tag(connection: Connection, package_id: int, name: str, hash: str, now: datetime) -> None:
    """Add or move a tag."""
    here = (tags.c.package_id == package_id) & (tags.c.name == name)
    if not connection.execute(update(tags).where(here).values(hash=hash, moved_at=now)).rowcount:
        connection.execute(insert(tags).values(package_id=package_id, name=name, hash=hash, moved_at=now))


def remove_tag(connection: Connection, package_id: int, name: str) -> bool:
    """Delete a tag and return whether it existed."""
    here = (tags.c.package_id == package_id) & (tags.c.name == name)
    return connection.execute(delete(tags).where(here)).rowcount > 0


_VERSION = (versions.c.key, versions.c.version, versions.c.hash, versions.c.created_at, versions.c.yanked)


def versions_of(connection: Connection, package_id: int) -> list[Version]:
    """Return all versions, in no particular order."""
    rows = connection.execute(select(*_VERSION).where(versions.c.package_id == package_id))
    return [Version(*row) for row in rows]


def versions_as_given(connection: Connection, package_id: int) -> Sequence[tuple[str, str, str | None]]:
    """Return each version, its state, and why it is yanked, or None, in the order in which they were given."""
    query = select(versions.c.version, versions.c.hash, versions.c.yanked).where(versions.c.package_id == package_id)
    return connection.execute(query.order_by(versions.c.created_at, versions.c.key)).all()


def version_of(connection: Connection, package_id: int, key: str) -> Version | None:
    """Return the version with this key, or None."""
    row = connection.execute(
        select(*_VERSION).where(versions.c.package_id == package_id, versions.c.key == key)
    ).one_or_none()
    return Version(*row) if row else None


def add_version(connection: Connection, package_id: int, version: Version) -> None:
    """Add a version; the database rejects a key that exists."""
    connection.execute(insert(versions).values(package_id=package_id, **vars(version)))


def set_yanked(connection: Connection, package_id: int, key: str, reason: str | None) -> None:
    """Yank the version with this key, or for None, undo that."""
    here = (versions.c.package_id == package_id) & (versions.c.key == key)
    connection.execute(update(versions).where(here).values(yanked=reason))


def count_versions(connection: Connection, package_id: int) -> int:
    """Return the number of versions of a package."""
    return connection.execute(select(func.count()).where(versions.c.package_id == package_id)).scalar_one()


def index(connection: Connection, package_id: int, texts: Mapping[str, str]) -> None:
    """Replace the texts in which a search looks for the package (the columns of `search`)."""
    connection.execute(delete(search).where(search.c.package_id == package_id))
    connection.execute(insert(search).values(package_id=package_id, **texts))


def indexed(connection: Connection, package_id: int) -> dict[str, str] | None:
    """Return the texts in which a search looks for the package, by column, or None."""
    row = connection.execute(select(search).where(search.c.package_id == package_id)).mappings().one_or_none()
    return None if row is None else {name: text for name, text in row.items() if name != "package_id"}


def describe_anew(connection: Connection, package_id: int, state: StateRow) -> None:
    """Replace what was derived from the manifest of a state; its previews and checked tables stay."""
    here = (states.c.package_id == package_id) & (states.c.hash == state.hash)
    values = {name: value for name, value in vars(state).items() if name not in ("hash", "unchecked")}
    connection.execute(update(states).where(here).values(**values))
