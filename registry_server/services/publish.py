"""Publishing: what was pushed becomes a state of its package, in one transaction."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from datapkg.errors import (
    Conflict,
    CorruptObject,
    Forbidden,
    InvalidInput,
    InvalidManifest,
    ObjectNotFound,
    QuotaExceeded,
)
from datapkg.format import canonical, wire
from datapkg.format.chunks import LONG_BYTES
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import check_new_version, check_package, check_tag
from registry_server.db import checks, events, objects, packages, pushes, states
from registry_server.db.packages import LATEST, PackageRow
from registry_server.db.pushes import Push
from registry_server.services import checking, downloads, policy, tags_versions, uploads
from registry_server.services.checking import CheckedTables
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry
from registry_server.services.summaries import describe, search_texts
from registry_server.settings import setting_name

RETRY = timedelta(hours=1)
MAX_LISTED = 100


@dataclass(frozen=True)
class _Wanted:
    """A request to publish, checked as far as it can be without the database."""

    hash: str
    parent: str | None
    force: bool
    public: bool
    confirm_public: bool
    message: str
    tag: str | None
    version: str | None
    record: str
    previews: str


def publish(
    registry: Registry, actor: Actor, user: str, name: str, push_id: str, request: wire.Publish
) -> wire.Published:
    """Makes the pushed manifest the package's `latest`; all of it or nothing.

    A package that is not there yet is made. Publishing what `latest` is already succeeds whatever the parent, so that
    a request may be sent again; tag, version and `public` are applied then too.
    """
    with registry.db.read() as connection:
        policy.check_writer(connection, actor, user, name, "package:publish")
    check_package(name)
    wanted = _check(registry, request)
    manifest, older = _read_manifest(registry, actor, user, name, push_id, wanted.hash)
    state = describe(manifest)
    _check_bound("the package", state.bytes_logical, registry.settings.max_package_bytes, "max_package_bytes")
    texts = search_texts(f"{user}/{name}", manifest, registry.objects)
    checked = _check_tables(registry, actor, user, name, push_id, manifest, older)
    state = replace(state, unchecked=checked.unchecked_text)
    with registry.db.write() as connection:
        push = uploads.find_push(connection, registry, actor, user, name, push_id)
        package = packages.find(connection, user, name, actor.id)
        latest = states.latest_of(connection, package.id) if package else None
        changed = latest != wanted.hash
        if changed:
            _check_parent(f"{user}/{name}", wanted, latest)
            stated = _to_check(connection, package, manifest, older)
            _check_objects(connection, push, package, manifest.hash, stated)
        package = package or _add_package(connection, registry, actor, user, name, wanted)
        if changed:
            objects.hold(connection, package.id, {manifest.hash, *stated})
            checks.keep(connection, checked.keys, registry.now())
            states.keep(connection, package.id, state, wanted.previews)
            states.index(connection, package.id, texts)
            _log(connection, registry, actor, package, wanted, latest)
        elif request.record.get("checks"):
            # The same data under other checks: who changes them next has to know these.
            states.set_record(connection, package.id, wanted.hash, wanted.record)
        package = _publicise(connection, registry, actor, package, wanted)
        for tag in filter(None, (LATEST, wanted.tag)):
            tags_versions.set_tag(connection, registry, actor, package, tag, wanted.hash)
        if wanted.version:
            tags_versions.add_version(connection, registry, actor, package, wanted.version, wanted.hash)
        pushes.finish(connection, push.id, min(push.expires_at, registry.now() + RETRY))
    return wire.Published(
        package=package.full_name,
        hash=wanted.hash,
        url=f"{registry.settings.url}/{package.full_name}",
        changed=changed,
        public=package.public,
        unchecked=checked.unchecked[: wire.MAX_UNCHECKED],
        role="owner" if actor.name == package.user else "writer",
    )


def check(
    registry: Registry, actor: Actor, user: str, name: str, push_id: str, asked: wire.PublishCheck
) -> wire.PublishChecked:
    """Raise what `publish` would raise for a push, before its objects were sent; change nothing.

    What depends on the objects themselves (a damaged one, a table with other values) is found at publishing only.
    """
    with registry.db.read() as connection:
        policy.check_writer(connection, actor, user, name, "package:publish")
    check_package(name)
    wanted, settings = _check(registry, asked.publish), registry.settings
    _check_bound("the manifest", asked.manifest_size, settings.max_manifest_bytes, "max_manifest_bytes")
    _check_bound("the package", asked.bytes_logical, settings.max_package_bytes, "max_package_bytes")
    _check_bound("an object", asked.largest_to_send, settings.max_object_bytes, "max_object_bytes")
    with registry.db.read() as connection:
        push = uploads.find_push(connection, registry, actor, user, name, push_id)
        unpublished = pushes.unpublished_bytes(connection, push.user_id) + asked.bytes_to_send
        _check_bound(
            "what is sent and not published", unpublished, settings.max_unpublished_bytes, "max_unpublished_bytes"
        )
        package = packages.find(connection, user, name, actor.id)
        latest = states.latest_of(connection, package.id) if package else None
        if latest != wanted.hash:
            _check_parent(f"{user}/{name}", wanted, latest)
        if package:
            if wanted.public and not package.public:
                policy.check_writer(connection, actor, user, name, "package:share")
                _check_confirmed(package, wanted.confirm_public)
            for tag in filter(None, (LATEST, wanted.tag)):
                tags_versions.check_tag_room(connection, registry, package, tag)
            if wanted.version:
                tags_versions.is_new_version(connection, registry, package, wanted.version, wanted.hash)
    return wire.PublishChecked(changed=latest != wanted.hash)


def _check_tables(
    registry: Registry,
    actor: Actor,
    user: str,
    name: str,
    push_id: str,
    manifest: Manifest,
    older: MappedManifest | None,
) -> CheckedTables:
    """Check the content of tables that are new here; no transaction is open meanwhile.

    Raises `HashMismatch` for a false one, and for objects as the transaction that publishes does: none is read that
    this push may not rely on.
    """
    with registry.db.read() as connection:
        push = uploads.find_push(connection, registry, actor, user, name, push_id)
        package = packages.find(connection, user, name, actor.id)
        published = states.find(connection, package.id, manifest.hash) if package else None
        if published is not None and (paths := published.unchecked_paths) is not None:
            return CheckedTables([], paths)
        before = states.find(connection, package.id, older.hash) if package and older else None
        planned = checking.plan(connection, manifest, older, before)
        if planned.tables:
            _check_objects(connection, push, package, manifest.hash, _stated(planned.tables))
    return checking.check(registry, user, planned)


def _stated(tables: Iterable[TableNode]) -> dict[str, int]:
    return {hash: size for table in tables for hash, size in table.objects()}


def _check(registry: Registry, request: wire.Publish) -> _Wanted:
    settings = registry.settings
    if "\0" in request.message:
        raise InvalidInput("message: a NUL character is not allowed")
    record = json.dumps(canonical.check_metadata(request.record, "record"))
    previews = json.dumps(canonical.check_metadata(request.previews, "previews"))
    _check_bound("the record", len(record), settings.max_record_bytes, "max_record_bytes")
    _check_bound("the previews", len(previews), settings.max_previews_bytes, "max_previews_bytes")
    return _Wanted(
        hash=request.manifest,
        parent=request.parent,
        force=request.force,
        public=request.public,
        confirm_public=request.confirm_public,
        message=request.message,
        tag=None if request.tag is None else check_tag(request.tag),
        version=None if request.version is None else check_new_version(request.version),
        record=record,
        previews=previews,
    )


def _check_bound(what: str, size: int, limit: int, setting: str) -> None:
    if size > limit:
        raise QuotaExceeded(
            f"{what} is {size:,} bytes large; at most {limit:,} are allowed ({setting_name(setting)})",
            limit=limit,
            setting=setting_name(setting),
        )


def _read_manifest(
    registry: Registry, actor: Actor, user: str, name: str, push_id: str, hash: str
) -> tuple[Manifest, MappedManifest | None]:
    """The manifest, and the package's latest one where both are long: what both have was checked when that came."""
    with registry.db.read() as connection:
        push = uploads.find_push(connection, registry, actor, user, name, push_id)
        if push.manifest != hash:
            raise InvalidInput(
                f"this push is of the manifest {push.manifest}, not of {hash}", expected=push.manifest, actual=hash
            )
        package = packages.find(connection, user, name, actor.id)
        size = _usable(connection, push, package, [hash]).get(hash)
        latest = states.latest_of(connection, package.id) if package else None
        before = states.find(connection, package.id, latest) if package and latest else None
    if size is None:
        raise _absent([hash])
    _check_bound("the manifest", size, registry.settings.max_manifest_bytes, "max_manifest_bytes")
    older = None
    if before and size >= LONG_BYTES and before.manifest_size >= LONG_BYTES:
        with contextlib.suppress(CorruptObject):
            older = MappedManifest(downloads.read_checked(registry, before.hash), before.hash)
            registry.chunk_maps.fill(older)
    manifest = read_manifest(downloads.read_checked(registry, hash), hash, older=older)
    if isinstance(manifest, MappedManifest):
        registry.chunk_maps.fill(manifest)
    return manifest, older


