"""The rights to read and write a package, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.services import sharing
from registry_server.web.dependencies import ThePackage
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["access"])


@router.get(wire.ACCESS)
def access(package: ThePackage) -> Reply[wire.Access]:
    """Return who may read and write a package."""
    return sharing.access(package)


@router.put(wire.GRANT)
def grant(
    package: ThePackage,
    who: str,
    request: Sent[wire.GrantRequest | None] = None,
) -> Reply[wire.Access]:
    """Let a user, or `public`, read a package, or let a user write it; `public` has to be confirmed."""
    request = request or wire.GrantRequest()
    return sharing.grant(package, who, confirmed=request.confirm, write=request.write)


@router.delete(wire.GRANT)
def revoke(package: ThePackage, who: str) -> Reply[wire.Access]:
    """Revoke these rights."""
    return sharing.revoke(package, who)
