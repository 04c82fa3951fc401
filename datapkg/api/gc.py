"""Free space on this machine: objects that nothing needs, leftovers, and older states as the user asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from datapkg.api.results import FreedState, GcResult
from datapkg.errors import InvalidInput
from datapkg.home import Home
from datapkg.store import gc
from datapkg.store.gc import Policy


@dataclass(frozen=True)
class RegistryGcResult:
    """The files of a registry that were deleted, those that wait in its trash, and how many came back out of it."""

    registry: str
    files: int
    bytes_freed: int
    files_waiting: int
    bytes_waiting: int
    restored: int
    dry_run: bool = False


def free_space(home: Home, policy: Policy, *, dry_run: bool = False) -> GcResult:
    """Delete what nothing needs, and the older states that the policy gives up; return what was (or would be) deleted.

    Raise `CorruptObject`, before anything is deleted, if a pointer or manifest cannot be read.
    """
    if dry_run:
        planned = gc.plan(home.store, policy)
        return _result(planned, bytes_compacted=planned.compacted_bytes, dry_run=True)
    plan, done = gc.collect(home.store, policy)
    until = datetime.fromtimestamp(done.until, UTC).isoformat(timespec="seconds") if done.until else None
    more = {"bytes_compacted": done.compacted_bytes, "bytes_left": done.left_bytes, "frees_at": until}
    return _result(plan, bytes_freed=done.size_bytes, **more)


def _result(plan: gc.Plan, *, bytes_freed: int | None = None, **more: int | str | bool | None) -> GcResult:
    states = [
        FreedState(
            each.packages[0],
            each.hash,
            datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds") if each.at else None,
            each.is_pushed,
        )
        for each in plan.states
    ]
    return GcResult(
        states,
        len(plan.garbage.hashes),
        plan.size_bytes if bytes_freed is None else bytes_freed,
        plan.store_bytes,
        sum(plan.leftovers.values()),
        plan.recent_bytes,
        **more,  # type: ignore[arg-type]
    )


def free_registry(home: Home, registry: str, *, now: bool = False, dry_run: bool = False) -> RegistryGcResult:
    """Delete what no state in a registry without a server needs; return what was (or would be) deleted.

    What nothing needs moves to the trash after a day, and is deleted a day later; with `now`, at once: nobody may push
    meanwhile. Raise `InvalidInput` for a server, and, before anything is removed, `IntegrityError` or `CorruptObject`
    for a log or a state that is damaged.
    """
    from datapkg.remote.static.client import StaticClient
    from datapkg.remote.static.collection import GRACE, collect

    client = home.client(registry)
    if not isinstance(client, StaticClient):
        raise InvalidInput(f"{client.url} is a server, which frees space itself", hint="datapkg-registry sweep")
    grace = timedelta() if now else GRACE
    done = collect(client, datetime.now(UTC), grace=grace, dry_run=dry_run)
    deleted, waiting = (sum(each.size for each in some) for some in (done.deleted, done.waiting))
    return RegistryGcResult(
        client.url, len(done.deleted), deleted, len(done.waiting), waiting, len(done.restored), dry_run
    )