def _usable(connection: Connection, push: Push, package: PackageRow | None, hashes: Collection[str]) -> dict[str, int]:
    package_id = package.id if package else None
    return objects.usable(connection, hashes, user_id=push.user_id, push=push.id, package_id=package_id)


def _to_check(
    connection: Connection, package: PackageRow | None, manifest: Manifest, older: MappedManifest | None
) -> dict[str, int]:
    """The objects, with the sizes that the manifest states, of which it is not known that the package holds them whole.

    It holds those of a state of its own. Those of them that are damaged since have to be sent again.
    """
    if package is None or older is None or states.find(connection, package.id, older.hash) is None:
        return manifest.objects()
    _, after = changed(older, manifest)
    stated = {hash: size for node in after.values() for hash, size in node.objects()}
    if damaged := objects.damaged_in(connection, package.id):
        everything = manifest.objects()
        stated |= {hash: everything[hash] for hash in damaged if hash in everything}
    return stated


def _check_objects(
    connection: Connection, push: Push, package: PackageRow | None, manifest: str, stated: dict[str, int]
) -> None:
    sizes = _usable(connection, push, package, {manifest, *stated})
    if absent := [hash for hash in [manifest, *stated] if hash not in sizes]:
        raise _absent(absent)
    for hash, size in stated.items():
        if sizes[hash] != size:
            raise InvalidManifest(
                f"manifest: object {hash} is stated to be {size:,} bytes large, and is {sizes[hash]:,}", hash=hash
            )


