"""Who may do what: one table, and what is not in it is refused."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from datapkg.errors import Forbidden, InvalidName, NotLoggedIn, PackageNotFound
from datapkg.format.names import check_package, check_user
from datapkg.format.texts import quoted
from registry_server.db import packages
from registry_server.db.packages import PackageRow

Role = Literal["owner", "writer", "reader", "public", "operator"]

OWNER: frozenset[Role] = frozenset({"owner"})
WRITERS: frozenset[Role] = frozenset({"owner", "writer"})
READERS: frozenset[Role] = frozenset({"owner", "writer", "reader"})
ANYBODY: frozenset[Role] = frozenset({"owner", "writer", "reader", "public"})
OPERATOR: frozenset[Role] = frozenset({"operator"})

ACTIONS: dict[str, frozenset[Role]] = {
    "package:read": ANYBODY,
    "package:readers": READERS,
    "package:publish": WRITERS,
    "package:tag": WRITERS,
    "package:version": WRITERS,
    "package:share": OWNER,
    "package:delete": OWNER,
    "user:add": OPERATOR,
    "user:list": OPERATOR,
    "user:token": OPERATOR,
    "registry:sweep": OPERATOR,
    "registry:verify": OPERATOR,
}
_VERBS = {
    "package:publish": "push to",
    "package:tag": "tag",
    "package:version": "version",
    "package:share": "change who may use",
    "package:delete": "delete",
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


def role_in(actor: Actor, package: PackageRow) -> Role | None:
    """What the actor is to a package, or None for nothing."""
    if actor.name == package.user:
        return "owner"
    if package.granted:
        return "writer" if package.writable else "reader"
    return "public" if package.public else None


def check_operator(actor: Actor, action: str) -> None:
    """Raises `Forbidden` unless whoever runs the registry asks."""
    if not may(action, "operator" if actor.operator else None):
        raise Forbidden(f"{action} is for who runs the registry")


def readable(connection: Connection, actor: Actor, user: str, name: str, action: str = "package:read") -> PackageRow:
    """The package; raises the same `PackageNotFound` where it is not and where the actor may not see it."""
    package = packages.find(connection, user, name, actor.id)
    if package is None or not may(action, role_in(actor, package)):
        raise not_found(user, name)
    return package


def check_writer(connection: Connection, actor: Actor, user: str, name: str, action: str) -> int:
    """Return the actor's id; raise `NotLoggedIn` or `Forbidden` unless the actor may do this to the package.

    In a namespace of one's own the package need not be there. In another one, a package that is not there is refused as
    one that the actor may not write, so that a refusal tells nothing.
    """
    if actor.id is None:
        raise NotLoggedIn(
            f"to {_VERBS.get(action, action)} a package of {quoted(user)} you need a token", hint="datapkg login"
        )
    role: Role | None = "owner" if actor.name == user else None
    if role is None and (package := packages.find(connection, user, name, actor.id)) is not None:
        role = role_in(actor, package)
    if not may(action, role):
        raise _forbidden(actor, user, name, action)
    return actor.id


def _forbidden(actor: Actor, user: str, name: str, action: str) -> Forbidden:
    hint = f"ask {quoted(user)}"
    if action == "package:publish":
        with contextlib.suppress(InvalidName):
            hint = f"datapkg cp {check_user(user)}/{check_package(name)} {actor.name}/{name}"
    package = quoted(f"{user}/{name}")
    return Forbidden(
        f"{package} is not yours, and you ({actor.name}) may not {_VERBS.get(action, action)} it", hint=hint
    )


def writable(connection: Connection, actor: Actor, user: str, name: str, action: str) -> PackageRow:
    """The package, which the actor may do this to; raises as `check_writer` does, and `PackageNotFound`."""
    check_writer(connection, actor, user, name, action)
    package = packages.find(connection, user, name, actor.id)
    if package is None:
        raise not_found(user, name)
    return package


def not_found(user: str, name: str) -> PackageNotFound:
    """The one answer for what is not there and for what may not be seen."""
    package = f"{user}/{name}"
    return PackageNotFound(
        f"package {quoted(package)} not found, or you lack access",
        hint="check the name with `datapkg search`; a private package needs `datapkg login`",
        package=package,
    )
