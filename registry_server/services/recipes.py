"""Objects at rest as ranges of others: what a delta described is kept as it described it, once it is published.

A recipe is written beside the whole object when its delta arrives, so that publishing can check the object as a file.
Then the database notes what the recipe relies on, and the whole is deleted. A kill in between leaves both, and the
sweep goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from datapkg.errors import DatapkgError
from datapkg.format.chunks import Step
from datapkg.objects.recipe_maker import check_recipe, recipe_of
from registry_server.db import objects, recipes
from registry_server.services.registry import Registry

logger = logging.getLogger(__name__)


def prepare(registry: Registry, hash: str, steps: Sequence[Step]) -> None:
    """Write the recipe of an object that arrived as a delta and is here whole, if that saves enough."""
    if ranges := recipe_of(registry.objects, registry.new_writer(1), hash, steps):
        registry.objects.recipes.keep(hash, ranges)


def replace_wholes(registry: Registry, hashes: Iterable[str]) -> None:
    """Delete the bytes of objects that have a recipe; what cannot be kept so stays whole, without its recipe."""
    home = registry.objects
    if not home.recipes:
        return
    for hash in hashes:
        path = home.loose.path(hash)
        try:
            if not path.exists() or not (ranges := home.recipes.find(hash)):
                continue
            check_recipe(home, hash, ranges)
            if _note(registry, hash, ranges):
                path.unlink(missing_ok=True)
                continue
        except (DatapkgError, OSError) as error:
            logger.warning("object %s stays whole: %s", hash, error)
        home.recipes.delete(hash)


def _note(registry: Registry, hash: str, ranges: Sequence[Step]) -> bool:
    """Note what a recipe relies on; return False if one of these is gone, or is a recipe itself."""
    home = registry.objects
    with registry.db.write() as connection:
        bases = {str(each.source) for each in ranges}
        registry.trash.restore(bases)
        if home.missing_whole(bases):
            return False
        return recipes.keep(connection, hash, {base: home.locate(base).size for base in bases}, registry.now())


def forget(registry: Registry, hashes: Collection[str]) -> None:
    """Delete the recipes of those of the objects that nothing refers to any more."""
    with registry.db.write() as connection:
        dead = set(hashes) - objects.referenced(connection, hashes)
        recipes.remove(connection, dead)
        for hash in dead:
            registry.objects.recipes.delete(hash)
