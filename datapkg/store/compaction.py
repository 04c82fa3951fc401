"""Turn big objects of older states into recipes over objects of newer ones, which stay whole."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from datapkg.errors import CorruptObject, DatapkgError
from datapkg.format.chunks import Step
from datapkg.format.manifest.earlier import replaced_objects
from datapkg.objects.deltas import known_chunks, long_ones, steps_from
from datapkg.objects.recipe_maker import check_recipe, planned_recipe, recipe_of
from datapkg.store import format_version

if TYPE_CHECKING:
    from datapkg.format.manifest.parsed import Manifest
    from datapkg.store.roots import CollectableStore


def compact(
    store: CollectableStore, states: Iterable[str], needed_whole: Container[str], *, dry_run: bool = False
) -> int:
    """Turn objects of a package's states (hashes of manifests, newest first) into recipes; return the freed bytes.

    Objects in `needed_whole` stay as they are, and those that others are ranges of. The caller holds the store's lock
    alone; readers that look for an object just now find its recipe. A dry run reads as much and changes no object.
    """
    run = _Compaction(store, dry_run, sources_of(store, store.objects.packed.recipes))
    freed = 0
    for newer, older in pairwise(filter(None, (_manifest(store, hash) for hash in states))):
        for bases, candidates, is_guess in replaced_objects(newer, older):
            if is_guess:
                continue
            wanted = {hash: size for hash, size in candidates.items() if hash not in needed_whole}
            freed += run.compact(bases, wanted)
    return freed


def sources_of(store: CollectableStore, hashes: Iterable[str]) -> set[str]:
    """Return what the objects among these that are recipes are ranges of."""
    recipes, found = store.objects.packed.recipes, set[str]()
    for hash in hashes:
        with contextlib.suppress(CorruptObject):
            found |= {str(each.source) for each in recipes.find(hash)}
    return found


def _manifest(store: CollectableStore, hash: str) -> Manifest | None:
    with contextlib.suppress(DatapkgError):  # what is not here or damaged has no objects to compare
        return store.manifest(hash)
    return None


@dataclass
class _Compaction:
    """One run over the states of a package.

    `relied_on` are objects that recipes are ranges of; `planned` are the recipes that a dry run would have written.
    """

    store: CollectableStore
    dry_run: bool
    relied_on: set[str]
    planned: dict[str, list[Step]] = field(default_factory=dict)

    def compact(self, bases: Mapping[str, int], candidates: Mapping[str, int]) -> int:
        """Turn those of the candidates (hash to size) into recipes that share enough with the bases; return bytes."""
        home, recipes = self.store.objects.packed, dict[str, list[Step]]()
        # Only a file of its own can be deleted; what is in a pack would go on taking its space.
        here = {hash for hash in long_ones(candidates) if home.loose.path(hash).exists()}
        # Recipes are flat: an object that others are ranges of cannot become a recipe itself.
        wanted = here - self.relied_on - self.planned.keys()
        known = known_chunks(self.store.objects, long_ones(bases)) if wanted else {}
        # One sync for all remainders, before the first recipe that refers to one.
        with home.loose.batch():
            for hash in wanted:
                with contextlib.suppress(DatapkgError):
                    steps = steps_from(self.store.objects.chunks(hash, candidates[hash]) or [], known)
                    if ranges := self._recipe(hash, steps):
                        recipes[hash] = ranges
        known_sources = self.relied_on | bases.keys()
        freed = 0
        for hash, ranges in recipes.items():
            if self._replaced(hash, ranges):
                self.relied_on.update(str(each.source) for each in ranges)
                freed += sum(each.size for each in ranges if each.source in known_sources)
        return freed

    def _recipe(self, hash: str, steps: list[Step]) -> list[Step]:
        home = self.store.objects.packed
        if self.dry_run:
            return planned_recipe(home, hash, steps, self.planned)
        return recipe_of(home, home.loose, hash, steps)

    def _replaced(self, hash: str, ranges: list[Step]) -> bool:
        """Write a recipe and delete the whole object, if the recipe is right."""
        home = self.store.objects.packed
        if self.dry_run:
            self.planned[hash] = ranges
            return True
        with contextlib.suppress(DatapkgError):
            check_recipe(home, hash, ranges)
            # The version first: an older datapkg, which knows no recipes, would report the object as missing.
            format_version.raise_to(self.store.folder, home.tmp, 2)
            home.recipes.keep(hash, ranges)
            self.store.objects.index.mark_verified([home.recipes.path(hash)])
            # Last: until the recipe is on the disk, the whole object is the only copy.
            home.loose.delete(hash)
            return True
        return False
