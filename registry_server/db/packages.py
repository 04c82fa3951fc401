"""Packages: their owners, who may see them, and searching them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    delete,
    insert,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from registry_server.db.tables import grants, packages, search, states, tags, users

LATEST = "latest"


@dataclass(frozen=True)
class PackageRow:
    """A package's row, with the rights of the user who asked: whether it is shared with them, also for writing."""

    id: int
    user: str
    name: str
    public: bool
    created_at: datetime
    granted: bool
    writable: bool = False

    @property
    def full_name(self) -> str:
        """`user/name`."""
        return f"{self.user}/{self.name}"


@dataclass(frozen=True)
class PackageLine:
    """A package in a list, described by its latest state; `key` is the position after which the list continues."""

    user: str
    name: str
    public: bool
    latest: str
    title: str
    description: str
    bytes_logical: int
    pushed_at: datetime
    key: tuple[Any, ...]


@dataclass(frozen=True)
class IndexedTexts:
    """The searchable texts of a package besides name, title and description.

    The casefolded texts are empty if the `originals` are stored.
    """

    originals: str | None
    about: str
    nodes: str
    readme: str


def visible(user_id: int | None) -> ColumnElement[bool]:
    """Return the condition that this user (None: everybody) may see a row of `packages`."""
    if user_id is None:
        return packages.c.public
    return or_(packages.c.public, packages.c.user_id == user_id, packages.c.id.in_(_granted_to(user_id)))


def _granted_to(user_id: int) -> Select[int]:
    return select(grants.c.package_id).join(users, users.c.name == grants.c.user_name).where(users.c.id == user_id)


def _is_granted(user_id: int | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions that a row of `packages` is shared with a user, and that it is shared for writing."""
    if user_id is None:
        return literal(False, Boolean), literal(False, Boolean)
    granted = _granted_to(user_id)
    return packages.c.id.in_(granted), packages.c.id.in_(granted.where(grants.c.may_write))


def find(connection: Connection, user: str, name: str, asked_by: int | None) -> PackageRow | None:
    """Return the package if this user may see it; one query serves invisible and missing packages alike."""
    columns = packages.c.id, packages.c.user_name, packages.c.name, packages.c.public, packages.c.created_at
    row = connection.execute(
        select(*columns, *_is_granted(asked_by)).where(
            packages.c.user_name == user, packages.c.name == name, visible(asked_by)
        )
    ).one_or_none()
    return PackageRow(*row) if row else None


def add(connection: Connection, user_id: int, user: str, name: str, public: bool, now: datetime) -> PackageRow:
    """Add a package; the database rejects a name that exists."""
    result = connection.execute(
        insert(packages)
        .values(user_id=user_id, user_name=user, name=name, public=public, created_at=now, pushed_at=now)
        .returning(packages.c.id)
    )
    return PackageRow(result.scalar_one(), user, name, public, now, False)


def set_public(connection: Connection, package_id: int, public: bool) -> None:
    """Make a package public or private."""
    connection.execute(update(packages).where(packages.c.id == package_id).values(public=public))


def touch(connection: Connection, package_id: int, now: datetime) -> None:
    """Set the time of the last push."""
    connection.execute(update(packages).where(packages.c.id == package_id).values(pushed_at=now))


def remove(connection: Connection, package_id: int) -> None:
    """Delete the package and all that belongs to it; bytes and events stay."""
    connection.execute(delete(packages).where(packages.c.id == package_id))


def page(
    connection: Connection,
    asked_by: int | None,
    words: Sequence[str] = (),
    *,
    user: str | None = None,
    recent: bool = False,
    after: Sequence[Any] | None = None,
    limit: int,
) -> list[PackageLine]:
    """Return up to `limit` visible packages that match every word, after the key `after`.

    They are ordered by where the words were found and then by name; with `recent`, the last pushed come first.
    """
    names = packages.c.user_name, packages.c.name
    seen = visible(asked_by) if user is None else and_(visible(asked_by), packages.c.user_name == user)
    if words:
        first: ColumnElement[Any] = _rank(words)
        query = _lines(packages, [first, *names]).where(seen, *(_has(word) for word in words))
        if after is not None:
            query = query.where(tuple_(first, *names) > tuple_(*after))
        rows = connection.execute(query.order_by(first, *names).limit(limit))
        return [_line(row) for row in rows]
    # The page is chosen among the packages alone, in the order of an index, before anything is joined to it.
    # As the number that is stored, which a cursor can carry.
    pushed = type_coerce(packages.c.pushed_at, BigInteger)
    chosen = select(packages).where(seen)
    if after is not None and recent:
        older = or_(pushed < -after[0], and_(pushed == -after[0], tuple_(*names) > tuple_(*after[1:])))
        # The first condition follows from the second, but only the first can use the index.
        chosen = chosen.where(pushed <= -after[0], older)
    elif after is not None:
        chosen = chosen.where(tuple_(*names) > tuple_(*after[1:]))
    chosen = chosen.order_by(*([packages.c.pushed_at.desc()] if recent else []), *names).limit(limit)
    page = chosen.subquery("page")
    first = -type_coerce(page.c.pushed_at, BigInteger) if recent else literal(0)
    order: list[ColumnElement[Any]] = [first, page.c.user_name, page.c.name]
    return [_line(row) for row in connection.execute(_lines(page, order).order_by(*order))]


def names(connection: Connection, asked_by: int | None) -> list[str]:
    """Return all packages that this user may see, as `user/name`, sorted."""
    query = select(packages.c.user_name, packages.c.name).where(visible(asked_by))
    return [f"{row.user_name}/{row.name}" for row in connection.execute(query.order_by(*query.selected_columns))]


def indexed_texts(connection: Connection, user: str, name: str) -> IndexedTexts | None:
    """Return the texts in which a search looks for a package, to show where it found a word; None if it is gone."""
    folded = (case((search.c.originals.is_(None), place), else_="") for place in _PLACES[1:])
    row = connection.execute(
        select(search.c.originals, *folded)
        .join(packages, packages.c.id == search.c.package_id)
        .where(packages.c.user_name == user, packages.c.name == name)
    ).one_or_none()
    return IndexedTexts(*row) if row else None


def _line(row: Sequence[Any]) -> PackageLine:
    values, key = row[:-3], tuple(row[-3:])
    return PackageLine(*[*values, key])


def _lines(page: FromClause, order: Sequence[ColumnElement[Any]]) -> Select[Any]:
    shown = page.c.user_name, page.c.name, page.c.public, tags.c.hash
    return (
        select(*shown, states.c.title, states.c.description, states.c.bytes_logical, page.c.pushed_at, *order)
        .select_from(page)
        .join(tags, and_(tags.c.package_id == page.c.id, tags.c.name == LATEST))
        .join(states, and_(states.c.package_id == page.c.id, states.c.hash == tags.c.hash))
        .join(search, search.c.package_id == page.c.id)
    )


_PLACES = (search.c.name, search.c.about, search.c.nodes, search.c.readme)


def _has(word: str) -> ColumnElement[bool]:
    # `%` and `_` in a word are not wildcards.
    return or_(*(place.contains(word, autoescape=True) for place in _PLACES))


def _rank(words: Sequence[str]) -> ColumnElement[int]:
    rank: ColumnElement[int] = literal(0)
    for word in words:
        found = [(place.contains(word, autoescape=True), number) for number, place in enumerate(_PLACES)]
        rank = rank + case(*found, else_=len(found))
    return rank
