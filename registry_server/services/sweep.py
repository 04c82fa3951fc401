"""What time makes useless, removed."""

from __future__ import annotations

from datapkg.objects.files import sweep_temp
from registry_server.db import pushes
from registry_server.services import policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry


def sweep(registry: Registry, actor: Actor) -> int:
    """Forgets the pushes whose time is over, and removes what killed uploads left; gives how many pushes there were."""
    policy.check_operator(actor, "registry:sweep")
    sweep_temp(registry.settings.temporary, registry.settings.push_age_s)
    with registry.db.write() as connection:
        return pushes.remove_older(connection, registry.now())
