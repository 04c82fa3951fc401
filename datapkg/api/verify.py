"""Verify: hash stored data again, and fetch what is damaged from the registries that have it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from datapkg.api.results import DamagedObject, VerifyResult
from datapkg.errors import DatapkgError, InvalidInput, PackageNotInstalled
from datapkg.format.manifest.claim_key import claim_key
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref, State
from datapkg.format.object_sets import merged, without
from datapkg.format.object_sizes import lacking
from datapkg.home import Home
from datapkg.objects.progress import VERIFYING_VALUES, PartCounter, Progress, silent
from datapkg.origins import objects_of, origin_of, registry_of
from datapkg.resolve import find_installed
from datapkg.store.compaction import sources_of
from datapkg.store.inventory import inventory_of
from datapkg.store.maintenance import check, mend_pointers
from datapkg.store.roots import all_states
from datapkg.store.store import Store

_State = tuple[str, str, bool]
"""Package and hash of a state, and whether all its objects must be here: not in a partial install, or an older one."""


class _Use(NamedTuple):
    """Where an object is used."""

    package: str
    state: str
    path: str = ""


@dataclass
class _Used:
    """The objects of states: those that must be here, others of packages, and those of states of no package."""

    needed: Mapping[str, int] = field(default_factory=dict)
    named: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)

    def add(self, state: _State, objects: Mapping[str, int]) -> None:
        """Add the objects of a state."""
        if state[2]:
            self.needed = merged(self.needed, objects)
        elif state[0]:
            self.named = merged(self.named, objects)
        else:
            self.others = merged(self.others, objects)

    @property
    def all(self) -> Mapping[str, int]:
        """Return all of them."""
        return merged(merged(self.needed, self.named), self.others)

    def __contains__(self, hash: object) -> bool:
        return hash in self.needed or hash in self.named or hash in self.others


def verify(
    home: Home,
    ref: Ref | None = None,
    progress: Progress = silent,
    *,
    content: bool = False,
    repair: bool = False,
) -> VerifyResult:
    """Verify the hash of every object of one package or of all; move corrupt ones to quarantine and return them.

    Small files of packages are checked too; a corrupt pointer is moved away and restored from the package's log. With
    `content`, all tables that are here are read too: one whose values differ from its manifest is listed as damaged,
    and is not moved. An object is damaged while it is corrupt or missing; `install` or `build` restores it, and
    `repair` fetches what its registry has.
    """
    own = home.store
    # First, since the pointers tell what is to be verified.
    set_aside = mend_pointers(own, [ref] if ref else own.refs.folders())
    store = find_installed(home, ref).store if ref else own
    states = _states(home, store, ref)
    used = _used(store, ref, states)
    wrong = check(store, used.all if ref else None, progress) | _check_shared(home, store, used.all, progress)
    repaired: set[str] = set()
    if repair:
        # Manifests first: they tell which package a damaged object belongs to.
        repaired = _repair_manifests(home, states, wrong | store.objects.quarantined())
        used = _used(store, ref, states)  # again, since the repaired manifests name objects that were unknown
        uses = _uses(store, ref, states, _damaged(store, used, wrong))
        repaired |= _repair_objects(home, uses, progress)
    bad = _damaged(store, used, wrong) - repaired
    if bad - wrong:
        bad = (bad & wrong) | (bad & _still_damaged(home, store, ref) - repaired)
    absent = without(lacking(used.all, store.objects.absent), wrong)
    uses = _uses(store, ref, states, bad)
    damaged = [DamagedObject(hash, (use := uses.get(hash, _Use("", ""))).package, use.path) for hash in bad]
    false, tables = _false_tables(store, ref, states, progress) if content else ([], 0)
    damaged = sorted(damaged + false, key=lambda each: (each.package, each.path, each.hash))
    checked = len(used.all) - len(absent) + (0 if ref else _count_others(store, used.all))
    return VerifyResult(checked, damaged, len(without(absent, bad)), set_aside, tables, len(repaired))


def _count_others(store: Store, used: Mapping[str, int]) -> int:
    """Return how many objects are here that no state uses."""
    others = without(inventory_of(store).sizes, used)
    return len(others) - len(lacking(others, store.objects.absent))


def verify_registry(home: Home, registry: str, ref: Ref | None = None, progress: Progress = silent) -> VerifyResult:
    """Verify the log and every object of one package, or of all, in a registry without a server.

    A damaged log has an entry without a hash. Raise `InvalidInput` for a server, which verifies itself.
    """
    from datapkg.remote.static import verification
    from datapkg.remote.static.client import StaticClient

    client = home.client(registry)
    if not isinstance(client, StaticClient):
        raise InvalidInput(
            f"{client.url} is a server, which verifies what it has itself",
            hint="its administrator types: datapkg-registry check",
        )
    refs = [ref] if ref else verification.packages_of(client)
    found = verification.verify_registry(client, refs, progress)
    return VerifyResult(len(found.checked), [DamagedObject(*each) for each in found.damaged])


def _check_shared(home: Home, store: Store, used: Mapping[str, int], progress: Progress) -> set[str]:
    """Verify the objects that are read from other stores; return the corrupt ones."""
    wrong, left = set[str](), lacking(used, store.objects.packed.missing)
    for other in home.stores if left else ():
        with contextlib.suppress(OSError):  # it has gone, or may not be read
            there = without(left, lacking(left, other.objects.packed.missing))
            wrong |= check(other, there, progress) if there else set()
            left = without(left, there)
    return wrong


def _damaged(store: Store, used: _Used, wrong: set[str]) -> set[str]:
    """Return what is corrupt, what is in quarantine and not replaced, and what is missing though it is needed.

    Objects of a package's older states that are recipes are needed, and what they are ranges of: `gc` keeps both.
    """
    recipes = {hash for hash in store.objects.packed.recipes if hash in used.needed or hash in used.named}
    needed = recipes | {hash for hash in sources_of(store, recipes) if hash in used}
    absent = store.objects.absent(needed) | lacking(used.needed, store.objects.absent).keys()
    return wrong | absent | {hash for hash in store.objects.quarantined() if hash in used}


def _still_damaged(home: Home, store: Store, ref: Ref | None) -> set[str]:
    """Return what is missing or in quarantine by a second look.

    Another process may have removed a package since the first look, and the objects that only it needed.
    """
    try:
        used = _used(store, ref, _states(home, store, ref))
    except PackageNotInstalled:
        return set()
    return _damaged(store, used, set())


def _states(home: Home, store: Store, ref: Ref | None) -> list[_State]:
    """Return every state that a root names."""
    if ref is not None:
        found = find_installed(home, ref)
        current = store.refs.current(ref)
        return [(ref.package, found.hash, current is not None and current.hash == found.hash and not current.partial)]
    whole = {
        current.hash for each in store.refs.folders() if (current := store.refs.current(each)) and not current.partial
    }
    states = [((*each.packages, "")[0], each.hash, each.hash in whole) for each in all_states(store).values()]
    absent = store.objects.absent(hash for _, hash, _ in states)
    return [each for each in states if each[2] or each[1] not in absent or each[1] in store.objects.quarantined()]


def _used(store: Store, ref: Ref | None, states: Iterable[_State]) -> _Used:
    """Return the objects of these states, and of records."""
    used = _Used()
    for each in states:
        used.add(each, {each[1]: 0})
        with contextlib.suppress(DatapkgError):  # of a corrupt manifest, which is listed itself
            used.add(each, store.manifest(each[1]).objects(ref.path if ref else ""))
    for package, hash in _records(store, ref):
        used.add((package, "", False), {hash: 0})
    return used


def _records(store: Store, ref: Ref | None) -> Iterator[tuple[str, str]]:
    for each in store.refs.folders() if ref is None else ():
        for hash in store.refs.record_objects(each):
            yield each.package, hash


def _uses(store: Store, ref: Ref | None, states: Iterable[_State], hashes: set[str]) -> dict[str, _Use]:
    """Return where these objects are used, by hash; where one must be here counts first."""
    found: dict[str, _Use] = {}
    for package, state, _ in sorted(states, key=lambda each: not each[2]) if hashes else ():
        if state in hashes:
            found.setdefault(state, _Use(package, state))
        with contextlib.suppress(DatapkgError):
            for node in store.manifest(state).entries(ref.path if ref else ""):
                for hash, _ in node.objects():
                    if hash in hashes:
                        found.setdefault(hash, _Use(package, state, node.path))
    for package, hash in _records(store, ref) if hashes else ():
        if hash in hashes:
            found.setdefault(hash, _Use(package, ""))
    return found


def _repair_manifests(home: Home, states: Iterable[_State], wrong: set[str]) -> set[str]:
    """Fetch the corrupt manifests of states from their registries; return the hashes of those that are right again."""
    from datapkg.format.manifest.patch import read_manifest

    repaired = set()
    for exact in (_exact(package, state) for package, state, _ in states if package and state in wrong):
        assert exact.state
        with contextlib.suppress(DatapkgError):  # it stays damaged, and is reported
            client = home.client(registry_of(home, exact))
            home.store.save(read_manifest(client.manifest(exact, exact.state.value), exact.state.value))
            repaired.add(exact.state.value)
    return repaired


def _repair_objects(home: Home, damaged: dict[str, _Use], progress: Progress) -> set[str]:
    """Fetch damaged objects from the registries of their states; return the hashes of those that are right again."""
    by_state: dict[tuple[str, str], set[str]] = defaultdict(set)
    for hash, use in damaged.items():
        by_state[use.package, use.state].add(hash)
    repaired = set()
    for (package, state), hashes in by_state.items():
        if package and state:
            exact = _exact(package, state)
            with contextlib.suppress(DatapkgError), home.store.writing():
                sizes = {hash: size for hash, size in home.store.manifest(state).objects().items() if hash in hashes}
                origin = origin_of(home, exact, state) or str(exact)
                home.store.through(partial(objects_of, home, exact), origin).bring(sizes, progress)
            repaired |= hashes - home.store.objects.missing(hashes)
    return repaired


def _exact(package: str, state: str) -> Ref:
    return Ref.parse(package).at(State("hash", state))


def _false_tables(
    store: Store, ref: Ref | None, states: Iterable[_State], progress: Progress
) -> tuple[list[DamagedObject], int]:
    """Return the tables that differ from their manifests, and the number of tables that were read."""
    wanted: dict[str, tuple[str, TableNode]] = {}
    for package, node in _tables(store, ref, states):
        key = claim_key(node)
        if key not in wanted and not store.objects.missing(hash for hash, _ in node.objects()):
            wanted[key] = package, node
    counter = PartCounter(progress, [node.size for _, node in wanted.values()], (VERIFYING_VALUES, VERIFYING_VALUES))
    found = []
    for number, (package, node) in enumerate(wanted.values()):
        if problem := store.claims.problem(node, store.objects, again=True, share=counter.share(number)):
            found.append(DamagedObject(node.blocks[0].hash, package, node.path, problem))
        counter.share(number)(1)
    return found, len(wanted)


def _tables(store: Store, ref: Ref | None, states: Iterable[_State]) -> Iterator[tuple[str, TableNode]]:
    for package, hash, _ in states:
        with contextlib.suppress(DatapkgError):
            nodes = store.manifest(hash).entries(ref.path if ref else "")
            yield from ((package, node) for node in nodes if isinstance(node, TableNode))
