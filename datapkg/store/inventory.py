"""The objects of a store, with their sizes on the disk, and what each package has of them."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field

from datapkg.errors import DatapkgError
from datapkg.store.roots import Needs, all_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.store.roots import CollectableStore


@dataclass
class Inventory:
    """The objects that are here: size, time of the last change of their file, and those that are here twice."""

    sizes: dict[str, int] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    copies: set[str] = field(default_factory=set)

    def add(self, hash: str, size: int, changed: float) -> None:
        """Count a file or a part of a pack that has this object."""
        if hash in self.sizes:
            self.copies.add(hash)
        self.sizes[hash] = size
        self.changed[hash] = max(changed, self.changed.get(hash, 0.0))


def inventory_of(store: CollectableStore) -> Inventory:
    """Return what is here. The change time of a file is when it was made or last counted on, not when it was read."""
    found, packed = Inventory(), store.objects.packed
    for hash in packed.loose:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(packed.loose.path(hash))
            found.add(hash, status.st_size, status.st_ctime)
    for pack in packed.packs():
        with contextlib.suppress(FileNotFoundError):
            changed = os.stat(pack.path).st_ctime
            for digest, place in pack.entries():
                if place:
                    found.add(digest.hex(), place.size, changed)
    for hash in packed.recipes:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(packed.recipes.path(hash))
            found.add(hash, status.st_size + found.sizes.get(hash, 0), status.st_ctime)
    return found


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


def usage_of(store: CollectableStore) -> Usage:
    """Return what the packages of a store take on the disk; a state whose manifest cannot be read counts nothing.

    Raise `CorruptObject` if a pointer or log cannot be read.
    """
    sizes, needs = inventory_of(store).sizes, Needs(store)
    owners: dict[str, str] = {}
    counts, logical, unique = Counter[str](), Counter[str](), Counter[str]()
    for state in all_states(store).values():
        with contextlib.suppress(DatapkgError):
            needed = needs.of(state)
            for package in state.packages:
                counts[package] += 1
                logical[package] += sum(size for hash, size in needed.items() if hash in sizes)
            owner = state.packages[0] if len(state.packages) == 1 else ""
            for hash in needed:
                owners[hash] = owner if owners.setdefault(hash, owner) == owner else ""
    for hash, owner in owners.items():
        unique[owner] += sizes.get(hash, 0)
    packages = [PackageUsage(name, counts[name], logical[name], unique[name]) for name in sorted(counts)]
    unneeded = sum(size for hash, size in sizes.items() if hash not in owners)
    return Usage(packages, sum(sizes.values()), unique[""], unneeded)
