"""Free space: delete what no root of a store needs (`roots`), safely beside processes at work (`deletion`).

There are two occasions. `free` follows a removed package and deletes what only its states needed. `collect` looks at
the whole store: objects that no state needs and that no process has counted on for a day (an interrupted install
continues with what has arrived), and older states, if the user asks for their space (`Policy`).

A package that is removed stays in the trash, with what its pointers name, until all its space is freed, so a run that
was killed, or that had to keep something, is continued by the next one.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from datapkg.errors import DatapkgError
from datapkg.format.object_sets import Numbered, merged, named, within, without
from datapkg.format.object_sizes import lacking
from datapkg.objects import pack_merging
from datapkg.objects.files import is_shared
from datapkg.store import leftovers, writer_lock
from datapkg.store.deletion import GRACE_S, DeletionResult, Garbage, delete
from datapkg.store.inventory import Inventory, changed_since, inventory_of
from datapkg.store.refs import Refs
from datapkg.store.roots import Live, Needs, StoredState, all_states, mark, sizes_of, states_of
from datapkg.store.small_files import names
from datapkg.store.trash import put_all_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.format.names import Ref
    from datapkg.store.roots import CollectableStore

# Longer than the longest interrupted build or install that somebody takes up again the same day.
UNUSED_S = 24 * 3600
__all__ = ["GRACE_S", "UNUSED_S", "Freed", "Plan", "Policy", "collect", "estimate", "free", "has_removed", "plan"]


@dataclass(frozen=True)
class Freed:
    """Bytes that were freed, that are kept because other states use them, and that are kept because of recent use.

    `until` is when the last of these can be freed, in seconds since 1970, and 0 if that is when a process ends;
    `problem` is the reason why nothing was freed.
    """

    size_bytes: int = 0
    shared_bytes: int = 0
    left_bytes: int = 0
    until: float = 0
    problem: str = ""


@dataclass(frozen=True)
class Policy:
    """Which older states may go. A pinned one never does, nor one of the `keep` newest of a package.

    Of the others, those go that were last built, installed or pushed here more than `older_than_s` seconds ago; then
    the oldest, until the store has at most `max_bytes`, but none that no registry has; without these two options all.
    With none of the three, no state goes. `now` asserts that no other process is at work, nor interrupted.
    """

    keep: int | None = None
    older_than_s: float | None = None
    max_bytes: int | None = None
    now: bool = False


@dataclass(frozen=True)
class Plan:
    """What a collection deletes: states, oldest first; objects; and files that belong to nothing, with their sizes.

    `store_bytes` is the size of all objects before; `recent_bytes` are those of objects, and of parts of objects,
    that no state needs and that stay because they are less than a day old. `compacted_bytes` would be freed by turning
    objects of older states into recipes; only `plan` counts them. `live` is what stays and why.
    """

    states: list[StoredState] = field(default_factory=list)
    garbage: Garbage = field(default_factory=Garbage)
    leftovers: dict[Path, int] = field(default_factory=dict)
    store_bytes: int = 0
    recent_bytes: int = 0
    compacted_bytes: int = 0
    live: Live = field(default_factory=Live)

    @property
    def size_bytes(self) -> int:
        """Return the bytes that are freed."""
        sizes = (self.garbage.objects, self.garbage.manifests, self.leftovers)
        return sum(sum(each.values()) for each in sizes) + self.compacted_bytes

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to delete."""
        return not (self.garbage or self.leftovers)


def estimate(store: CollectableStore, ref: Ref) -> Freed:
    """Return what removing a package would free if no other process were running."""
    try:
        states = all_states(store, without=ref.package)
        garbage, shared_bytes = _only_needed_by(store, states, states_of(store.refs, ref))
    except DatapkgError as error:
        return Freed(problem=error.message)
    sizes = inventory_of(store).sizes
    return Freed(sum(within(sizes, garbage.objects, garbage.manifests).values()), shared_bytes)


def free(store: CollectableStore, *, now: bool = False, wait: bool = True) -> Freed:
    """Free the space of all removed packages; `now` asserts that no other process is running.

    Only one run is active at a time: wait for another one, or without `wait` do nothing.
    """
    with writer_lock.exclusive(store.folder / "trash" / "lock", wait=wait) as is_held:
        if not is_held:
            return Freed()
        # What an earlier run moved and did not delete before it was killed is judged again, by the roots of
        # now.
        put_all_back(store.objects.packed)
        try:
            states = all_states(store)
            removed = _removed_states(store)
            going = _unnamed_of(states, removed)
            garbage, shared_bytes = _only_needed_by(store, states, removed)
        except DatapkgError as error:
            return Freed(problem=error.message)

        def stays(state: StoredState) -> bool:
            return state.hash not in going or state.is_named

        again = partial(_needed_again, store, garbage, _without(states, going), stays)
        done = delete(store, garbage, again, now=now, manifests_last=True)
        if done.is_all:
            done.size_bytes += leftovers.remove(leftovers.of_garbage(store, garbage))
            _forget_removed(store)
        return Freed(done.size_bytes, shared_bytes, done.left_bytes, done.until)


