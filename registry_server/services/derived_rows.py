"""Rows that are derived from manifests and recipes.

They say which objects a package holds, which objects are ranges of which others, what lists show, and what a search
looks in.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from datapkg.errors import CorruptObject, DatapkgError, ObjectNotFound
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from registry_server.db import objects, recipes, states
from registry_server.services import downloads
from registry_server.services import recipes as made_of
from registry_server.services.registry import Registry
from registry_server.services.summaries import describe, search_texts


def check(registry: Registry, wrong: list[str], repaired: list[str] | None) -> None:
    """Compare the rows of all states with their manifests; add what differs to `wrong`, a line each.

    With the list `repaired`, make the rows anew and add the lines there. States whose manifest is damaged are skipped.
    """
    noted_wrong = [hash for hash in registry.objects.recipes if _is_noted_wrong(registry, hash)]
    if noted_wrong and repaired is not None:
        with registry.db.write() as connection:
            made_of.note_all(registry, connection)
    for hash in noted_wrong:
        is_repaired = repaired is not None and not _is_noted_wrong(registry, hash)
        (repaired if is_repaired and repaired is not None else wrong).append(f"what object {hash} is made of")
    with registry.db.read() as connection:
        all_states = states.all_of(connection)
    for package_id, package, hash in all_states:
        try:
            manifest = read_manifest(downloads.map_checked(registry, hash), hash, verified=True)
        except DatapkgError:
            continue
        with registry.db.read() as connection:
            found = _differences(registry, connection, package_id, package, manifest)
        if found and repaired is not None:
            with registry.db.write() as connection:
                # Again: the package may have been deleted, and would get rows anew.
                found = _differences(registry, connection, package_id, package, manifest)
                if found:
                    _make_anew(registry, connection, package_id, package, manifest)
        (wrong if repaired is None else repaired).extend(f"{each} of {package}@sha256:{hash[:16]}" for each in found)


def _is_noted_wrong(registry: Registry, hash: str) -> bool:
    """Return whether the database lacks an object of which another one is made, which a sweep would delete then."""
    home = registry.objects
    try:
        bases = made_of.sizes_of_bases(registry, hash)
    except DatapkgError:  # the object is damaged
        return False
    with registry.db.read() as connection:
        is_made = home.missing_whole([hash]) and objects.referenced(connection, [hash])
        if not is_made or recipes.bases_of(connection, hash) == bases.keys():
            return False
    return True


def _held(manifest: Manifest) -> dict[str, int]:
    return {manifest.hash: manifest.size_bytes, **dict(manifest.objects().items())}


def _differences(
    registry: Registry, connection: Connection, package_id: int, package: str, manifest: Manifest
) -> list[str]:
    row = states.find(connection, package_id, manifest.hash)
    if row is None:  # the package was deleted since its states were listed
        return []
    wanted = _held(manifest)
    # More is no difference: the package holds the objects of its other states too.
    held = objects.held_by(connection, package_id, wanted)
    found = [f"the objects held ({len(wanted.keys() - held.keys()):,} missing)"] if wanted.keys() - held.keys() else []
    if any(held[hash] != size for hash, size in wanted.items() if hash in held):
        found.append("the listed size of an object")
    if replace(row, unchecked=None) != describe(manifest):
        found.append("title, description or size")
    if states.latest_of(connection, package_id) == manifest.hash:
        texts = search_texts(package, manifest, registry.objects)
        # Rows that were written before the originals were stored are right without them.
        if states.indexed(connection, package_id) not in (texts, texts | {"originals": None}):
            found.append("the texts of the search")
    return found


def _make_anew(registry: Registry, connection: Connection, package_id: int, package: str, manifest: Manifest) -> None:
    wanted, now = _held(manifest), registry.now()
    objects.list_held(connection, package_id, wanted, now)
    for hash, size in wanted.items():
        if _size(registry, hash) != size:
            objects.set_damaged(connection, hash, now)
    states.describe_anew(connection, package_id, describe(manifest))
    if states.latest_of(connection, package_id) == manifest.hash:
        states.index(connection, package_id, search_texts(package, manifest, registry.objects))


def _size(registry: Registry, hash: str) -> int:
    try:
        return registry.objects.size(hash)
    except (ObjectNotFound, CorruptObject):
        return -1
