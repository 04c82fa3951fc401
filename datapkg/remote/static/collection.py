"""Free space in a registry without a server: what no state of any log needs, after it was unused for a while.

A file that nothing needs moves to `trash/`; then the logs are read again, and what was pushed meanwhile comes back.
What has been in the trash for the same while is deleted. After its entry is in the log, a pusher looks once more for
the files that it relies on, so that of the two at least one notices the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from datapkg.errors import CorruptObject, NotFound
from datapkg.format import static_registry as layout
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation, StateLocations
from datapkg.format.names import Ref
from datapkg.objects.blobs.base import BlobInfo, Blobs
from datapkg.objects.bucket_packs import read_index
from datapkg.remote.static.client import StaticClient
from datapkg.remote.static.locations_check import LocationsCheck
from datapkg.remote.static.package import StaticPackage
from datapkg.remote.static.places import fetched
from datapkg.remote.static.verification import packages_of
from datapkg.remote.static.wheels import keys_of

GRACE = timedelta(hours=24)
TEMPORARY = "tmp/"
_PREFIXES = ("objects/", "packs/", "recipes/", "maps/", "previews/", "wheels/", "packages/")


@dataclass
class CollectedFiles:
    """The files that were deleted, those that wait in the trash, and what came back out of it."""

    deleted: list[BlobInfo] = field(default_factory=list)
    waiting: list[BlobInfo] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)


def collect(client: StaticClient, now: datetime, *, grace: timedelta = GRACE, dry_run: bool = False) -> CollectedFiles:
    """Delete what nothing has needed for the grace, which begins anew when it moves to the trash.

    Raise `IntegrityError`, `CorruptObject`, before anything is moved, for a log that does not hold together, or a state
    of which it is not known where its objects are. What somebody else put there stays, as its names are not ours.
    """
    blobs, result, before = client.blobs, CollectedFiles(), now - grace
    needed = _needed(client, before)
    # Listed to the end first: moving keys during a listing may hide or repeat others.
    for each in list(_unneeded(blobs, needed)):
        if each.modified_at <= before:
            if dry_run:
                result.waiting.append(each)
            else:
                blobs.rename(each.key, layout.trash_key(each.key))
    for each in list(blobs.list(TEMPORARY)):  # of pushers that were killed
        if each.modified_at <= before:
            result.deleted.append(each)
            if not dry_run:
                blobs.delete(each.key)
    needed = needed if dry_run else _needed(client, before)
    for each in list(blobs.list(layout.TRASH)):
        key = each.key.removeprefix(layout.TRASH)
        if not layout.is_stored(key):
            continue
        if key in needed:
            _restore(blobs, key, result, dry_run)
        elif grace and each.modified_at > before:
            result.waiting.append(each)
        else:
            result.deleted.append(each)
            if not dry_run:
                blobs.delete(each.key)
    return result


def _restore(blobs: Blobs, key: str, result: CollectedFiles, dry_run: bool) -> None:
    result.restored.append(key)
    if not dry_run:
        blobs.rename(layout.trash_key(key), key)


def _needed(client: StaticClient, before: datetime) -> set[str]:
    """Return the keys that states of the logs need, and pushes that began lately."""
    needed, lost = set[str](), set[str]()
    here = {each.key for prefix in ("objects/", "packs/", "recipes/") for each in client.blobs.list(prefix)}
    for ref in packages_of(client):
        package = StaticPackage(client.blobs, ref, client.seen, "")
        heads, check = package.log.read().heads, LocationsCheck(package)
        package.log.check_end()
        for change in package.log.entries():
            needed |= set(keys_of(ref, change))  # also of a deleted package: a lock elsewhere may name them
            if heads.first and change.number >= heads.first and change.kind in ("push", "record"):
                found = check.locations(change.hash, change.record_object)
                needed |= {layout.previews_key(change.hash), *_of_state(ref, found)}
                lost |= _lost(package, found, here)
        if check.unread:
            needed |= here
    for each in client.blobs.list("packages/"):
        if layout.is_stored(each.key) and each.modified_at > before and each.key not in needed:
            needed.add(each.key)
            needed |= _of_begun(client.blobs, each.key)
    return needed | _that_have(client.blobs, lost)


def _of_state(ref: Ref, files: Mapping[str, StateLocations]) -> Iterator[str]:
    for state, found in files.items():
        yield layout.locations_key(ref, state)
        yield from _keys(found)


def _lost(package: StaticPackage, files: Mapping[str, StateLocations], here: set[str]) -> set[str]:
    """Return the objects that are not where their files say, which may be wrong, and what these leave out."""
    lost = set[str]()
    for hash, place in (each for found in files.values() for each in found):
        if _key(hash, place) not in here:
            lost.add(hash)
        elif place.pack == RECIPE:
            with suppress(CorruptObject, NotFound):
                sources = {str(step.source) for step in package.places.recipe(hash)}
                lost |= {each for each in sources if not any(found.find(each) for found in files.values())}
    return lost


def _that_have(blobs: Blobs, lost: set[str]) -> set[str]:
    """Return all keys, also in the trash, that have one of these objects."""
    if not lost:
        return set()
    digests = {bytes.fromhex(hash) for hash in lost}
    needed = {key(hash) for hash in lost for key in (layout.object_key, layout.recipe_key, layout.map_key)}
    for prefix in ("packs/", f"{layout.TRASH}packs/"):
        for each in list(blobs.list(prefix)):
            with suppress(CorruptObject, NotFound):
                if any(map(read_index(blobs, each.key, each.size).find, digests)):
                    needed.add(each.key.removeprefix(layout.TRASH))
    return needed


def _of_begun(blobs: Blobs, key: str) -> set[str]:
    found = fetched(blobs, key)
    return set(_keys(found)) if found else set()


def _keys(found: StateLocations) -> Iterator[str]:
    yield from map(layout.pack_key, found.packs)
    for hash, place in found:
        yield layout.map_key(hash)
        yield _key(hash, place)


def _key(hash: str, place: ObjectLocation) -> str:
    """Return the key of the file that an object is in."""
    if place.pack == RECIPE:
        return layout.recipe_key(hash)
    return layout.object_key(hash) if place.pack == WHOLE else layout.pack_key(place.pack)


def _unneeded(blobs: Blobs, needed: set[str]) -> Iterator[BlobInfo]:
    for prefix in _PREFIXES:
        yield from (each for each in list(blobs.list(prefix)) if each.key not in needed and layout.is_stored(each.key))
