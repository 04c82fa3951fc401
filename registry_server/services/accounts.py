"""Users and their tokens: `dpk_` and 32 random bytes, of which only the hash is stored."""

from __future__ import annotations

import secrets
import shlex

from sqlalchemy import Connection

from datapkg.errors import Conflict, NotFound, NotLoggedIn
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import check_user
from datapkg.format.texts import quoted
from registry_server.db import accounts, events
from registry_server.db.accounts import User, UserLine
from registry_server.services import policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry

TOKEN_PREFIX = "dpk_"
TOKEN_RANDOM_BYTES = 32


def authenticate(registry: Registry, token: str) -> Actor:
    """Return the user of a token; raise `NotLoggedIn` if it is unknown, even for requests that need no token."""
    with registry.db.read() as connection:
        # By its hash: how long this takes reveals nothing about the tokens that exist.
        user = accounts.user_of_token(connection, _hash(token))
    if user is None:
        raise NotLoggedIn(
            "the token is not valid here: it was revoked, or belongs to another registry",
            hint="datapkg login, or unset DATAPKG_TOKEN to read what is public",
        )
    return Actor(user.id, user.name)


def add_user(registry: Registry, actor: Actor, name: str) -> str:
    """Add a user and return a token, which cannot be shown again; raise `Conflict` if the name is taken."""
    policy.check_operator(actor, "user:add")
    check_user(name)
    with registry.db.write() as connection:
        if accounts.user_named(connection, name):
            raise Conflict(
                f"user {name!r} exists", hint=f"datapkg-registry user token {name} --data {_folder(registry)}"
            )
        user = accounts.add_user(connection, name, registry.now())
        events.add(connection, "user:add", "", name, registry.now())
        return _add_token(connection, registry, user)


def add_token(registry: Registry, actor: Actor, name: str) -> str:
    """Add a token of a user and return it; earlier tokens stay valid."""
    policy.check_operator(actor, "user:token")
    with registry.db.write() as connection:
        user = _find_user(connection, registry, name)
        events.add(connection, "user:token", "", name, registry.now())
        return _add_token(connection, registry, user)


def revoke_tokens(registry: Registry, actor: Actor, name: str) -> int:
    """Revoke all tokens of a user and return how many there were."""
    policy.check_operator(actor, "user:token")
    with registry.db.write() as connection:
        count = accounts.remove_tokens(connection, _find_user(connection, registry, name))
        events.add(connection, "user:revoke", "", name, registry.now(), tokens=count)
    return count


def list_users(registry: Registry, actor: Actor) -> list[UserLine]:
    """Return all users, sorted by name."""
    policy.check_operator(actor, "user:list")
    with registry.db.read() as connection:
        return accounts.all_users(connection)


def _find_user(connection: Connection, registry: Registry, name: str) -> User:
    user = accounts.user_named(connection, name)
    if user is None:
        hint = f"datapkg-registry user list --data {_folder(registry)}"
        raise NotFound(f"user {quoted(name)} not found", hint=hint)
    return user


def _add_token(connection: Connection, registry: Registry, user: User) -> str:
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)
    accounts.add_token(connection, user, _hash(token), registry.now())
    return token


def _folder(registry: Registry) -> str:
    """Return the data folder of this registry, quoted for a shell."""
    return shlex.quote(str(registry.settings.data))


def _hash(token: str) -> str:
    return hash_bytes(token.encode(errors="surrogateescape"))
