"""Repair of damaged objects: wrong files are set aside, and right bytes that are elsewhere take their place."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from datapkg.errors import CorruptObject, DatapkgError, NotFound, Unreachable, exhausted
from datapkg.format.hashing import hash_bytes, hash_stream
from datapkg.objects.cloud import recipe_key, single_key
from datapkg.objects.files import may_be_whole
from registry_server.db import objects
from registry_server.services.registry import Registry

FOLDER = "quarantine"


def repair(registry: Registry, hashes: Collection[str]) -> list[str]:
    """Repair what can be repaired of damaged objects; return those that are whole again.

    Files with wrong bytes move to the folder `quarantine/`; after that, an intact copy in a pack, in the trash or as a
    recipe is found, or else the next push sends the object again.
    """
    if not hashes:
        return []
    home = registry.objects
    for hash in hashes:
        if home.loose.find(hash) and not _is_whole(registry, hash):
            _set_aside(registry, single_key(hash))
        try:
            home.recipes.find(hash)
        except CorruptObject:
            _set_aside(registry, recipe_key(hash))
    wrong = {bytes.fromhex(hash) for hash in hashes}
    for pack in home.packs():
        inside = {digest.hex(): place for digest, place in pack.entries() if digest in wrong}
        bad = {hash for hash, place in inside.items() if not (place and hash_bytes(home.readable_bytes(place)) == hash)}
        if bad:
            # The new pack first, so that its intact objects are found at any moment.
            home.write_without(pack, without=bad)
            _set_aside(registry, home.key(pack.path))
            home.look_again()
    with registry.db.write():  # as an upload: no sweep deletes it meanwhile
        registry.trash.restore(hashes)
    whole = {hash: home.size(hash) for hash in hashes if _is_whole(registry, hash)}
    with registry.db.write() as connection:
        objects.set_sizes(connection, whole)
    return list(whole)


def _is_whole(registry: Registry, hash: str) -> bool:
    try:
        with registry.objects.open(hash) as stream:
            return hash_stream(stream)[0] == hash
    except Unreachable:  # a storage that does not answer is no sign of damage
        raise
    except (DatapkgError, OSError) as error:
        if (lack := exhausted(error, f"checking object {hash}")) is not None:
            raise lack from error
        if may_be_whole(error):
            raise
        return False


def _set_aside(registry: Registry, key: str) -> None:
    # The sweep, or a repair that was killed, has moved it already.
    with contextlib.suppress(NotFound):
        registry.objects.blobs.rename(key, f"{FOLDER}/{key}")
