"""Make the recipe of an object that is here whole, and verify it before the whole is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datapkg.errors import CorruptObject
from datapkg.format.chunks import Step
from datapkg.objects.base import Writable
from datapkg.objects.pack_file import PackLocation, hash_opened
from datapkg.objects.packs import PackedObjects
from datapkg.objects.recipes import with_remainder, worthwhile


def recipe_of(home: PackedObjects, writer: Writable, hash: str, steps: Sequence[Step]) -> list[Step]:
    """Return the ranges of a recipe for an object, `[]` if it would save little; put the remainder into `writer`.

    Raise `ObjectNotFound`, `CorruptObject`.
    """
    ranges = worthwhile(home.recipes.flat(steps))
    own = [step for step in ranges if step.source is None]
    if own:
        whole = home.locate(hash)
        with home.open_places([PackLocation(whole.path, whole.offset + at, size) for _, at, size in own]) as stream:
            remainder = writer.put(stream)
        ranges = with_remainder(ranges, remainder)
    return ranges


def planned_recipe(
    home: PackedObjects, hash: str, steps: Sequence[Step], planned: Mapping[str, list[Step]]
) -> list[Step]:
    """Return the ranges that `recipe_of` would return after the `planned` recipes, with a made-up remainder."""
    return with_remainder(worthwhile(home.recipes.flat(steps, planned)), f"remainder of {hash}")


def check_recipe(home: PackedObjects, hash: str, ranges: Sequence[Step]) -> None:
    """Raise `CorruptObject`, `ObjectNotFound` unless the ranges give the object's bytes."""
    if hash_opened(lambda: home.open_places(home.places_of(ranges))) != hash:
        raise CorruptObject(f"object {hash} is not what its recipe gives", hash=hash)