def merge_packs(store: CollectableStore) -> None:
    """Merge small packs (`objects.pack_merging`), unless another process is doing that or frees space.

    Whatever fails, such as a full disk, is left for the next time: nothing that was stored depends on it.
    """
    with (
        contextlib.suppress(OSError, DatapkgError),
        writer_lock.exclusive(store.folder / "trash" / "lock", wait=False) as is_held,
    ):
        if is_held:
            pack_merging.merge_packs(store.objects.packed)


def has_removed(store: CollectableStore) -> bool:
    """Return whether the space of a removed package may still have to be freed."""
    return bool(_removed_folders(store))


def plan(store: CollectableStore, policy: Policy) -> Plan:
    """Return what `collect` would delete now. Raise `CorruptObject` if it is not known what is needed.

    It compares the large objects of older states as `collect` does, which reads those that were not compared before.
    """
    states, inventory = all_states(store), inventory_of(store)
    found, going = _plan(store, policy, states, inventory)
    return replace(found, compacted_bytes=_compact(store, _without(states, going), found.live, dry_run=True))


def collect(store: CollectableStore, policy: Policy) -> tuple[Plan, DeletionResult]:
    """Delete what no root needs, and the older states that a policy gives up; return the plan and what was done.

    Only one run is active at a time. Raise `CorruptObject`, before anything is deleted, if it is not known what is
    needed.
    """
    with writer_lock.exclusive(store.folder / "trash" / "lock", wait=True):
        put_all_back(store.objects.packed)
        states = all_states(store)
        found, going = _plan(store, policy, states, inventory_of(store))

        def stays(state: StoredState) -> bool:
            before = going.get(state.hash)
            # A state that was pinned or used again since the plan was made stays.
            return before is None or state.is_pinned or state.at > before.at

        again = partial(_needed_again, store, found.garbage, _without(states, going), stays)
        done = delete(store, found.garbage, again, now=policy.now)
        done.size_bytes += leftovers.remove(found.leftovers)
        if done.is_all:
            _forget_removed(store)
        done.compacted_bytes = _compact(store, _without(states, going), found.live)
        done.size_bytes += done.compacted_bytes
        return found, done


def _plan(
    store: CollectableStore, policy: Policy, states: dict[str, StoredState], inventory: Inventory
) -> tuple[Plan, dict[str, StoredState]]:
    """Return the plan, and every state that it gives up, by hash."""
    limit = time.time() - (0 if policy.now else UNUSED_S)
    removed = _removed_states(store)
    going = _unnamed_of(states, removed)
    unnamed = {hash: each for hash, each in states.items() if not each.roots}
    used = {hash for hash in changed_since(store, limit) if hash in unnamed} if unnamed else set()
    going |= _without(unnamed, used)
    chosen = _chosen(store, _without(states, going), policy, inventory.sizes)
    going |= {each.hash: each for each in chosen}
    live = mark(store, _without(states, going).values())
    unneeded = without(inventory.sizes, live.whole, live.older)
    recent = unneeded
    for needed in _needed_by(store, (removed | going).values()) if unneeded else ():
        recent = without(recent, needed)
    recent = named(recent, changed_since(store, limit)) if recent else {}
    dead = without(unneeded, recent)
    manifests = {hash: dead[hash] for hash in states if hash in dead}
    garbage = Garbage(without(dead, manifests), manifests, without(inventory.copies, dead))
    recent_bytes = sum(recent.values()) + leftovers.arriving_bytes(store, live, limit)
    left, total = leftovers.all_of(store, live, limit), sum(inventory.sizes.values())
    return Plan(chosen, garbage, left, total, recent_bytes, live=live), going


def _compact(store: CollectableStore, states: dict[str, StoredState], live: Live, *, dry_run: bool = False) -> int:
    """Turn objects that only older states need into recipes; return the bytes that this frees.

    Not beside a process that writes: it may have just looked up where such an object is; in a shared store, that is
    never known.
    """
    from datapkg.store.compaction import compact

    if is_shared(store.folder) or writer_lock.busy_since(store.work_lock) is not None:
        return 0
    newest_first = sorted(states.values(), key=lambda each: -each.at)
    packages = dict.fromkeys(name for each in newest_first for name in each.packages) if live.older else {}
    return sum(
        compact(store, [each.hash for each in newest_first if name in each.packages], live.whole, dry_run=dry_run)
        for name in packages
    )


