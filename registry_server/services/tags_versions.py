"""Names for states: tags, which move, and versions, which never do."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from packaging.utils import canonicalize_version
from packaging.version import Version as Pep440
from sqlalchemy import Connection

from datapkg.errors import Conflict, InvalidInput, ObjectNotFound, QuotaExceeded, TagNotFound, VersionNotFound
from datapkg.format import wire
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import check_new_version, check_tag, check_version
from datapkg.format.texts import quoted
from registry_server.db import numbers, states
from registry_server.db.packages import LATEST, PackageRow
from registry_server.db.states import Version
from registry_server.services import downloads, policy
from registry_server.services.policy import PackageRequest
from registry_server.services.registry import Registry
from registry_server.services.summaries import search_texts
from registry_server.services.wheels import StateWheels, of_state, of_versions
from registry_server.settings import setting_name


def tags(request: PackageRequest) -> wire.TagList:
    """Return all tags, sorted by name."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        moved = states.moved_at(connection, package.id)
        tags = states.tags_of(connection, package.id)
        return wire.TagList(tags=tags, moved_at={tag: moved[tag].isoformat() for tag in tags if tag in moved})


def versions(request: PackageRequest) -> wire.VersionList:
    """Return all versions, in PEP 440 order."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        return wire.VersionList(versions=version_entries(connection, package, wheels=True))


def version_entries(connection: Connection, package: PackageRow, *, wheels: bool = False) -> list[wire.VersionEntry]:
    """Return the versions of a package, in PEP 440 order; with `wheels`, also the sha256 of theirs."""
    found = sorted(states.versions_of(connection, package.id), key=lambda each: _parsed(each.version))
    built = of_versions(connection, package, {each.version: each.hash for each in found}) if wheels else {}
    return [
        wire.VersionEntry(
            version=each.version,
            hash=each.hash,
            created_at=each.created_at.isoformat(),
            yanked=each.yanked,
            wheel=built.get(each.version),
        )
        for each in found
    ]


def put_tag(request: PackageRequest, tag: str, hash: str) -> wire.TagList:
    """Add or move a tag; moving `latest` returns the package to an earlier push."""
    with request.registry.db.read() as connection:
        policy.check_writer(connection, request, "package:tag")
    check_tag(tag)
    with request.registry.db.read() as connection:
        _check_state(connection, policy.writable(connection, request, "package:tag"), hash)
    # Read outside of the write transaction, for which all other writers wait.
    texts = None
    if tag == LATEST:
        manifest = read_manifest(downloads.map_checked(request.registry, hash), hash, verified=True)
        texts = search_texts(request.full_name, manifest, request.registry.objects)
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:tag")
        # Again: the package may have been deleted and made anew since.
        _check_state(connection, package, hash)
        if texts:
            states.index(connection, package.id, texts)
        set_tag(connection, request, package, tag, hash)
        return wire.TagList(tags=states.tags_of(connection, package.id))


def remove_tag(request: PackageRequest, tag: str, hash: str | None = None) -> wire.TagList:
    """Delete a tag; raise `TagNotFound`, or `InvalidInput` for `latest`, which every package has.

    With the state that it had, raise `Conflict` if it has moved since.
    """
    with request.registry.db.read() as connection:
        policy.check_writer(connection, request, "package:tag")
    check_tag(tag)
    if tag == LATEST:
        raise InvalidInput("the tag 'latest' cannot be removed", hint="move it: datapkg tag add USER/NAME@STATE latest")
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:tag")
        now = states.tags_of(connection, package.id).get(tag)
        if hash and now and now != hash:
            raise Conflict(
                f"the tag {tag!r} of {package.full_name} was moved to sha256:{now[:12]}; it was not removed",
                hint=f"datapkg tag ls {package.full_name}",
            )
        if not states.remove_tag(connection, package.id, tag):
            raise tag_not_found(package, tag)
        request.record(connection, "package:untag", tag=tag)
        return wire.TagList(tags=states.tags_of(connection, package.id))


def put_version(request: PackageRequest, version: str, hash: str) -> wire.VersionList:
    """Give a state a version; repeating it does nothing, another state raises `Conflict`."""
    with request.registry.db.read() as connection:
        policy.check_writer(connection, request, "package:version")
    version = check_new_version(version)
    with request.registry.db.read() as connection:
        package = policy.writable(connection, request, "package:version")
        _check_state(connection, package, hash)
    built = of_state(request.registry, request.full_name, hash)
    with request.registry.db.read() as connection:
        built.prepare(connection, package.id, version)
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:version")
        _check_state(connection, package, hash)
        add_version(connection, request, package, version, built)
        return wire.VersionList(versions=version_entries(connection, package, wheels=True))


def set_yanked(request: PackageRequest, version: str, reason: str | None) -> wire.VersionList:
    """Yank a version, or for None, undo that; repeating it with the same reason does nothing.

    Raise `VersionNotFound`. The version goes on naming its state (PEP 592): only ranges no longer mean it.
    """
    with request.registry.db.read() as connection:
        policy.check_writer(connection, request, "package:yank")
    version = check_version(version)
    if "\0" in (reason or ""):
        raise InvalidInput("reason: a NUL character is not allowed")
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:yank")
        known = states.version_of(connection, package.id, version_key(version))
        if known is None:
            raise VersionNotFound(
                f"{package.full_name} has no version {version}",
                hint=f"datapkg version ls {package.full_name}",
                version=version,
            )
        if known.yanked != reason:
            states.set_yanked(connection, package.id, known.key, reason)
            action, detail = ("package:unyank", {}) if reason is None else ("package:yank", {"reason": reason})
            request.record(connection, action, version=known.version, **detail)
        return wire.VersionList(versions=version_entries(connection, package))


def set_tag(connection: Connection, request: PackageRequest, package: PackageRow, tag: str, hash: str) -> None:
    """Add or move a tag of the package, and record the event if that is a change."""
    if check_tag_room(connection, request.registry, package, tag).get(tag) == hash:
        return
    states.set_tag(connection, package.id, tag, hash, request.registry.now())
    request.record(connection, "package:tag", tag=tag, hash=hash)


def check_tag_room(connection: Connection, registry: Registry, package: PackageRow, tag: str) -> dict[str, str]:
    """Return the tags of a package; raise `QuotaExceeded` if this one would exceed the limit."""
    known = states.tags_of(connection, package.id)
    if tag not in known and len(known) >= registry.settings.max_tags:
        raise _too_many("tags", registry.settings.max_tags, "max_tags")
    return known


def is_new_version(connection: Connection, registry: Registry, package: PackageRow, version: str, hash: str) -> bool:
    """Return whether the version is free; False if this state has it already.

    Raise `Conflict` if another state has it, or had it before the package was deleted; `QuotaExceeded` if it would
    exceed the limit.
    """
    known = states.version_of(connection, package.id, version_key(version))
    if known is not None and known.hash != hash:
        raise Conflict(
            f"version {known.version} of {package.full_name} is sha256:{known.hash[:12]}…, and versions never move",
            hint=f"datapkg version ls {package.full_name}",
            expected=hash,
            actual=known.hash,
        )
    if known is None:
        check_not_retired(connection, package.user, package.name, version, hash)
    if known is None and states.count_versions(connection, package.id) >= registry.settings.max_versions:
        raise _too_many("versions", registry.settings.max_versions, "max_versions")
    return known is None


def check_not_retired(connection: Connection, user: str, name: str, version: str, hash: str) -> None:
    """Raise `Conflict` if another state had this version before the package was deleted."""
    retired = numbers.retired_version(connection, user, name, version_key(version))
    if retired is not None and retired[1] != hash:
        raise Conflict(
            f"version {retired[0]} of {user}/{name} was sha256:{retired[1][:12]}… before the package was deleted, and "
            "versions never name other content",
            hint="give another version",
            expected=hash,
            actual=retired[1],
        )


def add_version(
    connection: Connection, request: PackageRequest, package: PackageRow, version: str, built: StateWheels
) -> None:
    """Give a state of the package a version in normal form, and its wheel; raise `Conflict` if another state has it."""
    hash, now = built.state, request.registry.now()
    if not is_new_version(connection, request.registry, package, version, hash):
        return
    states.add_version(connection, package.id, Version(version_key(version), version, hash, now))
    number = numbers.of_state(connection, package.id, hash)
    assert number is not None
    wheel = built.keep(connection, version, number, now)
    request.record(connection, "package:version", version=version, hash=hash, wheel=wheel.object)


def in_order(versions: Iterable[str]) -> list[str]:
    """Return versions in PEP 440 order."""
    return sorted(versions, key=_parsed)


# Parsing 10,000 versions takes 0.1 s, and several requests of each page ask for all of them.
_parsed = lru_cache(maxsize=100_000)(Pep440)


def version_key(version: str) -> str:
    """Return a key that is equal for versions that PEP 440 calls equal: 1.0 and 1.0.0."""
    return canonicalize_version(version)


def state_not_found(package: PackageRow, prefix: str) -> ObjectNotFound:
    """Return the error for a hash, or the beginning of one, that no state of the package has."""
    return ObjectNotFound(
        f"{package.full_name} has no state sha256:{prefix}", hint=f"datapkg log {package.full_name}", hash=prefix
    )


def tag_not_found(package: PackageRow, tag: str) -> TagNotFound:
    """Return the error for a tag that the package does not have."""
    return TagNotFound(
        f"{package.full_name} has no tag {quoted(tag)}", hint=f"datapkg tag ls {package.full_name}", tag=tag
    )


def _check_state(connection: Connection, package: PackageRow, hash: str) -> None:
    if states.find(connection, package.id, hash) is None:
        raise state_not_found(package, hash)


def _too_many(what: str, limit: int, setting: str) -> QuotaExceeded:
    return QuotaExceeded(
        f"a package may have at most {limit:,} {what} ({setting_name(setting)})",
        limit=limit,
        setting=setting_name(setting),
    )