def _absent(hashes: list[str]) -> ObjectNotFound:
    return ObjectNotFound(
        f"{len(hashes):,} objects of the manifest were not sent, {hashes[0]} among them",
        hint="push again",
        hash=hashes[0],
        missing=hashes[:MAX_LISTED],
    )


def _check_parent(package: str, wanted: _Wanted, latest: str | None) -> None:
    if wanted.parent != latest and not wanted.force:
        raise Conflict(
            f"somebody pushed to {package} meanwhile: its latest state is {latest or 'none'}, "
            f"this push goes on from {wanted.parent or 'none'}",
            hint=f"look at it: datapkg log {package} --changes; to go on from it: datapkg push {package} --onto "
            f"sha256:{latest}"
            if latest
            else f"datapkg push {package} --force",
            expected=wanted.parent,
            actual=latest,
        )


def _add_package(
    connection: Connection, registry: Registry, actor: Actor, user: str, name: str, wanted: _Wanted
) -> PackageRow:
    assert actor.id is not None
    package = packages.add(connection, actor.id, user, name, wanted.public, registry.now())
    events.add(connection, "package:add", user, package.full_name, registry.now(), public=wanted.public)
    return package


def _log(
    connection: Connection,
    registry: Registry,
    actor: Actor,
    package: PackageRow,
    wanted: _Wanted,
    latest: str | None,
) -> None:
    now = registry.now()
    author = actor.name or ""
    states.add_push(
        connection,
        package.id,
        hash=wanted.hash,
        parent=latest,
        author=author,
        message=wanted.message,
        record=wanted.record,
        now=now,
    )
    packages.touch(connection, package.id, now)
    detail: dict[str, Any] = {"hash": wanted.hash, "parent": latest, "force": wanted.force}
    events.add(connection, "package:publish", author, package.full_name, now, **detail)


def _publicise(
    connection: Connection, registry: Registry, actor: Actor, package: PackageRow, wanted: _Wanted
) -> PackageRow:
    if not wanted.public or package.public:
        return package
    policy.check_writer(connection, actor, package.user, package.name, "package:share")
    return make_public(connection, registry, actor, package, confirmed=wanted.confirm_public)


def _check_confirmed(package: PackageRow, confirmed: bool) -> None:
    if not confirmed:
        raise Forbidden(
            f"{package.full_name} is private: made public, all its earlier pushes become visible to everybody",
            hint="say that this is meant with --yes",
            needs="confirm",
        )


def make_public(
    connection: Connection, registry: Registry, actor: Actor, package: PackageRow, *, confirmed: bool
) -> PackageRow:
    """Lets everybody read the package; raises `Forbidden` unless it is confirmed that earlier pushes are meant too."""
    _check_confirmed(package, confirmed)
    packages.set_public(connection, package.id, True)
    events.add(connection, "package:public", actor.name or "", package.full_name, registry.now(), public=True)
    return packages.PackageRow(**{**vars(package), "public": True})