def _chosen(
    store: CollectableStore, states: dict[str, StoredState], policy: Policy, sizes: Mapping[str, int]
) -> list[StoredState]:
    """Return the states that a policy gives up, oldest first."""
    if (policy.keep, policy.older_than_s, policy.max_bytes) == (None, None, None):
        return []
    here = sorted((each for each in states.values() if each.hash in sizes), key=lambda each: each.at)
    newest = _newest(here, policy.keep or 0)
    movable = [each for each in here if each.roots and not each.is_pinned and each.hash not in newest]
    if policy.older_than_s is not None:
        limit = time.time() - policy.older_than_s
        chosen = [each for each in movable if each.at < limit]
    else:
        chosen = movable if policy.max_bytes is None else []
    if policy.max_bytes is not None:
        given_up = {each.hash for each in chosen}
        staying = [each for each in here if each.hash not in given_up]
        spare = [each for each in movable if each.is_pushed and each.hash not in given_up]
        chosen += _until_small(store, staying, spare, sizes, policy.max_bytes)
    return sorted(chosen, key=lambda each: each.at)


def _newest(states: list[StoredState], keep: int) -> set[str]:
    """Return the `keep` newest states of each package, of states in the order of their age."""
    counts: Counter[str] = Counter()
    newest = set()
    for state in reversed(states):
        for package in state.packages:
            counts[package] += 1
            if counts[package] <= keep:
                newest.add(state.hash)
    return newest


def _until_small(
    store: CollectableStore,
    states: list[StoredState],
    spare: list[StoredState],
    sizes: Mapping[str, int],
    max_bytes: int,
) -> list[StoredState]:
    """Return the first of the `spare` states without which the others need at most so many bytes."""
    mark(store, states)  # raises where it is not known what one of them needs
    numbers, bytes_of, uses = Numbered(sizes), array("Q", sizes.values()), array("I", bytes(4 * len(sizes)))
    for needed in _needed_by(store, states):
        for at in numbers.of(needed):
            uses[at] += 1
    total = sum(size for size, count in zip(bytes_of, uses, strict=True) if count)
    chosen = []
    for state, needed in zip(spare, _needed_by(store, spare), strict=True):
        if total <= max_bytes:
            break
        chosen.append(state)
        for at in numbers.of(needed):
            uses[at] -= 1
            total -= 0 if uses[at] else bytes_of[at]
    return chosen


def _needed_by(store: CollectableStore, states: Iterable[StoredState]) -> Iterator[Mapping[str, int]]:
    """Yield what each state needs; its records alone if its manifest is not here or cannot be read."""
    needs = Needs(store)
    for state in states:
        try:
            yield needs.of(state)
        except DatapkgError:
            yield sizes_of(store, state.records)


def _only_needed_by(
    store: CollectableStore, states: dict[str, StoredState], removed: dict[str, StoredState]
) -> tuple[Garbage, int]:
    """Return what only the removed states need, and the bytes of what others need too."""
    sizes: Mapping[str, int] = {}
    for needed in _needed_by(store, removed.values()):
        sizes = merged(sizes, needed)
    if not sizes:
        return Garbage(), 0
    going = _unnamed_of(states, removed)
    live = mark(store, _without(states, going).values())
    shared = within(sizes, live.whole, live.older)
    # What is not here takes no space, and need not be looked for in packs.
    shared = without(shared, lacking(shared, store.objects.packed.missing))
    dead = without(sizes, live.whole, live.older)
    manifests = {hash: dead[hash] for hash in going if hash in dead}
    return Garbage(without(dead, manifests), manifests, shared), sum(shared.values())


def _needed_again(
    store: CollectableStore, garbage: Garbage, before: dict[str, StoredState], stays: Callable[[StoredState], bool]
) -> Container[str]:
    """Return what states need that came since the first look; all garbage if one that was given up came back.

    It is all garbage too if it is not known what the new states need.
    """
    try:
        new = {hash: each for hash, each in all_states(store).items() if hash not in before and stays(each)}
        return garbage if new.keys() & garbage.manifests.keys() else mark(store, new.values())
    except DatapkgError:
        return garbage


def _without(states: dict[str, StoredState], going: Container[str]) -> dict[str, StoredState]:
    return {hash: each for hash, each in states.items() if hash not in going}


def _unnamed_of(states: dict[str, StoredState], removed: dict[str, StoredState]) -> dict[str, StoredState]:
    """Return the removed states that no other package names; a lock alone does not keep a removed one."""
    return {hash: each for hash, each in removed.items() if hash not in states or not states[hash].is_named}


def _removed_states(store: CollectableStore) -> dict[str, StoredState]:
    """Return the states of the removed packages, each as it was when it was removed."""
    found: dict[str, StoredState] = {}
    for folder in _removed_folders(store):
        refs = Refs(folder, store.folder / "trash")
        for ref in refs.folders():
            found |= states_of(refs, ref)
    return found


def _removed_folders(store: CollectableStore) -> list[Path]:
    return [store.refs.removed / name for name in names(store.refs.removed)]


def _forget_removed(store: CollectableStore) -> None:
    shutil.rmtree(store.refs.removed, ignore_errors=True)
