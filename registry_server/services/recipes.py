"""Objects at rest as ranges of others: what a delta described is kept as it described it, once it is published.

A recipe is written beside the whole object when its delta arrives, so that publishing can check the object as a file.
Then the database notes what the recipe relies on, and the whole is deleted. A kill in between leaves both, and the
sweep goes on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection

from datapkg.errors import CorruptObject, DatapkgError, ObjectNotFound
from datapkg.format.chunks import Step
from datapkg.objects.recipe_maker import check_recipe, recipe_of
from registry_server.db import objects, recipes
from registry_server.services.registry import Registry

logger = logging.getLogger(__name__)


def prepare(registry: Registry, hash: str, steps: Sequence[Step]) -> None:
    """Write the recipe of an object that arrived as a delta and is here whole, if that saves enough.

    A recipe that is relied on stays: what another one would be made of might be deleted.
    """
    if ranges := recipe_of(registry.objects, registry.new_writer().loose, hash, steps):
        with registry.db.write() as connection:
            if not recipes.bases_of(connection, hash):
                registry.objects.recipes.keep(hash, ranges)


def replace_wholes(registry: Registry, hashes: Iterable[str]) -> None:
    """Delete the bytes of objects that have a recipe; what cannot be kept so stays whole, without its recipe.

    Each step decides in a write transaction by what is there then, so that of two that replace the same object none
    deletes the recipe after the other has deleted the whole.
    """
    home = registry.objects
    if not home.recipes:
        return
    for hash in hashes:
        # It was replaced already, which is the usual case in a sweep.
        if not home.loose.find(hash):
            continue
        try:
            if not (ranges := home.recipes.find(hash)):
                continue
            check_recipe(home, hash, ranges)
            if _note(registry, hash, ranges):
                _delete_whole(registry, hash, ranges)
                continue
        except (CorruptObject, ObjectNotFound) as error:
            logger.warning("object %s stays whole: %s", hash, error)
        except (DatapkgError, OSError) as error:  # the next sweep tries again
            logger.warning("object %s stays whole for now: %s", hash, error)
            continue
        _delete_recipe(registry, hash)


def _note(registry: Registry, hash: str, ranges: Sequence[Step]) -> bool:
    """Note what a recipe relies on; return False if one of these is gone, or is a recipe itself."""
    home = registry.objects
    with registry.db.write() as connection:
        bases = {str(each.source) for each in ranges}
        # In the transaction, so that no sweep moves the bases between this look and the note.
        registry.trash.restore(bases)
        if home.missing_whole(bases):
            return False
        return recipes.keep(connection, hash, {base: home.locate(base).size for base in bases}, registry.now())


def _delete_whole(registry: Registry, hash: str, ranges: Sequence[Step]) -> None:
    home = registry.objects
    with registry.db.write() as connection:  # not the one that noted the bases: a kill would undo the note only
        noted = recipes.bases_of(connection, hash)
        if noted.issuperset(str(each.source) for each in ranges) and home.recipes.find(hash) == ranges:
            home.loose.delete(hash)


def _delete_recipe(registry: Registry, hash: str) -> None:
    with registry.db.write() as connection:
        if registry.objects.loose.find(hash):
            recipes.remove(connection, [hash])
            registry.objects.recipes.delete(hash)


def forget(registry: Registry, hashes: Collection[str]) -> None:
    """Delete the recipes of those of the objects that nothing refers to any more."""
    with registry.db.write() as connection:
        dead = set(hashes) - objects.referenced(connection, hashes)
        recipes.remove(connection, dead)
        for hash in dead:
            registry.objects.recipes.delete(hash)


def note_all(registry: Registry, connection: Connection) -> None:
    """Note what all recipes here rely on by their files, whatever was noted before."""
    home = registry.objects
    made = set(home.recipes)
    recipes.keep_only(connection, made)
    for hash in home.missing_whole(made) & objects.referenced(connection, made):
        with contextlib.suppress(DatapkgError):  # a damaged recipe, or one without what it relies on
            recipes.keep(connection, hash, sizes_of_bases(registry, hash), registry.now())


def sizes_of_bases(registry: Registry, hash: str) -> dict[str, int]:
    """Return what the recipe of an object relies on, with sizes in bytes; raise `ObjectNotFound`, `CorruptObject`."""
    home = registry.objects
    return {base: home.locate(base).size for base in {str(each.source) for each in home.recipes.find(hash)}}
