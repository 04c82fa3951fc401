"""Free space on this machine: objects that nothing needs, leftovers, and older states as the user asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote

from datapkg.api.results import FreedState, GcResult
from datapkg.errors import InvalidInput, Refused
from datapkg.home import Home
from datapkg.objects.files import is_shared
from datapkg.store import gc
from datapkg.store.deletion import DeletionResult
from datapkg.store.gc import Policy
from datapkg.store.store import Store


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
    # After the states are gone: until then, shared stores keep their objects for this user.
    home.store.forget_uses()
    return _done(plan, done)


def free_shared(home: Home, folder: Path, policy: Policy, *, dry_run: bool = False) -> GcResult:
    """Delete from a shared store what no user of it needs, and the states that the policy gives up.

    A state is needed by whoever has installed it and not removed it since; its age is that of the last install or fetch
    of any user. Everything in a shared store was downloaded, so what is deleted can be fetched again. Raise
    `InvalidInput` if it is not a shared store, `Refused` if this user may not write it.
    """
    if policy.keep is not None:
        raise InvalidInput("a shared store has no packages of which `keep` could count the states")
    folder = Path(folder).expanduser().absolute()
    if not (is_shared(folder) and (folder / "format").exists()):
        raise InvalidInput(f"{folder} is not a shared store", hint=f"datapkg cache share {quote(str(folder))}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"you may not delete in the shared store {folder}", hint=f"ls -ld {quote(str(folder))}")
    store = Store(folder, home.index, folder / "links")
    if dry_run:
        return _result(gc.plan(store, policy), dry_run=True)
    return _done(*gc.collect(store, policy))


def _done(plan: gc.Plan, done: DeletionResult) -> GcResult:
    until = datetime.fromtimestamp(done.until, UTC).isoformat(timespec="seconds") if done.until else None
    more = {"bytes_compacted": done.compacted_bytes, "bytes_left": done.left_bytes, "frees_at": until}
    return _result(plan, bytes_freed=done.size_bytes, **more)


def _result(plan: gc.Plan, *, bytes_freed: int | None = None, **more: int | str | bool | None) -> GcResult:
    states = [
        FreedState(
            each.packages[0] if each.packages else "",
            each.hash,
            datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds") if each.at else None,
            each.is_pushed,
        )
        for each in plan.states
    ]
    return GcResult(
        states,
        len(plan.garbage),
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
