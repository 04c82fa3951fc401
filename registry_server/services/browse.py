"""Packages, their states and logs, and resolving a text to a state."""

from __future__ import annotations

import base64
import json
from typing import Any

from sqlalchemy import Connection

from datapkg.errors import Conflict, InvalidInput
from datapkg.format import wire
from datapkg.format.dates import check_past, moment, no_state_then
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import State
from datapkg.format.record_lists import LISTS
from datapkg.format.record_packages import packages_of
from datapkg.format.texts import quoted
from datapkg.format.versions import find_version
from registry_server.db import events, numbers, packages, states
from registry_server.db.packages import LATEST, PackageLine, PackageRow
from registry_server.services import downloads, policy, tags_versions, wheels
from registry_server.services.policy import Actor, PackageRequest
from registry_server.services.registry import Registry
from registry_server.services.search_matches import Originals, explain, read_originals

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_QUERY, MAX_WORDS = 200, 10
MAX_CANDIDATES = 20


def find_packages(
    registry: Registry,
    actor: Actor,
    *,
    query: str = "",
    user: str | None = None,
    recent: bool = False,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> wire.PackagePage:
    """Return visible packages that match every word of `query`, best first; without words by name, or newest first."""
    words = _words(query)
    limit = max(1, min(limit, MAX_LIMIT))
    after = _read_cursor(cursor, (int, str, str)) if cursor else None
    with registry.db.read() as connection:
        # One more than asked for shows whether there is a next page.
        found = packages.page(
            connection, actor.id, words, user=user, recent=recent and not words, after=after, limit=limit + 1
        )
        listed = [_summary(line, _matches(connection, words, line)) for line in found[:limit]]
    more = _write_cursor(found[limit - 1].key) if len(found) > limit else None
    return wire.PackagePage(packages=listed, next=more)


def _matches(connection: Connection, words: list[str], line: PackageLine) -> list[wire.SearchMatch]:
    def read() -> Originals:
        texts = packages.indexed_texts(connection, line.user, line.name)
        return read_originals(texts) if texts else Originals()

    return explain(words, line, read)


def info(request: PackageRequest) -> wire.PackageInfo:
    """Return a package as the actor sees it."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        tags = states.tags_of(connection, package.id)
        role = policy.role_in(request.actor, package)
        assert role in ("owner", "writer", "reader", "public")
        return wire.PackageInfo(
            package=package.full_name,
            public=package.public,
            role=role,
            latest=tags.get(LATEST),
            tags=tags,
            versions=tags_versions.version_entries(connection, package, wheels=True),
            created_at=package.created_at.isoformat(),
        )


def delete(request: PackageRequest, created_at: str | None = None) -> wire.Deleted:
    """Delete a package with its log, tags, versions and grants; the audit keeps a line about it.

    Its versions never name other states, also if it is pushed anew. With the time that `info` returned, raise
    `Conflict` for a package that was created anew since.
    """
    with request.registry.db.write() as connection:
        package = policy.writable(connection, request, "package:delete")
        if created_at and created_at != (now := package.created_at.isoformat()):
            raise Conflict(
                f"{package.full_name} was deleted and created anew, at {now}; it was not deleted again",
                hint=f"datapkg log {package.full_name} --remote",
            )
        numbers.retire(connection, package)
        packages.remove(connection, package.id)
        request.record(connection, "package:delete", public=package.public)
        return wire.Deleted(deleted=package.full_name)


def resolve(request: PackageRequest, text: str | None, *, with_packages: bool = False) -> wire.Resolved:
    """Return the state that a text means now: a hash or its prefix, a version, a tag, a range or a date.

    None is `latest`. `with_packages` adds the states of packages whose nodes it contains.
    """
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        wanted = State.parse(text) if text else State("tag", LATEST)
        tags = states.tags_of(connection, package.id)
        versions = tags_versions.version_entries(connection, package)
        tag = version = None
        if wanted.kind == "hash":
            hash = _by_hash(connection, package, wanted.value)
        elif wanted.kind == "tag":
            tag, hash = wanted.value, tags.get(wanted.value, "")
            if not hash:
                raise tags_versions.tag_not_found(package, tag)
        elif wanted.kind == "date":
            hash = _by_date(connection, request, package, wanted.value)
        else:
            hashes = {each.version: each.hash for each in versions}
            version = find_version(package.full_name, wanted, hashes, _yanked(versions))
            hash = hashes[version]
        state = states.find(connection, package.id, hash)
        seen, hidden = _packages(connection, request, package, hash) if with_packages else ([], 0)
    assert state is not None
    unchecked = state.unchecked_paths
    return wire.Resolved(
        package=package.full_name,
        hash=hash,
        version=version,
        tag=tag,
        manifest_size=state.manifest_size,
        bytes_logical=state.bytes_logical,
        tags=tags,
        versions={each.version: each.hash for each in versions},
        unchecked=None if unchecked is None else unchecked[: wire.MAX_UNCHECKED],
        yanked=_yanked(versions),
        packages=seen,
        hidden=hidden,
    )


def _packages(
    connection: Connection, request: PackageRequest, package: PackageRow, hash: str
) -> tuple[list[wire.PackageState], int]:
    """Return the packages in the record of a state that are here and that the actor may see, and the number of others.

    A package that is not there and one that the actor may not see are both only counted.
    """
    found = states.record_of(connection, package.id, hash)
    record = json.loads(found[0]) if found else {}
    if found and found[1] is not None and "packages" in (record.get(LISTS) or {}):
        record |= downloads.package_list(request.registry, found[1])
    named, hidden = packages_of(record)
    seen = []
    for ref, state in named:
        other = packages.find(connection, ref.user, ref.name, request.actor.id) if ref.registry is None else None
        if other is not None and states.find(connection, other.id, state) is not None:
            seen.append(wire.PackageState(package=ref.package, hash=state))
    return seen, hidden + len(named) - len(seen)


def _yanked(versions: list[wire.VersionEntry]) -> dict[str, str]:
    return {each.version: each.yanked for each in versions if each.yanked is not None}


def _by_date(connection: Connection, request: PackageRequest, package: PackageRow, value: str) -> str:
    """Return the state that was the latest at a moment: that of the last push, or to which `latest` was moved."""
    check_past(package.full_name, value, request.registry.now())
    at = moment(value)
    push = states.last_push(connection, package.id, at)
    if push is None:
        raise no_state_then(package.full_name, value, states.first_pushed_at(connection, package.id) or at)
    for moved_at, hash in events.moves_of_tag(connection, package.full_name, LATEST, push[0], at):
        if moved_at >= push[0] and states.find(connection, package.id, hash):
            return hash
    return push[1]


def _by_hash(connection: Connection, package: PackageRow, prefix: str) -> str:
    found = states.beginning_with(connection, package.id, prefix, MAX_CANDIDATES)
    if not found:
        raise tags_versions.state_not_found(package, prefix)
    if len(found) > 1:
        raise InvalidInput(
            f"sha256:{prefix} is the beginning of several states of {package.full_name}: {', '.join(found)}",
            hint="give more digits of the hash",
            candidates=found,
        )
    return found[0]


def log(request: PackageRequest, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT) -> wire.LogPage:
    """Return the pushes of a package, newest first, each with the tags and versions of its state."""
    limit = max(1, min(limit, MAX_LIMIT))
    before = _read_cursor(cursor, (int,))[0] if cursor else None
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        lines = states.pushes_of(connection, package.id, before=before, limit=limit + 1)
        hashes = {line.hash for line in lines}
        tags, versions = states.names_of(connection, package.id, hashes)
        numbered = numbers.of_states(connection, package.id, hashes)
        built = wheels.of_states(connection, package, numbered)
    entries = [
        wire.LogEntry(
            hash=line.hash,
            author=line.author,
            message=line.message,
            pushed_at=line.pushed_at.isoformat(),
            parent=line.parent,
            parents=line.all_parents,
            tags=tags.get(line.hash, []),
            versions=tags_versions.in_order(versions.get(line.hash, [])),
            bytes_logical=line.bytes_logical,
            number=numbered.get(line.hash),
            wheel=built.get(line.hash),
        )
        for line in lines[:limit]
    ]
    return wire.LogPage(entries=entries, next=_write_cursor([lines[limit - 1].id]) if len(lines) > limit else None)


def checks(request: PackageRequest, hash: str) -> wire.StateChecks:
    """Return the checks in the record of a state; no other part of the record leaves the registry.

    A reader of the data may know its checks, and needs them to build a new state from it.
    """
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        found = states.record_of(connection, package.id, hash)
    if found is None:
        raise tags_versions.state_not_found(package, hash[:64])
    record = json.loads(found[0])
    if found[1] is not None:
        record |= downloads.check_lists(request.registry, found[1])
    entries = {key: record.get(key) if isinstance(record.get(key), list) else [] for key in ("checks", "rules")}
    return wire.StateChecks(
        checks=[each for each in entries["checks"] if isinstance(each, dict)],
        rules=[each if isinstance(each, str) else "" for each in entries["rules"]],
    )


def record_key(request: PackageRequest, hash: str) -> str:
    """Return a key of the record of a state, another one after each change of it: a push may change only the record."""
    with request.registry.db.read() as connection:
        found = states.record_of(connection, policy.readable(connection, request).id, hash)
    return hash_bytes(json.dumps(found).encode())


def _summary(line: PackageLine, matches: list[wire.SearchMatch]) -> wire.PackageSummary:
    return wire.PackageSummary(
        package=f"{line.user}/{line.name}",
        public=line.public,
        latest=line.latest,
        title=line.title,
        description=line.description,
        pushed_at=line.pushed_at.isoformat(),
        bytes_logical=line.bytes_logical,
        matches=matches,
    )


def _words(query: str) -> list[str]:
    words = query.casefold().replace("\0", " ").split()
    if len(query) > MAX_QUERY or len(words) > MAX_WORDS:
        raise InvalidInput(f"a search has at most {MAX_WORDS} words and {MAX_QUERY} characters; got {quoted(query)}")
    return words


def _is_text(value: str) -> bool:
    """Return whether a database accepts it: no NUL, and no lone surrogate, which JSON can write (`"\\ud800"`)."""
    return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)


def _write_cursor(key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode()


def _read_cursor(text: str, types: tuple[type, ...]) -> list[Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, RecursionError):
        key = None
    # A cursor may have been changed by the client: to isinstance a boolean is an int, and databases take 64 bits.
    if (
        not isinstance(key, list)
        or len(key) != len(types)
        or any(type(value) is not kind for value, kind in zip(key, types, strict=True))
        or any(isinstance(value, int) and abs(value) >= 1 << 63 for value in key)
        or any(isinstance(value, str) and not _is_text(value) for value in key)
    ):
        raise InvalidInput(f"{quoted(text)} is not a valid cursor", hint="leave out the cursor to get the first page")
    return key
