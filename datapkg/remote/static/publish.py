"""Publish a pushed state in a registry without a server: check it as a server would, and add it to the log."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import msgspec

from datapkg.errors import InvalidInput, InvalidManifest, ObjectNotFound, QuotaExceeded
from datapkg.format import canonical, push_wire
from datapkg.format import static_registry as layout
from datapkg.format.hashing import check_bytes
from datapkg.format.lineage import parents_of_push
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref, check_new_version, check_tag
from datapkg.format.static_registry import Heads
from datapkg.format.thin_wheel import wheel_version
from datapkg.objects.blobs.base import Blobs
from datapkg.remote.static import names, search
from datapkg.remote.static.log import Position
from datapkg.remote.static.objects import StaticObjects
from datapkg.remote.static.package import StaticPackage

MAX_RECORD_BYTES = 4 << 20


def publish(package: StaticPackage, push: str, request: push_wire.Publish, *, is_first: bool) -> push_wire.Published:
    """Make a state whose objects were put the latest one of its package: the entry of the log, then what is derived.

    The first push makes the place a registry.
    """
    ref, request = package.ref, checked(request)
    objects = package.objects(push)
    manifest = read_manifest(objects.manifest or _read_back(objects, push), push)
    stated = {manifest.hash: manifest.size_bytes, **dict(manifest.objects().items())}
    _check_sent(objects, stated, request.record_object)
    needed = [*stated, *filter(None, [request.record_object])]
    if is_first:
        mark(package.blobs)
    if request.previews:
        data = canonical.encode(canonical.prepare(request.previews, "previews"))
        package.blobs.put(layout.previews_key(push), io.BytesIO(data))

    def pushed(heads: Heads) -> dict[str, Any] | None:
        if heads.latest == push:
            return None
        names.check_parent(ref, heads, request)
        entry, sizes = _entry(package, heads, manifest, request), _sizes(manifest)
        # Before the entry, so that its readers find the objects; if the push fails, the file is collected later.
        objects.places.write(push, heads.latest, needed, {"number": heads.number + 1, **sizes})
        return entry

    position, change = package.log.append(pushed, package.author)
    objects.places.heal()
    # Only now: before its entry is in the log, nothing kept `collect` from moving what the state needs.
    objects.places.keep(needed)
    if change is None:
        position = _publish_names(package, request, position, needed)
    search.keep(package.blobs, ref, search.summary_of(ref, position.heads, manifest))
    package.wheels.write_pages()
    return push_wire.Published(
        package=ref.package,
        hash=push,
        url=f"{package.blobs.url}/{ref.package}",
        changed=change is not None,
        public=True,
    )


def _entry(package: StaticPackage, heads: Heads, manifest: Manifest, request: push_wire.Publish) -> dict[str, Any]:
    """Return the log entry of a push after these heads, whose wheels it stores."""
    ref, latest = package.ref, heads.latest
    version = request.version if request.version and _is_free(ref, heads, request) else None
    parents = parents_of_push(ref.package, request, latest, lambda hash: package.is_state(heads, hash))
    wheels = _wheels(package, heads, manifest, version)
    names_set = {"tag": request.tag, "version": version, "parents": parents, "wheels": wheels}
    fields = {"message": request.message, **names_set, **_record(request)}
    return {"kind": "push", "hash": manifest.hash, "parent": latest, **_sizes(manifest), **fields}


def _sizes(manifest: Manifest) -> dict[str, int]:
    return {"manifest_size": manifest.size_bytes, "bytes_logical": sum(manifest.objects().values())}


def _wheels(package: StaticPackage, heads: Heads, manifest: Manifest, version: str | None) -> dict[str, str]:
    """Store the wheels that a push adds: that of a version, and that of the state, by the number of its first push."""
    before = package.push_of(heads, manifest.hash)
    built = package.wheels.of_version(heads, manifest, version) if version else {}
    number = before.number if before else heads.number + 1
    named = wheel_version(None, number, manifest.hash)
    if before and named in before.wheels:
        return built | {named: before.wheels[named]}
    return built | package.wheels.build(manifest, None, number)


def mark(blobs: Blobs) -> None:
    """Make a place a registry, if it is not one already."""
    blobs.create(layout.MARKER, layout.encode(layout.Marker(format=layout.FORMAT)))


def _read_back(objects: StaticObjects, hash: str) -> bytes:
    with objects.open(hash) as stream:
        data = stream.read()
    check_bytes(data, hash, "manifest")
    return data


def _publish_names(
    package: StaticPackage, request: push_wire.Publish, position: Position, needed: Sequence[str]
) -> Position:
    """Set the tag, the version and the record of a push whose state is the latest already, and what was lost of it."""
    if request.tag:
        position = package.move_tag(request.tag, request.manifest)
    if request.version:
        position = package.give_version(request.version, request.manifest)
    before = package.last_record(request.manifest)
    is_new = (before.record, before.record_object) != (request.record, request.record_object)
    if is_new and (request.record.get("checks") or request.record_object):
        push = next(each for each in package.pushed() if (each.kind, each.hash) == ("push", request.manifest))
        sizes = {name: getattr(push, name) for name in ("number", "manifest_size", "bytes_logical")}
        package.places.write(request.manifest, push.parent, needed, sizes)
        fields = {"kind": "record", "hash": request.manifest, **_record(request)}
        position, _ = package.log.append(lambda _: fields, package.author)
    return position


def checked(request: push_wire.Publish) -> push_wire.Publish:
    """Return a push with its tag and version in their normal form; raise `InvalidInput` for what is not allowed."""
    if "\0" in request.message:
        raise InvalidInput("message: a NUL character is not allowed")
    for name, value in (("record", request.record), ("previews", request.previews)):
        if (size := len(canonical.encode(canonical.prepare(value, name)))) > MAX_RECORD_BYTES:
            raise QuotaExceeded(f"the {name} has {size:,} bytes; the limit is {MAX_RECORD_BYTES:,}")
    return msgspec.structs.replace(
        request,
        tag=check_tag(request.tag) if request.tag else None,
        version=check_new_version(request.version) if request.version else None,
    )


def _check_sent(objects: StaticObjects, stated: dict[str, int], record_object: str | None) -> None:
    absent = []
    for hash in [*stated, *filter(None, [record_object])]:
        try:
            size = objects.size(hash)
        except ObjectNotFound:
            absent.append(hash)
            continue
        if size != stated.get(hash, size):
            raise InvalidManifest(
                f"manifest: object {hash} has {size:,} bytes, but the manifest states {stated[hash]:,}", hash=hash
            )
    if absent:
        raise ObjectNotFound(
            f"{len(absent):,} objects of the manifest were not sent, {absent[0]} among them",
            hint="push again",
            hash=absent[0],
        )


def _is_free(ref: Ref, heads: Heads, request: push_wire.Publish) -> bool:
    return names.is_new_version(ref, heads, str(request.version), request.manifest)


def _record(request: push_wire.Publish) -> dict[str, Any]:
    return {"record": request.record, "record_object": request.record_object}
