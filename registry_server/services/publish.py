"""Publishing: what was pushed becomes a state of its package, in one transaction."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from datapkg.errors import (
    Conflict,
    CorruptObject,
    InvalidInput,
    InvalidManifest,
    ObjectNotFound,
    QuotaExceeded,
)
from datapkg.format import canonical, push_wire, wire
from datapkg.format.chunks import LONG_BYTES
from datapkg.format.lineage import parents_of_push
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import check_new_version, check_package, check_tag
from datapkg.format.object_sizes import in_order_of_hashes
from registry_server.db import checks, numbers, objects, packages, pushes, states
from registry_server.db.packages import LATEST, PackageRow
from registry_server.db.pushes import Push
from registry_server.db.states import StateRow
from registry_server.services import checking, downloads, policy, recipes, sharing, tags_versions, uploads
from registry_server.services.checking import ContentCheck
from registry_server.services.policy import PackageRequest, PushRequest
from registry_server.services.summaries import describe, search_texts
from registry_server.services.wheels import StateWheels
from registry_server.settings import setting_name

RETRY = timedelta(hours=1)
MAX_LISTED = 100


class _Wanted(NamedTuple):
    """A request to publish with tag and version in normal form, and its record and previews as JSON."""

    body: push_wire.Publish
    record: str
    previews: str


class _Described(NamedTuple):
    """What the database keeps of a state, and the texts in which a search looks."""

    state: StateRow
    texts: dict[str, str]


@dataclass(frozen=True)
class _Prepared:
    """What takes long, done before the transaction that publishes begins: the state, its texts and checked tables."""

    wanted: _Wanted
    manifest: Manifest
    older: MappedManifest | None
    described: Callable[[], _Described]
    checked: ContentCheck
    wheels: StateWheels


def publish(request: PushRequest, body: push_wire.Publish, later: Callable[..., None]) -> push_wire.Published:
    """Make the pushed manifest the package's `latest`, all of it or nothing.

    A package that does not exist is created. Publishing what `latest` is already succeeds whatever the parent, so that
    a request may be sent again; tag, version and `public` are applied then too. `later` is called with a function and
    its arguments, which reads what was sent once more, so the answer need not wait for it.
    """
    prepared = _prepare(request, body)
    wanted = prepared.wanted
    with request.registry.db.write() as connection:
        push = uploads.find_push(connection, request)
        package = request.find(connection) or _add_package(connection, request, wanted)
        latest = states.latest_of(connection, package.id)
        changed = latest != wanted.body.manifest
        if changed:
            _check_parent(request.full_name, wanted, latest)
            _add_state(connection, request, push, package, prepared)
            _check_record(connection, request, push, package, body.record_object)
            _add_to_log(connection, request, package, prepared, latest)
        elif body.record.get("checks") or body.record_object:
            # The same data with other checks: whoever changes them next needs the current ones.
            _check_record(connection, request, push, package, body.record_object)
            states.set_record(connection, package.id, wanted.body.manifest, wanted.record, body.record_object)
        package = _publicise(connection, request, package, wanted)
        _set_names(connection, request, package, prepared)
        sent = objects.sent_in(connection, push.id, LONG_BYTES)
        # The push is kept a while, so that a client that lost the answer may ask again.
        pushes.finish(connection, push, package.id, min(push.expires_at, request.registry.now() + RETRY))
    # After the commit: a kill before it must leave the objects of a push as they came.
    later(recipes.replace_wholes, request.registry, sent)
    return push_wire.Published(
        package=package.full_name,
        hash=wanted.body.manifest,
        url=f"{request.registry.settings.url}/{package.full_name}",
        changed=changed,
        public=package.public,
        unchecked=prepared.checked.unchecked[: wire.MAX_UNCHECKED],
        role="owner" if request.actor.name == package.user else "writer",
    )


def check(request: PushRequest, body: push_wire.PublishCheck) -> push_wire.PublishChecked:
    """Raise what `publish` would raise for a push, before its objects were sent; change nothing.

    What depends on the objects themselves (a damaged one, a table with other values) is found at publishing only.
    """
    wanted, settings = _check_body(request, body.publish), request.registry.settings
    check_bound("the manifest", body.manifest_size, settings.max_manifest_bytes, "max_manifest_bytes")
    check_bound("the object of the record", body.record_size, settings.max_manifest_bytes, "max_manifest_bytes")
    check_bound("the package", body.bytes_logical, settings.max_package_bytes, "max_package_bytes")
    check_bound("an object", body.largest_to_send, settings.max_object_bytes, "max_object_bytes")
    with request.registry.db.read() as connection:
        push = uploads.find_push(connection, request)
        # Interrupted uploads go on; if they are of other objects, the upload itself finds that there is no room.
        begun = uploads.begun_bytes(request.registry, push.user_id)
        uploads.check_room(request.registry, max(0, body.bytes_to_send - begun))
        unpublished = pushes.unpublished_bytes(connection, push.user_id) + body.bytes_to_send
        check_bound(
            "what is sent and not published", unpublished, settings.max_unpublished_bytes, "max_unpublished_bytes"
        )
        package = request.find(connection)
        latest = states.latest_of(connection, package.id) if package else None
        if latest != wanted.body.manifest:
            _check_parent(request.full_name, wanted, latest)
        if wanted.body.version and not package:
            args = (request.user, request.name, wanted.body.version, wanted.body.manifest)
            tags_versions.check_not_retired(connection, *args)
        if package:
            if wanted.body.public and not package.public:
                policy.check_writer(connection, request, "package:share")
                sharing.check_confirmed(package, wanted.body.confirm_public)
            for tag in filter(None, (LATEST, wanted.body.tag)):
                tags_versions.check_tag_room(connection, request.registry, package, tag)
            if wanted.body.version:
                tags_versions.is_new_version(
                    connection, request.registry, package, wanted.body.version, wanted.body.manifest
                )
    return push_wire.PublishChecked(changed=latest != wanted.body.manifest)


def _check_body(request: PushRequest, body: push_wire.Publish) -> _Wanted:
    """Check the actor, then the body: without the right to publish, nothing else of it is examined."""
    settings = request.registry.settings
    with request.registry.db.read() as connection:
        policy.check_writer(connection, request, "package:publish")
    check_package(request.name)
    if "\0" in body.message:
        raise InvalidInput("message: a NUL character is not allowed")
    record = json.dumps(canonical.check_metadata(body.record, "record"))
    previews = json.dumps(canonical.check_metadata(body.previews, "previews"))
    check_bound("the record", len(record), settings.max_record_bytes, "max_record_bytes")
    check_bound("the previews", len(previews), settings.max_previews_bytes, "max_previews_bytes")
    tag = None if body.tag is None else check_tag(body.tag)
    version = None if body.version is None else check_new_version(body.version)
    return _Wanted(msgspec.structs.replace(body, tag=tag, version=version), record, previews)


def _prepare(request: PushRequest, body: push_wire.Publish) -> _Prepared:
    wanted, registry = _check_body(request, body), request.registry
    manifest, older = _read_manifest(request, wanted.body.manifest)
    checked = _check_tables(request, manifest, older)
    wheels = StateWheels(registry, request.full_name, manifest)
    with registry.db.read() as connection:
        package = request.find(connection)
        wheels.prepare(connection, package.id if package else None, None, *filter(None, [wanted.body.version]))
        latest = states.latest_of(connection, package.id) if package else None
    described = cache(partial(_describe, request, manifest, checked))
    # The latest state is described already: that is needed only if another one becomes the latest meanwhile.
    if latest != manifest.hash:
        described()
    return _Prepared(wanted, manifest, older, described, checked, wheels)


def _describe(request: PackageRequest, manifest: Manifest, checked: ContentCheck) -> _Described:
    registry, state = request.registry, describe(manifest)
    check_bound("the package", state.bytes_logical, registry.settings.max_package_bytes, "max_package_bytes")
    texts = search_texts(request.full_name, manifest, registry.objects)
    return _Described(replace(state, unchecked=checked.unchecked_text), texts)


def check_bound(what: str, size: int, limit: int, setting: str) -> None:
    """Raise `QuotaExceeded`, which names the setting, for more bytes than its limit."""
    if size > limit:
        raise QuotaExceeded(
            f"{what} is {size:,} bytes; the limit is {limit:,} ({setting_name(setting)})",
            limit=limit,
            setting=setting_name(setting),
        )


def _read_manifest(request: PushRequest, hash: str) -> tuple[Manifest, MappedManifest | None]:
    """Return the manifest, and the latest one where both are long: what they share was checked when that came."""
    with request.registry.db.read() as connection:
        push = uploads.find_push(connection, request)
        if push.manifest != hash:
            raise InvalidInput(
                f"this push was started for the manifest {push.manifest}, not for {hash}",
                expected=push.manifest,
                actual=hash,
            )
        package = request.find(connection)
        size = _usable(connection, push, package, [hash]).get(hash)
        latest = states.latest_of(connection, package.id) if package else None
        before = states.find(connection, package.id, latest) if package and latest else None
    if size is None:
        raise _absent([hash])
    check_bound("the manifest", size, request.registry.settings.max_manifest_bytes, "max_manifest_bytes")
    data = downloads.map_checked(request.registry, hash)
    # The latest state is pushed again: it was validated when it was published.
    if before and before.hash == hash:
        return read_manifest(data, hash, verified=True), None
    older = None
    if before and size >= LONG_BYTES and before.manifest_size >= LONG_BYTES:
        # The older manifest only saves work: without it, all lines of the new one are validated.
        with contextlib.suppress(CorruptObject):
            older = MappedManifest(downloads.map_checked(request.registry, before.hash), before.hash)
            request.registry.chunk_maps.fill(older)
    manifest = read_manifest(data, hash, older=older)
    if older is not None and isinstance(manifest, MappedManifest):  # a map is only needed to compare two
        request.registry.chunk_maps.fill(manifest)
    return manifest, older


def _check_tables(request: PushRequest, manifest: Manifest, older: MappedManifest | None) -> ContentCheck:
    """Check the content of tables that are new here; no transaction is open while a worker reads them.

    Raise `HashMismatch` for a false one, and the errors of `check_sent`: no object is read that this push may not
    rely on.
    """
    with request.registry.db.read() as connection:
        push = uploads.find_push(connection, request)
        package = request.find(connection)
        published = states.find(connection, package.id, manifest.hash) if package else None
        if published is not None and (paths := published.unchecked_paths) is not None:
            return ContentCheck([], paths)
        before = states.find(connection, package.id, older.hash) if package and older else None
        planned = checking.plan(connection, manifest, older, before)
        if planned.tables:
            stated = {hash: size for table in planned.tables for hash, size in table.objects()}
            check_sent(connection, push, package, {manifest.hash: None, **stated})
    return checking.check(request.registry, request.user, planned)


def _usable(connection: Connection, push: Push, package: PackageRow | None, hashes: Collection[str]) -> dict[str, int]:
    package_id = package.id if package else None
    return objects.usable(connection, hashes, user_id=push.user_id, push=push.id, package_id=package_id)


def _to_check(
    connection: Connection, package: PackageRow, manifest: Manifest, older: MappedManifest | None
) -> Mapping[str, int]:
    """Return the objects that the package may not hold whole yet, with the sizes that the manifest states.

    The package holds those of its own states, but those that are damaged since then have to be sent again.
    """
    if older is None or states.find(connection, package.id, older.hash) is None:
        return manifest.objects()
    _, after = changed(older, manifest)
    stated: dict[str, int] = {hash: size for node in after.values() for hash, size in node.objects()}
    if damaged := objects.damaged_in(connection, package.id):
        everything = manifest.objects()
        stated |= {hash: everything[hash] for hash in damaged if hash in everything}
    return stated


def check_sent(
    connection: Connection, push: Push, package: PackageRow | None, stated: Mapping[str, int | None]
) -> dict[str, int]:
    """Return the sizes of objects; raise unless the push may rely on them and they are as stated, where they are."""
    sizes = _usable(connection, push, package, stated.keys())
    if absent := [hash for hash in stated if hash not in sizes]:
        raise _absent(absent)
    for hash, size in stated.items():
        if size is not None and sizes[hash] != size:
            raise InvalidManifest(
                f"manifest: object {hash} has {sizes[hash]:,} bytes, but the manifest states {size:,}", hash=hash
            )
    return sizes


def _check_record(
    connection: Connection, request: PackageRequest, push: Push, package: PackageRow, hash: str | None
) -> None:
    """Raise unless the object of the record, if there is one, was sent and is not too large; nothing else reads it."""
    if hash is not None:
        size = _usable(connection, push, package, [hash]).get(hash)
        if size is None:
            raise _absent([hash])
        limit = request.registry.settings.max_manifest_bytes
        check_bound("the object of the record", size, limit, "max_manifest_bytes")


def _absent(hashes: list[str]) -> ObjectNotFound:
    return ObjectNotFound(
        f"{len(hashes):,} objects of the manifest were not sent, {hashes[0]} among them",
        hint="push again",
        hash=hashes[0],
        missing=hashes[:MAX_LISTED],
    )


def _check_parent(package: str, wanted: _Wanted, latest: str | None) -> None:
    if wanted.body.parent != latest and not wanted.body.force:
        raise Conflict(
            f"somebody pushed to {package} meanwhile: its latest state is {latest or 'none'}, "
            f"this push is based on {wanted.body.parent or 'none'}",
            hint=f"look at it: datapkg log {package} --changes; to build on it: datapkg push {package} --onto "
            f"sha256:{latest}"
            if latest
            else f"datapkg push {package} --force",
            expected=wanted.body.parent,
            actual=latest,
        )


def _add_package(connection: Connection, request: PackageRequest, wanted: _Wanted) -> PackageRow:
    assert request.actor.id is not None
    now = request.registry.now()
    package = packages.add(connection, request.actor.id, request.user, request.name, wanted.body.public, now)
    request.record(connection, "package:add", public=wanted.body.public)
    return package


def _add_state(
    connection: Connection, request: PackageRequest, push: Push, package: PackageRow, prepared: _Prepared
) -> None:
    manifest = prepared.manifest
    stated = _to_check(connection, package, manifest, prepared.older)
    check_sent(connection, push, package, {manifest.hash: None})
    objects.hold(connection, package.id, [manifest.hash])
    for some in in_order_of_hashes(stated):  # a million rows at a time would take gigabytes
        check_sent(connection, push, package, some)
        objects.hold(connection, package.id, some)
    checks.keep(connection, prepared.checked.keys, request.registry.now())
    number = numbers.of_state(connection, package.id, manifest.hash)
    if number is None:
        number = numbers.following(connection, package.user, package.name, package.id)
    state, texts = prepared.described()
    states.keep(connection, package.id, state, prepared.wanted.previews, number)
    states.index(connection, package.id, texts)


def _add_to_log(
    connection: Connection, request: PackageRequest, package: PackageRow, prepared: _Prepared, latest: str | None
) -> None:
    wanted, now = prepared.wanted, request.registry.now()
    states.add_push(
        connection,
        package.id,
        hash=wanted.body.manifest,
        parent=latest,
        author=request.actor.name or "",
        message=wanted.body.message,
        record=wanted.record,
        record_object=wanted.body.record_object,
        parents=parents_of_push(
            package.full_name,
            wanted.body,
            latest,
            lambda hash: states.find(connection, package.id, hash) is not None,
        ),
        now=now,
    )
    packages.touch(connection, package.id, now)
    number = numbers.of_state(connection, package.id, wanted.body.manifest)
    assert number is not None
    wheel = prepared.wheels.keep(connection, None, number, now).object
    told = {"hash": wanted.body.manifest, "parent": latest, "force": wanted.body.force, "wheel": wheel}
    request.record(connection, "package:publish", **told)


def _set_names(connection: Connection, request: PackageRequest, package: PackageRow, prepared: _Prepared) -> None:
    wanted = prepared.wanted
    for tag in filter(None, (LATEST, wanted.body.tag)):
        tags_versions.set_tag(connection, request, package, tag, wanted.body.manifest)
    if wanted.body.version:
        tags_versions.add_version(connection, request, package, wanted.body.version, prepared.wheels)


def _publicise(connection: Connection, request: PackageRequest, package: PackageRow, wanted: _Wanted) -> PackageRow:
    if not wanted.body.public or package.public:
        return package
    policy.check_writer(connection, request, "package:share")
    return sharing.make_public(connection, request, package, confirmed=wanted.body.confirm_public)
