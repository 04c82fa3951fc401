"""Who may do what: a table of actions and roles; an action that is not in it is refused to everybody."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from datapkg.errors import Forbidden, InvalidName, NotLoggedIn, PackageNotFound
from datapkg.format.names import check_package, check_user
from datapkg.format.texts import quoted
from registry_server.db import events, packages
from registry_server.db.packages import PackageRow
from registry_server.services.registry import Registry

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
    "package:cache": WRITERS,
    "package:tag": WRITERS,
    "package:version": WRITERS,
    "package:yank": WRITERS,
    "package:share": OWNER,
    "package:delete": OWNER,
    "user:add": OPERATOR,
    "user:list": OPERATOR,
    "user:token": OPERATOR,
    "registry:sweep": OPERATOR,
    "registry:check": OPERATOR,
    "registry:export": OPERATOR,
    "registry:import": OPERATOR,
}
_VERBS = {
    "package:publish": "push to",
    "package:cache": "fill the run cache of",
    "package:tag": "tag",
    "package:version": "version",
    "package:yank": "yank versions of",
    "package:share": "change who may use",
    "package:delete": "delete",
}


@dataclass(frozen=True)
class Actor:
    """Who makes a request: a user, an anonymous reader, or the operator (from the registry's own command line)."""

    id: int | None = None
    name: str | None = None
    operator: bool = False


ANONYMOUS = Actor()
THE_OPERATOR = Actor(operator=True)


@dataclass(frozen=True)
class PackageRequest:
    """A request about the package `user/name`, which need not exist: services take it, so none is without an actor."""

    registry: Registry
    actor: Actor
    user: str
    name: str

    @property
    def full_name(self) -> str:
        """The name as `user/name`."""
        return f"{self.user}/{self.name}"

    def find(self, connection: Connection) -> PackageRow | None:
        """Return the package, or None where it does not exist or the actor may not see it."""
        return packages.find(connection, self.user, self.name, self.actor.id)

    def record(self, connection: Connection, action: str, **detail: Any) -> None:
        """Add a line to the audit, in the transaction of the change."""
        events.add(connection, action, self.actor.name or "", self.full_name, self.registry.now(), **detail)


@dataclass(frozen=True)
class PushRequest(PackageRequest):
    """A request within a push to the package; `push_id` may be unknown or somebody else's."""

    push_id: str


def may(action: str, role: Role | None) -> bool:
    """Return whether the table allows this action to this role."""
    return role in ACTIONS.get(action, ())


def role_in(actor: Actor, package: PackageRow) -> Role | None:
    """Return the role of the actor in a package, or None without one."""
    if actor.name == package.user:
        return "owner"
    if package.granted:
        return "writer" if package.writable else "reader"
    return "public" if package.public else None


def check_operator(actor: Actor, action: str) -> None:
    """Raise `Forbidden` unless the actor is the operator of the registry and the action is the operator's."""
    if not may(action, "operator" if actor.operator else None):
        raise Forbidden("only the administrator of this registry may do this")


def readable(connection: Connection, request: PackageRequest) -> PackageRow:
    """Return the package; raise the same `PackageNotFound` whether it does not exist or the actor may not see it."""
    package = request.find(connection)
    if package is None or not may("package:read", role_in(request.actor, package)):
        raise not_found(request)
    return package


def check_writer(connection: Connection, request: PackageRequest, action: str) -> int:
    """Return the actor's id; raise `NotLoggedIn` or `Forbidden` unless the actor may do this to the package.

    In the actor's own namespace the package need not exist. In another one, a missing package is refused like one that
    the actor may not write, so that a refusal does not reveal which private packages exist.
    """
    actor = request.actor
    if actor.id is None:
        raise NotLoggedIn(
            f"to {_VERBS.get(action, 'change')} a package of {quoted(request.user)} you need a token",
            hint="datapkg login",
        )
    role: Role | None = "owner" if actor.name == request.user else None
    if role is None and (package := request.find(connection)) is not None:
        role = role_in(actor, package)
    if not may(action, role):
        raise _forbidden(request, action)
    return actor.id


def _forbidden(request: PackageRequest, action: str) -> Forbidden:
    actor = request.actor.name
    hint = f"ask {quoted(request.user)}"
    if action == "package:publish":
        with contextlib.suppress(InvalidName):
            hint = f"datapkg cp {check_user(request.user)}/{check_package(request.name)} {actor}/{request.name}"
    package = quoted(request.full_name)
    return Forbidden(f"{package} is not yours, and you ({actor}) may not {_VERBS.get(action, 'change')} it", hint=hint)


def writable(connection: Connection, request: PackageRequest, action: str) -> PackageRow:
    """Return the package, which the actor may do this to; raise as `check_writer` does, or `PackageNotFound`."""
    check_writer(connection, request, action)
    package = request.find(connection)
    if package is None:
        raise not_found(request)
    return package


def not_found(request: PackageRequest) -> PackageNotFound:
    """Return the error for a package that does not exist or that the actor may not see."""
    package = request.full_name
    return PackageNotFound(
        f"package {quoted(package)} not found, or you lack access",
        hint="check the name with `datapkg search`; a private package needs `datapkg login`",
        package=package,
    )
