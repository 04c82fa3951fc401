"""History: the log of a package, and the tags and versions that name its states.

Everywhere, a tag or version is `{name, hash, created_at}`; lists of tags are ordered by name, versions by PEP 440.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from datapkg.api.states import named, unpushed_build
from datapkg.errors import Conflict, InvalidInput, NotFound, ObjectNotFound, Unreachable
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.review import review
from datapkg.format.names import Ref, check_new_version, check_tag
from datapkg.home import Home
from datapkg.remote.client import Client
from datapkg.resolve import LATEST, allowed_registry, find_installed, not_installed

Kind = Literal["tag", "version"]
_SHOWN_DIGITS = 12
_NEVER = datetime.min.replace(tzinfo=UTC)


def log(
    home: Home, ref: Ref, *, remote: bool | None = None, registry: str | None = None, changes: bool = False
) -> list[dict[str, Any]]:
    """Return the log of a package, newest first: pushes at its registry, builds and installs on this machine.

    `remote` True omits this machine, False the registry; None includes both if a registry is configured. A state in the
    ref selects the entries of that state. Each entry has event, hash, created_at, author, message, tags, versions and
    origin; with `changes` also `changes` from the previous state (see `format.manifest.review`), None if one of the two
    is neither here nor at the registry. Raise the errors of a registry, `ObjectNotFound`, `VersionNotFound`,
    `TagNotFound`.
    """
    _check_package(ref)
    client = (
        None if remote is False or not (remote or _has_registry(home, ref, registry)) else _client(home, ref, registry)
    )
    local = [] if remote else _local_entries(home, ref)
    pushes: list[dict[str, Any]] = []
    if client:
        try:
            pushes = _pushes(client, ref)
        except NotFound:
            if remote or not local:
                raise
            client = None
        except Unreachable as error:
            if local:
                error.explain("", f"datapkg log {ref.package} --local")
            raise
    if not (pushes or local):
        raise not_installed(ref.at(None))
    entries = _merged(pushes, local)
    wanted = (
        [each for each in entries if each["hash"] == _hash_of(home, client, ref, entries)] if ref.state else entries
    )
    if changes:
        _add_changes(home, client, ref, entries, wanted)
    return [{key: value for key, value in each.items() if key != "parent"} for each in wanted]


def _has_registry(home: Home, ref: Ref, registry: str | None) -> bool:
    return bool(registry or ref.registry or home.settings.get("registry").value)


def _local_entries(home: Home, ref: Ref) -> list[dict[str, Any]]:
    refs = home.store.refs
    tags, versions = refs.tags(ref), refs.versions(ref)
    return [
        {
            "event": event.event,
            "hash": event.hash,
            "created_at": event.at,
            "author": "",
            "message": event.message,
            "tags": named(tags, event.hash),
            "versions": named(versions, event.hash),
            "origin": event.origin,
            "parent": event.record.get("parent"),
        }
        for event in refs.log(ref)
    ]


def _pushes(client: Client, ref: Ref) -> list[dict[str, Any]]:
    entries = list(client.log(ref))
    tags, versions = _tags(client, ref), _versions(client, ref)
    return [
        {
            "event": "push",
            "hash": entry.hash,
            "created_at": entry.pushed_at,
            "author": entry.author,
            "message": entry.message,
            "tags": [each for each in tags if each["hash"] == entry.hash],
            "versions": [each for each in versions if each["hash"] == entry.hash],
            "origin": client.url,
            "parent": entry.parent,
        }
        for entry in entries
    ]


def _merged(pushes: list[dict[str, Any]], local: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge both logs, newest first; a push is listed once, with the tags and versions of the registry."""
    known = {(each["hash"], each["origin"]) for each in pushes}
    names = {each["hash"]: (each["tags"], each["versions"]) for each in pushes}
    here = [each for each in local if each["event"] != "push" or (each["hash"], each["origin"]) not in known]
    for each in here if pushes else ():
        each["tags"], each["versions"] = names.get(each["hash"], ([], []))
    return sorted([*pushes, *here], key=lambda each: _time(each["created_at"]), reverse=True)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _NEVER
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _hash_of(home: Home, client: Client | None, ref: Ref, entries: list[dict[str, Any]]) -> str:
    """Return the full hash of the ref's state."""
    assert ref.state is not None
    if ref.state.kind == "hash":
        found = sorted({each["hash"] for each in entries if each["hash"].startswith(ref.state.value)})
        if not found:
            raise ObjectNotFound(
                f"the log of {ref.package} has no state {ref.state}", hint=f"datapkg log {ref.package}"
            )
        if len(found) > 1:
            listed = ", ".join(each[:16] for each in found)
            raise InvalidInput(f"{ref} is not one state: the hashes {listed} begin so", candidates=found)
        return found[0]
    return client.resolve(ref).hash if client else find_installed(home, ref).hash


