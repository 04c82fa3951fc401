"""Who may read a package, and how its owner changes that."""

from __future__ import annotations

from sqlalchemy import Connection

from datapkg.errors import Forbidden, NotFound
from datapkg.format import wire
from datapkg.format.names import shown
from registry_server.db import accounts, events, grants, packages
from registry_server.db.accounts import User
from registry_server.db.packages import Package
from registry_server.services import policy, publish
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry

PUBLIC = "public"


def access(registry: Registry, actor: Actor, user: str, name: str) -> wire.Access:
    """Who may read; the readers by name are shown to the owner and to each other only."""
    with registry.db.read() as connection:
        package = policy.readable(connection, actor, user, name)
        named = policy.may("package:readers", policy.role_in(actor, package))
        return _access(connection, package, named=named)


def grant(registry: Registry, actor: Actor, user: str, name: str, who: str, *, confirmed: bool) -> wire.Access:
    """Lets a user, or `public`, read the package."""
    with registry.db.write() as connection:
        package = policy.writable(connection, actor, user, name, "package:share")
        if who == PUBLIC:
            if not package.public:
                package = publish.make_public(connection, registry, actor, package, confirmed=confirmed)
        elif who != package.user:
            reader = _user(connection, who)
            grants.add(connection, package.id, reader.id)
            events.add(connection, "package:grant", user, package.full_name, registry.now(), who=who)
        return _access(connection, package)


def revoke(registry: Registry, actor: Actor, user: str, name: str, who: str) -> wire.Access:
    """Takes the right to read from a user, or from `public`; one who has none is no error."""
    with registry.db.write() as connection:
        package = policy.writable(connection, actor, user, name, "package:share")
        if who == package.user:
            raise Forbidden(f"{who} owns {package.full_name}, and always may read it")
        if who == PUBLIC:
            packages.set_public(connection, package.id, False)
            changed = package.public
        else:
            changed = grants.remove(connection, package.id, _user(connection, who).id)
        if changed:
            events.add(connection, "package:revoke", user, package.full_name, registry.now(), who=who)
        return _access(connection, policy.writable(connection, actor, user, name, "package:share"))


def _user(connection: Connection, name: str) -> User:
    user = accounts.user_named(connection, name)
    if user is None:
        raise NotFound(f"there is no user {shown(name)}")
    return user


def _access(connection: Connection, package: Package, named: bool = True) -> wire.Access:
    readers = grants.readers_of(connection, package.id) if named else []
    return wire.Access(public=package.public, owner=package.user, readers=readers)
