"""The objects of a store, with their sizes on the disk, and what each package has of them."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from datapkg.errors import DatapkgError
from datapkg.format.object_sets import Numbered, within
from datapkg.format.object_sizes import SizesCollector
from datapkg.store.roots import Needs, all_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.store.roots import CollectableStore


@dataclass
class Inventory:
    """The objects that are here, with the bytes that each takes, and those that are here more than once."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)


def inventory_of(store: CollectableStore) -> Inventory:
    """Return what is here."""
    packed, found = store.objects.packed, SizesCollector()
    for hash, status in _files_of_their_own(store):
        found.add([hash], [status.st_size])
    for pack in packed.packs():
        found.add_digests((digest for digest, _ in pack.sizes()), (size for _, size in pack.sizes()))
    return Inventory(*found.with_repeated())


def changed_since(store: CollectableStore, limit: float) -> Iterator[str]:
    """Yield the objects of files that were made or last counted on after a time, in seconds since 1970.

    That is when a file last changed, not when it was read.
    """
    for hash, status in _files_of_their_own(store):
        if status.st_ctime >= limit:
            yield hash
    for pack in store.objects.packed.packs():
        with contextlib.suppress(FileNotFoundError):
            if os.stat(pack.path).st_ctime >= limit:
                yield from map(bytes.hex, pack.hashes())


def _files_of_their_own(store: CollectableStore) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the objects that are not in packs, whole or as recipes."""
    packed = store.objects.packed
    for home in (packed.loose, packed.recipes):
        for hash in home:
            with contextlib.suppress(FileNotFoundError):
                yield hash, os.stat(home.path(hash))


@dataclass(frozen=True)
class PackageUsage:
    """How many states of a package are here, their bytes if each were kept alone, and those that only it needs."""

    package: str
    states: int
    bytes_logical: int
    bytes_unique: int


@dataclass(frozen=True)
class Usage:
    """What each package takes, and the bytes of all objects: in all, needed by several packages, needed by none."""

    packages: list[PackageUsage]
    bytes_stored: int
    bytes_shared: int
    bytes_unneeded: int


_NOBODY, _SEVERAL, _FIRST = 0, 1, 2


def usage_of(store: CollectableStore) -> Usage:
    """Return what the packages of a store take on the disk; a state whose manifest cannot be read counts nothing.

    Raise `CorruptObject` if a pointer or log cannot be read.
    """
    sizes, needs = inventory_of(store).sizes, Needs(store)
    owners, numbers = array("I", bytes(4 * len(sizes))), Numbered(sizes)
    owner_of: dict[str, int] = {}
    counts, logical, unique = Counter[str](), Counter[str](), Counter[int]()
    for state in all_states(store).values():
        with contextlib.suppress(DatapkgError):
            needed = needs.of(state)
            here = sum(within(needed, sizes).values())
            for package in state.packages:
                counts[package] += 1
                logical[package] += here
                owner_of.setdefault(package, _FIRST + len(owner_of))
            owner = owner_of[state.packages[0]] if len(state.packages) == 1 else _SEVERAL
            for at in numbers.of(needed):
                owners[at] = owner if owners[at] in (_NOBODY, owner) else _SEVERAL
    for owner, size in zip(owners, sizes.values(), strict=True):
        unique[owner] += size
    packages = [PackageUsage(name, counts[name], logical[name], unique[owner_of[name]]) for name in sorted(counts)]
    return Usage(packages, sum(sizes.values()), unique[_SEVERAL], unique[_NOBODY])