def _add_changes(
    home: Home, client: Client | None, ref: Ref, entries: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    """Add to each wanted entry the changes from its parent: the recorded one, else the previous state in the log."""
    manifests: dict[str, Manifest | None] = {}

    def manifest(hash: str) -> Manifest | None:
        if hash not in manifests:
            manifests[hash] = _manifest(home, client, ref, hash)
        return manifests[hash]

    for number, entry in enumerate(entries):
        if entry not in wanted:
            continue
        older = (each["hash"] for each in entries[number + 1 :] if each["hash"] != entry["hash"])
        parent = entry["parent"] or next(older, None)
        before, after = manifest(parent) if parent else None, manifest(entry["hash"])
        is_known = after is not None and (before is not None or not parent)
        entry["changes"] = review(before, after) if is_known and after is not None else None


def _manifest(home: Home, client: Client | None, ref: Ref, hash: str) -> Manifest | None:
    """Return the manifest of a state, from this machine or the registry; None if neither has it."""
    try:
        if home.store.has(hash):
            return home.store.manifest(hash)
        return Manifest.parse(client.manifest(ref, hash), hash) if client else None
    except NotFound:
        return None


def tags(home: Home, ref: Ref, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the tags of a package at its registry, by name, each as {name, hash, created_at} (when it last moved)."""
    return _tags(_client(home, ref, registry), ref)


def _tags(client: Client, ref: Ref) -> list[dict[str, Any]]:
    found = client.tag_list(ref)
    return [
        {"name": name, "hash": hash, "created_at": found.moved_at.get(name)}
        for name, hash in sorted(found.tags.items())
    ]


def versions(home: Home, ref: Ref, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the versions of a package at its registry, in PEP 440 order, each as {name, hash, created_at}."""
    return _versions(_client(home, ref, registry), ref)


def _versions(client: Client, ref: Ref) -> list[dict[str, Any]]:
    return [
        {"name": each.version, "hash": each.hash, "created_at": each.created_at or None}
        for each in client.versions(ref)
    ]


def state_to_name(home: Home, ref: Ref, kind: Kind, name: str, registry: str | None = None) -> dict[str, Any]:
    """Return the log entry of the state that a new name would be given to: the ref's, else the registry's latest.

    Raise `Conflict` if the ref names no state and the newest one on this machine was never pushed: then the registry's
    latest is probably not the intended one.
    """
    client = _client(home, ref, registry)
    hash = client.resolve(ref).hash
    if ref.state is None and (build := unpushed_build(home, ref, hash)):
        raise Conflict(
            f"the newest state of {ref.package} on this machine, sha256:{build.hash[:_SHOWN_DIGITS]}, was not pushed; "
            f"the {kind} {name} would name another one, the registry's latest sha256:{hash[:_SHOWN_DIGITS]}",
            hint=f"datapkg push {ref.package} --{kind} {name} (if the registry's latest is meant, add to the command: "
            f"--state sha256:{hash[:_SHOWN_DIGITS]})",
            expected=build.hash,
            actual=hash,
        )
    entry = next((each for each in client.log(ref) if each.hash == hash), None)
    return {
        "hash": hash,
        "created_at": entry.pushed_at if entry else None,
        "author": entry.author if entry else "",
        "message": entry.message if entry else "",
        "origin": client.url,
    }


def set_tag(home: Home, ref: Ref, tag: str, registry: str | None = None) -> dict[str, Any]:
    """Set a tag to the ref's state, or to the registry's latest if it names none (see `state_to_name`)."""
    hash = _named_hash(home, ref, "tag", check_tag(tag, f"datapkg version add {ref} {tag}"), registry)
    client = _client(home, ref, registry)
    _remember_tags(home, ref, client.set_tag(ref, tag, hash).tags, tag)
    return {"package": ref.package, "name": tag, "hash": hash}


def remove_tag(home: Home, ref: Ref, tag: str, registry: str | None = None) -> None:
    """Remove a tag at the registry; its state is kept."""
    _remember_tags(home, ref, _client(home, ref, registry).remove_tag(ref, check_tag(tag)).tags)


def add_version(home: Home, ref: Ref, version: str, registry: str | None = None) -> dict[str, Any]:
    """Give the ref's state, or the registry's latest (see `state_to_name`), a version, which can never be moved."""
    version = check_new_version(version)
    hash = _named_hash(home, ref, "version", version, registry)
    found = _client(home, ref, registry).add_version(ref, version, hash).versions
    if home.store.refs.current(ref):
        home.store.refs.set_pointers(ref, "versions", {each.version: each.hash for each in found})
    return {"package": ref.package, "name": version, "hash": hash}


def _remember_tags(home: Home, ref: Ref, tags: dict[str, str], moved: str = "") -> None:
    """Store the registry's tags of an installed package, except `latest`, unless that tag was moved by this command.

    The `latest` that was last seen is the parent of the next push; storing a newer one would hide what others pushed.
    """
    refs = home.store.refs
    if refs.current(ref) is None:
        return
    own = refs.tags(ref).get(LATEST)
    kept = {tag: hash for tag, hash in tags.items() if tag != LATEST or moved == LATEST}
    refs.set_pointers(ref, "tags", {**({LATEST: own} if own else {}), **kept})


def _named_hash(home: Home, ref: Ref, kind: Kind, name: str, registry: str | None) -> str:
    if ref.state is not None and ref.state.is_full_hash:
        return ref.state.value
    hash: str = state_to_name(home, ref, kind, name, registry)["hash"]
    return hash


def _client(home: Home, ref: Ref, registry: str | None) -> Client:
    _check_package(ref)
    return home.client(allowed_registry(home, ref, registry))


def _check_package(ref: Ref) -> None:
    if ref.path:
        raise InvalidInput(f"{ref} names a node; the log, tags and versions are of whole packages")
