"""Users and their tokens: `dpk_` and 32 random bytes, of which only the hash is kept."""

from __future__ import annotations

import secrets
import shlex

from datapkg.errors import Conflict, NotFound, NotLoggedIn
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import check_user
from datapkg.format.texts import quoted
from registry_server.db import accounts, events
from registry_server.db.accounts import UserLine
from registry_server.services import policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry

TOKEN_PREFIX = "dpk_"
TOKEN_RANDOM_BYTES = 32


def authenticate(registry: Registry, token: str) -> Actor:
    """The user of a token; raises `NotLoggedIn` for one that is unknown, also where nothing needs one."""
    with registry.db.read() as connection:
        user = accounts.user_of_token(connection, _hash(token))
    if user is None:
        raise NotLoggedIn(
            "the token is not valid here: it was revoked, or is another registry's",
            hint="datapkg login, or unset DATAPKG_TOKEN to read what is public",
        )
    return Actor(user.id, user.name)


def add_user(registry: Registry, actor: Actor, name: str) -> str:
    """Adds a user and gives a first token, which cannot be shown again; raises `Conflict` for a name that is taken."""
    policy.check_operator(actor, "user:add")
    check_user(name)
    with registry.db.write() as connection:
        if accounts.user_named(connection, name):
            raise Conflict(
                f"user {name!r} exists", hint=f"datapkg-registry user token {name} --data {_folder(registry)}"
            )
        user = accounts.add_user(connection, name, registry.now())
        token = _new_token()
        accounts.add_token(connection, user, _hash(token), registry.now())
        events.add(connection, "user:add", "", name, registry.now())
    return token


def add_token(registry: Registry, actor: Actor, name: str) -> str:
    """Gives a user one more token."""
    policy.check_operator(actor, "user:token")
    with registry.db.write() as connection:
        user = accounts.user_named(connection, name)
        if user is None:
            raise _no_user(registry, name)
        token = _new_token()
        accounts.add_token(connection, user, _hash(token), registry.now())
        events.add(connection, "user:token", "", name, registry.now())
    return token


def revoke_tokens(registry: Registry, actor: Actor, name: str) -> int:
    """Makes all tokens of a user invalid; gives how many there were."""
    policy.check_operator(actor, "user:token")
    with registry.db.write() as connection:
        user = accounts.user_named(connection, name)
        if user is None:
            raise _no_user(registry, name)
        count = accounts.remove_tokens(connection, user)
        events.add(connection, "user:revoke", "", name, registry.now(), tokens=count)
    return count


def list_users(registry: Registry, actor: Actor) -> list[UserLine]:
    """All users, sorted by name."""
    policy.check_operator(actor, "user:list")
    with registry.db.read() as connection:
        return accounts.all_users(connection)


def _no_user(registry: Registry, name: str) -> NotFound:
    return NotFound(f"there is no user {quoted(name)}", hint=f"datapkg-registry user list --data {_folder(registry)}")


def _folder(registry: Registry) -> str:
    """Return the folder of this registry as a line to type has it."""
    return shlex.quote(str(registry.settings.data))


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def _hash(token: str) -> str:
    return hash_bytes(token.encode(errors="surrogateescape"))
