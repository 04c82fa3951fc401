"""Free space on this machine: objects that nothing needs, leftovers, and older states as the user asks."""

from __future__ import annotations

from datetime import UTC, datetime

from datapkg.api.results import FreedState, GcResult
from datapkg.home import Home
from datapkg.store import gc
from datapkg.store.gc import Policy


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
