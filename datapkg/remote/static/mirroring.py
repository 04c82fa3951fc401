"""Copy packages into a registry without a server: the files of another one as they are, or what a server answers.

What is there already is not copied again. Each file is verified on the way, and the log comes last, entry by entry.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import msgspec

from datapkg.errors import Conflict, IntegrityError, NotFound, Notice
from datapkg.format import static_registry as layout
from datapkg.format import wire
from datapkg.format.hashing import VerifyingReader, hash_bytes, hash_stream, mismatch
from datapkg.format.locations import RECIPE, WHOLE, StateLocations
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref
from datapkg.format.simple_index import METADATA_SUFFIX
from datapkg.format.static_registry import Heads, LogChange
from datapkg.format.thin_wheel import wheel_version
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.progress import Progress
from datapkg.objects.transfer import plan, transfer
from datapkg.remote.client import Client
from datapkg.remote.static import search
from datapkg.remote.static.client import StaticClient
from datapkg.remote.static.locations_check import LocationsCheck
from datapkg.remote.static.package import StaticPackage

MAX_SMALL_BYTES = 64 << 20


@dataclass
class Mirrored:
    """What was copied, or in a dry run would be: packages with something new, log entries, and objects or files."""

    packages: int = 0
    entries: int = 0
    objects: int = 0


def mirror_files(source: StaticPackage, target: StaticClient, result: Mirrored, *, dry_run: bool = False) -> None:
    """Copy what the log of a package has after the target's, entry for entry, with all that its states need.

    Raise `Conflict` if the target's log is not the beginning of the source's. A `dry_run` only counts.
    """
    copy = target.package_of(source.ref, is_new=True)
    mine, theirs = copy.log.read(), source.log.read()
    last = source.log.raw(mine.heads.number)
    if mine.heads.number and (last is None or hash_bytes(last) != mine.entry):
        raise Conflict(
            f"{source.ref.package} at {copy.blobs.url} has changes that {source.blobs.url} does not have",
            hint="mirror into another registry, which nobody pushes to",
        )
    source.log.check_end()
    counted, check = set[str](), LocationsCheck(source)
    for number, digest in enumerate(source.log.digests(mine), mine.heads.number + 1):
        data, change = source.log.verified(number, digest)
        if change.kind in ("push", "record") and _is_alive(theirs.heads, change):
            if dry_run:
                counted |= {
                    key for key, _ in _files(check.locations(change.hash)[change.hash]) if copy.blobs.size(key) is None
                }
            else:
                result.objects += _copy_state(source, copy.blobs, change, check)
        if not dry_run:
            _copy_wheels(source, copy.blobs, change)
        if not dry_run and not copy.blobs.create(layout.log_key(source.ref, number), data):
            raise Conflict(
                f"somebody pushed to {source.ref.package} at {copy.blobs.url} meanwhile", hint="mirror again"
            )
        result.entries += 1
    result.objects += len(counted)
    if theirs.heads.number > mine.heads.number:
        result.packages += 1
    if theirs.heads.number > mine.heads.number and not dry_run:
        copy.log.write_checkpoint(copy.log.read().heads)
        _index(copy)


def mirror_pushes(
    source: Client, ref: Ref, target: StaticClient, result: Mirrored, progress: Progress, *, dry_run: bool = False
) -> None:
    """Copy the pushes of a package of a server after those that the target has; then its versions and tags.

    Raise `Conflict` if the target's pushes are not the first ones of the source. A `dry_run` only counts, each push as
    one entry.
    """
    copy = target.package_of(ref, is_new=True)
    pushes = list(source.log(ref))[::-1]
    mine = [(each.hash, each.at) for each in copy.log.entries() if each.kind == "push"][::-1]
    if mine != [(each.hash, each.pushed_at) for each in pushes[: len(mine)]]:
        raise Conflict(
            f"{ref.package} at {copy.blobs.url} has pushes that {source.url} does not have",
            hint="mirror into another registry, which nobody pushes to",
        )
    before, new = copy.log.read().heads.number, pushes[len(mine) :]
    if dry_run:
        needed = {hash for each in new for hash in _hashes_of(source, ref, each.hash)}
        result.objects += len(copy.objects().missing(needed) if before else needed)
        result.packages, result.entries = result.packages + bool(new), result.entries + len(new)
        return
    for each in new:
        result.objects += _bring(source, ref, copy, each, progress)
    _copy_names(source, ref, copy)
    after = copy.log.read().heads.number
    if after > before:
        result.packages, result.entries = result.packages + 1, result.entries + after - before
        _index(copy)


def _bring(source: Client, ref: Ref, copy: StaticPackage, push: wire.LogEntry, progress: Progress) -> int:
    """Copy a state with its objects, and add its push to the log; return how many objects that took."""
    objects, heads = copy.objects(push.hash), copy.log.read().heads
    if heads.latest:
        copy.places.of_state(heads.latest)
    if not copy.push_of(heads, push.hash):
        copy.places.resume(push.hash)
    data = source.manifest(ref, push.hash)
    manifest = read_manifest(data, push.hash)
    planned = plan(manifest.objects(), objects)
    transfer(source.objects(ref), objects, planned, progress)
    objects.put_bytes(data, push.hash)
    sizes = {"manifest_size": len(data), "bytes_logical": sum(manifest.objects().values())}
    # A server gives nobody more of a record than its checks.
    record = {key: value for key, value in msgspec.to_builtins(source.checks(ref, push.hash)).items() if value}

    wheels = {}
    if push.wheel and push.number:
        wheels = _bring_wheel(source, copy, wheel_version(None, push.number, push.hash), push.wheel)

    def pushed(heads: Heads) -> dict[str, Any]:
        needed = [push.hash, *manifest.objects()]
        copy.places.write(push.hash, heads.latest, needed, {"number": heads.number + 1, **sizes})
        named = {"hash": push.hash, "parent": push.parent, "message": push.message, "record": record}
        by = {"at": push.pushed_at, "author": push.author, "parents": push.parents}
        return {"kind": "push", "wheels": wheels, **by, **named, **sizes}

    copy.log.append(pushed)
    return len(planned.needed)


def _bring_wheel(source: Client, copy: StaticPackage, version: str, sha256: str) -> dict[str, str]:
    """Copy a wheel of a server as it is, so that locks that name it stay valid; return it for the log.

    One that the server has lost does not prevent copying the data.
    """
    try:
        data = source.wheel(copy.ref, version, sha256)
    except (NotFound, IntegrityError) as error:
        warnings.warn(f"{copy.ref.package} {version}: the wheel was left out: {error}", Notice, stacklevel=2)
        return {}
    return {version: copy.wheels.store(version, data)}


def _hashes_of(source: Client, ref: Ref, state: str) -> set[str]:
    return {state, *read_manifest(source.manifest(ref, state), state).objects()}


def _copy_names(source: Client, ref: Ref, copy: StaticPackage) -> None:
    known = copy.log.read().heads
    for each in source.versions(ref):
        if each.version not in known.versions:
            named = wheel_version(each.version, 0, each.hash)
            wheels = _bring_wheel(source, copy, named, each.wheel) if each.wheel else None
            copy.give_version(each.version, each.hash, each.created_at, wheels)
        if each.yanked != known.yanked.get(each.version):
            copy.set_yanked(each.version, each.yanked)
    listed = source.tag_list(ref)
    tags = listed.tags
    for tag, hash in tags.items():
        copy.move_tag(tag, hash, listed.moved_at.get(tag, ""))
    for tag in known.tags.keys() - tags.keys() - {layout.LATEST}:
        copy.remove_tag(tag)


def _copy_wheels(source: StaticPackage, target: Blobs, change: LogChange) -> None:
    for version, sha256 in change.wheels.items():
        key = layout.wheel_key(source.ref, version, sha256)
        _copy(source.blobs, target, key, sha256)
        _copy_derived(source.blobs, target, key + METADATA_SUFFIX)


def _is_alive(heads: Heads, change: LogChange) -> bool:
    return bool(heads.first) and change.number >= heads.first


def _index(package: StaticPackage) -> None:
    heads = package.log.read().heads
    manifest = read_manifest(package.manifest(heads.latest), heads.latest) if heads.latest else None
    search.keep(package.blobs, package.ref, search.summary_of(package.ref, heads, manifest))
    package.wheels.write_pages()


def _copy_state(source: StaticPackage, target: Blobs, change: LogChange, check: LocationsCheck) -> int:
    """Copy the files of a state that are not there; return how many objects and packs these were."""
    state = change.hash
    found = check.locations(state, change.record_object)[state]
    for hash, place in found:
        if place.pack == RECIPE and target.size(layout.recipe_key(hash)) is None:
            _check_recipe(source, hash)
    copied = sum(_copy(source.blobs, target, key, hash) for key, hash in _files(found))
    for hash, _ in found:
        _copy_derived(source.blobs, target, layout.map_key(hash))
    _copy_derived(source.blobs, target, layout.previews_key(state))
    _copy_derived(source.blobs, target, layout.locations_key(source.ref, state), is_new=True)
    return copied


def _check_recipe(source: StaticPackage, hash: str) -> None:
    """Raise `HashMismatch` unless a recipe, whose file has no hash in its name, makes the object that it is of."""
    with source.objects().open(hash) as stream:
        found, _ = hash_stream(stream)
    if found != hash:
        raise mismatch(hash, found)


def _files(found: StateLocations) -> Iterator[tuple[str, str]]:
    """Yield the files that a state needs, each with the hash of its bytes, "" for one that holds its own."""
    yield from ((layout.pack_key(pack), pack) for pack in found.packs)
    for hash, place in found:
        if place.pack == WHOLE:
            yield layout.object_key(hash), hash
        elif place.pack == RECIPE:
            yield layout.recipe_key(hash), ""


def _copy(source: Blobs, target: Blobs, key: str, hash: str) -> bool:
    if target.size(key) is not None:
        return False
    with source.open(key) as stream:
        target.put(key, cast(BinaryIO, VerifyingReader(stream, hash)) if hash else stream)
    return True


def _copy_derived(source: Blobs, target: Blobs, key: str, *, is_new: bool = False) -> None:
    if is_new or target.size(key) is None:
        try:
            target.put(key, io.BytesIO(source.read(key, MAX_SMALL_BYTES)))
        except NotFound:
            return
