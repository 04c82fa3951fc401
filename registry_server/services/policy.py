"""Who may do what: one table, and what is not in it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from datapkg.errors import Forbidden, NotLoggedIn, PackageNotFound
from datapkg.format.names import shown
from registry_server.db import packages
from registry_server.db.packages import Package

Role = Literal["owner", "reader", "public", "operator"]

OWNER: frozenset[Role] = frozenset({"owner"})
READERS: frozenset[Role] = frozenset({"owner", "reader"})
ANYBODY: frozenset[Role] = frozenset({"owner", "reader", "public"})
OPERATOR: frozenset[Role] = frozenset({"operator"})

ACTIONS: dict[str, frozenset[Role]] = {
    "package:read": ANYBODY,
    "package:readers": READERS,
    "package:publish": OWNER,
    "package:tag": OWNER,
    "package:version": OWNER,
    "package:share": OWNER,
    "package:delete": OWNER,
    "user:add": OPERATOR,
    "user:list": OPERATOR,
    "user:token": OPERATOR,
    "registry:sweep": OPERATOR,
    "registry:verify": OPERATOR,
}


@dataclass(frozen=True)
class Actor:
    """Who asks: a user, nobody in particular, or whoever runs the registry (from its own command line)."""

    id: int | None = None
    name: str | None = None
    operator: bool = False


ANONYMOUS = Actor()
THE_OPERATOR = Actor(operator=True)


def may(action: str, role: Role | None) -> bool:
    """Whether the table allows this action to this role."""
    return role in ACTIONS.get(action, ())


def role_in(actor: Actor, package: Package) -> Role | None:
    """What the actor is to a package, or None for nothing."""
    if actor.name == package.user:
        return "owner"
    if package.granted:
        return "reader"
    return "public" if package.public else None


def check_operator(actor: Actor, action: str) -> None:
    """Raises `Forbidden` unless whoever runs the registry asks."""
    if not may(action, "operator" if actor.operator else None):
        raise Forbidden(f"{action} is for who runs the registry")


def readable(connection: Connection, actor: Actor, user: str, name: str, action: str = "package:read") -> Package:
    """The package; raises the same `PackageNotFound` where it is not and where the actor may not see it."""
    package = packages.find(connection, user, name, actor.id)
    if package is None or not may(action, role_in(actor, package)):
        raise not_found(user, name)
    return package


def check_own(actor: Actor, user: str, action: str) -> int:
    """The actor's id; raises `NotLoggedIn` or `Forbidden` unless the namespace is the actor's.

    Whether a package is there makes no difference, so that a refusal tells nothing.
    """
    if actor.id is None:
        raise NotLoggedIn(f"{action} in {shown(user)} needs a token", hint="datapkg login")
    if not may(action, "owner" if actor.name == user else None):
        raise Forbidden(f"{action}: {shown(user)} is not yours; you are {actor.name!r}", hint=f"name it {actor.name}/…")
    return actor.id


def writable(connection: Connection, actor: Actor, user: str, name: str, action: str) -> Package:
    """The actor's own package; raises as `check_own` does, and `PackageNotFound`."""
    check_own(actor, user, action)
    package = packages.find(connection, user, name, actor.id)
    if package is None:
        raise not_found(user, name)
    return package


def not_found(user: str, name: str) -> PackageNotFound:
    """The one answer for what is not there and for what may not be seen."""
    return PackageNotFound(
        f"package {shown(f'{user}/{name}')} is not here, or you may not see it",
        hint="check the name with `datapkg search`; a private package needs `datapkg login`",
    )
