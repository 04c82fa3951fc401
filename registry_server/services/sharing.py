"""The rights to read and write a package, and how its owner changes them."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from datapkg.errors import Forbidden, InvalidInput, QuotaExceeded
from datapkg.format import wire
from datapkg.format.names import check_user
from registry_server.db import grants, packages
from registry_server.db.packages import PackageRow
from registry_server.services import policy
from registry_server.services.policy import PackageRequest

PUBLIC = "public"
MAX_READERS = 10_000


def access(request: PackageRequest) -> wire.Access:
    """Return who may read; only the owner and named readers see the names."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        named = policy.may("package:readers", policy.role_in(request.actor, package))
        return _access(connection, package, named=named)


def grant(request: PackageRequest, who: str, *, confirmed: bool, write: bool = False) -> wire.Access:
    """Let a user, or `public`, read the package, and with `write` let a user push, tag and version it.

    A name that no user has is accepted as well, with the same response: nobody learns which users exist. A grant to
    read does not take away the right to write.
    """
    if write and who == PUBLIC:
        raise InvalidInput("only users can be allowed to write, not the public")
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:share")
        if who == PUBLIC:
            if not package.public:
                package = make_public(connection, request, package, confirmed=confirmed)
        elif who != package.user:
            check_user(who)
            if grants.add(connection, package.id, who, write=write):
                _check_count(connection, package)
                request.record(connection, "package:grant", who=who, **({"write": True} if write else {}))
        return _access(connection, package)


def revoke(request: PackageRequest, who: str) -> wire.Access:
    """Take the rights to read and write from a user, or from `public`; without such a right nothing happens."""
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:share")
        if who == package.user:
            raise Forbidden(f"{who} owns {package.full_name} and can always read it")
        if who == PUBLIC:
            packages.set_public(connection, package.id, False)
            changed = package.public
        else:
            check_user(who)
            changed = grants.remove(connection, package.id, who)
        if changed:
            request.record(connection, "package:revoke", who=who)
        # Read again, since `public` may have changed.
        return _access(connection, policy.writable(connection, request, "package:share"))


def check_confirmed(package: PackageRow, confirmed: bool) -> None:
    """Raise `Forbidden` unless it is confirmed that everybody may read what was pushed while it was private."""
    if not confirmed:
        raise Forbidden(
            f"{package.full_name} is private; making it public shows all its earlier pushes to everybody",
            hint="confirm with --yes",
            needs="confirm",
        )


def make_public(connection: Connection, request: PackageRequest, package: PackageRow, *, confirmed: bool) -> PackageRow:
    """Let everybody read the package; raise `Forbidden` unless it is confirmed that earlier pushes are meant too."""
    check_confirmed(package, confirmed)
    packages.set_public(connection, package.id, True)
    request.record(connection, "package:public", public=True)
    return replace(package, public=True)


def _check_count(connection: Connection, package: PackageRow) -> None:
    if len(grants.readers_of(connection, package.id)) > MAX_READERS:
        raise QuotaExceeded(f"{package.full_name} has {MAX_READERS:,} named readers, which is the limit")


def _access(connection: Connection, package: PackageRow, named: bool = True) -> wire.Access:
    writers = grants.writers_of(connection, package.id) if named else []
    readers = [each for each in grants.readers_of(connection, package.id) if each not in writers] if named else []
    return wire.Access(public=package.public, owner=package.user, readers=readers, writers=writers)
