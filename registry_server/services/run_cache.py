"""The run cache of a package: results of stages that its writers add, and that its readers take.

A result is what its writer says: the registry verifies the bytes, not that the command gives them. The newest result of
a key and its code replaces another one, so that a wrong one can be corrected; the same again changes nothing but the
time at which it expires.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from datapkg.errors import InvalidManifest, QuotaExceeded
from datapkg.format import run_cache_wire
from datapkg.format.canonical import encode, prepare
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, GroupNode, Manifest
from datapkg.format.manifest.patch import read_manifest
from registry_server.db import pushes, stage_results
from registry_server.db.stage_results import StageRow
from registry_server.services import downloads, policy, publish, uploads
from registry_server.services.policy import PackageRequest, PushRequest
from registry_server.services.registry import Registry
from registry_server.settings import setting_name

RENEWED = timedelta(hours=1)
"""A result that was used so short a time ago is not written again."""
MAX_FOUND_CODE = 16 << 20
"""The names and hashes of code in one answer have at most so many characters: many times what 1,000 stages have, and
less than what a writer could otherwise make a registry hold in memory for one request."""


def find(request: PackageRequest, wanted: run_cache_wire.StageKeys) -> run_cache_wire.StageHits:
    """Return the results for these keys; each is kept for the whole time again, since it is used."""
    now = request.registry.now()
    until = _until(request.registry)
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        found = stage_results.find(connection, package.id, wanted.stages, now, MAX_FOUND_CODE)
    if used := [each.id for each in found if each.expires_at < until - RENEWED]:
        with request.registry.db.write() as connection:
            stage_results.renew(connection, used, until)
    return run_cache_wire.StageHits(
        hits=[
            run_cache_wire.StageHit(
                key=each.key,
                code=each.code,
                manifest=each.manifest,
                manifest_size=each.manifest_size,
                by=each.author,
                filled_at=each.filled_at.isoformat(),
            )
            for each in found
        ]
    )


def keep(request: PushRequest, wanted: run_cache_wire.StageEntries) -> run_cache_wire.StagesKept:
    """Add results whose objects were sent in this push, all or none.

    Raise `PackageNotFound` for a package that does not exist, `ObjectNotFound` for objects that were not sent,
    `InvalidManifest` for a result that is not files and groups alone, `QuotaExceeded`.
    """
    registry, settings = request.registry, request.registry.settings
    with registry.db.read() as connection:
        package = policy.writable(connection, request, "package:cache")
        push = uploads.find_push(connection, request)
        sizes = publish.check_sent(connection, push, package, {each.manifest: None for each in wanted.entries})
    if (size := sum(sizes.values())) > run_cache_wire.MAX_STAGE_MANIFEST_BYTES:
        raise QuotaExceeded(
            f"the manifests of the results are {size:,} bytes; "
            f"a request may have {run_cache_wire.MAX_STAGE_MANIFEST_BYTES:,}"
        )
    manifests = {hash: _manifest(registry, hash) for hash in sizes}
    rows = [_row(each, manifests[each.manifest]) for each in wanted.entries]
    _check_bound("a result", max((row.size for row in rows), default=0), registry, "max_stage_result_bytes")
    _check_bound("what is added", sum(row.size for row in rows), registry, "max_run_cache_bytes")
    if len(rows) > settings.max_stage_results:
        raise QuotaExceeded(
            f"{len(rows):,} results are added; the limit is {settings.max_stage_results:,} "
            f"({setting_name('max_stage_results')})"
        )
    with registry.db.write() as connection:
        package = policy.writable(connection, request, "package:cache")
        push = uploads.find_push(connection, request)
        publish.check_sent(connection, push, package, _stated(manifests))
        added = _add(connection, request, package.id, [(row, manifests[row.manifest]) for row in rows])
        # The push is kept a while, so that a client that lost the answer may ask again.
        until = min(push.expires_at, registry.now() + publish.RETRY)
        pushes.finish(connection, push, package.id, until)
    return run_cache_wire.StagesKept(added=added)


def _add(
    connection: Connection, request: PushRequest, package_id: int, results: list[tuple[StageRow, Manifest]]
) -> int:
    registry, settings = request.registry, request.registry.settings
    times = {"now": registry.now(), "until": _until(registry)}
    author = request.actor.name or ""
    added = 0
    for row, manifest in results:
        held = {manifest.hash, *manifest.objects()}
        added += stage_results.keep(connection, package_id, row, held, author=author, **times)
    stage_results.keep_variants(
        connection, package_id, {row.key for row, _ in results}, run_cache_wire.MAX_STAGE_VARIANTS
    )
    stage_results.make_room(connection, package_id, settings.max_stage_results, settings.max_run_cache_bytes)
    if added:
        request.record(connection, "package:cache", results=added)
    return added


def _until(registry: Registry) -> datetime:
    return registry.now() + timedelta(seconds=registry.settings.stage_result_age_s)


def _manifest(registry: Registry, hash: str) -> Manifest:
    """Return the manifest of a result; it has no tables, whose content would have to be checked."""
    manifest = read_manifest(downloads.map_checked(registry, hash), hash)
    if manifest.meta or any(not isinstance(node, FileNode | GroupNode) or node.meta for node in manifest.nodes):
        raise InvalidManifest("manifest: a result of a stage has files and groups without metadata, and nothing else")
    return manifest


def _row(entry: run_cache_wire.StageEntry, manifest: Manifest) -> StageRow:
    code = encode(prepare(dict(entry.code)))
    size = len(code) + manifest.size_bytes + sum(manifest.objects().values())
    return StageRow(entry.key, hash_bytes(code), entry.code, entry.manifest, size)


def _stated(manifests: dict[str, Manifest]) -> dict[str, int | None]:
    """Return all objects of the results with their sizes; raise `InvalidManifest` where two state different ones."""
    found: dict[str, int | None] = {hash: manifest.size_bytes for hash, manifest in manifests.items()}
    for manifest in manifests.values():
        for hash, size in manifest.objects().items():
            if found.setdefault(hash, size) != size:
                raise InvalidManifest(f"manifest: object {hash} is stated with two sizes", hash=hash)
    return found


def _check_bound(what: str, size: int, registry: Registry, setting: str) -> None:
    publish.check_bound(what, size, getattr(registry.settings, setting), setting)
