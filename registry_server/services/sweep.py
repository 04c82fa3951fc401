"""What time makes useless, removed."""

from __future__ import annotations

from registry_server.db import pushes
from registry_server.services import policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry


def sweep(registry: Registry, actor: Actor) -> int:
    """Forgets the pushes whose time is over; gives how many there were."""
    policy.check_operator(actor, "registry:sweep")
    with registry.db.write() as connection:
        return pushes.remove_older(connection, registry.now())
