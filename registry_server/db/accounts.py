"""Users and their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from registry_server.db.tables import packages, tokens, users


@dataclass(frozen=True)
class User:
    """A user, who may own packages."""

    id: int
    name: str


@dataclass(frozen=True)
class UserLine:
    """A user in the operator's list."""

    name: str
    created_at: datetime
    tokens: int
    packages: int


def user_named(connection: Connection, name: str) -> User | None:
    """Return the user of this name, or None."""
    row = connection.execute(select(users.c.id, users.c.name).where(users.c.name == name)).one_or_none()
    return User(*row) if row else None


def user_of_token(connection: Connection, token_hash: str) -> User | None:
    """Return the user of the token with this hash, or None."""
    row = connection.execute(
        select(users.c.id, users.c.name).join(tokens, tokens.c.user_id == users.c.id).where(tokens.c.hash == token_hash)
    ).one_or_none()
    return User(*row) if row else None


def user_with_token(connection: Connection, id: int, since: datetime) -> User | None:
    """Return the user of this id if it has had one of its tokens since then, or None."""
    query = select(users.c.id, users.c.name).join(tokens, tokens.c.user_id == users.c.id)
    row = connection.execute(query.where(users.c.id == id, tokens.c.created_at <= since).limit(1)).one_or_none()
    return User(*row) if row else None


def add_user(connection: Connection, name: str, now: datetime) -> User:
    """Add a user; the database rejects a name that exists."""
    result = connection.execute(insert(users).values(name=name, created_at=now).returning(users.c.id))
    return User(result.scalar_one(), name)


def add_token(connection: Connection, user: User, token_hash: str, now: datetime) -> None:
    """Add a token of a user."""
    connection.execute(insert(tokens).values(user_id=user.id, hash=token_hash, created_at=now))


def remove_tokens(connection: Connection, user: User) -> int:
    """Delete all tokens of a user and return how many there were."""
    return connection.execute(delete(tokens).where(tokens.c.user_id == user.id)).rowcount


def all_users(connection: Connection) -> list[UserLine]:
    """Return all users with the numbers of their tokens and packages, sorted by name."""
    token_count = select(func.count()).where(tokens.c.user_id == users.c.id).scalar_subquery()
    package_count = select(func.count()).where(packages.c.user_id == users.c.id).scalar_subquery()
    rows = connection.execute(
        select(users.c.name, users.c.created_at, token_count, package_count).order_by(users.c.name)
    )
    return [UserLine(*row) for row in rows]
