"""History: the pushes of a package, and the tags and versions that name its states."""

from __future__ import annotations

from typing import Any

import msgspec

from datapkg.arrival import allowed_registry
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.names import Ref, check_new_version, check_tag
from datapkg.home import Home, not_installed
from datapkg.remote.client import Client


def log(home: Home, ref: Ref, *, remote: bool | None = None, registry: str | None = None) -> list[dict[str, Any]]:
    """What happened to a package, newest first: the pushes at its registry, or the events on this machine.

    `remote` None takes the registry's where one is set and has the package, else this machine's.
    """
    local = [_local_entry(event) for event in home.store.refs.log(ref.user, ref.name)]
    if remote is False or (remote is None and not _has_registry(home, ref, registry)):
        if not local:
            raise not_installed(ref.at(None))
        return local
    try:
        client = _client(home, ref, registry)
        return [{"event": "push", "origin": client.url, **_remote_entry(entry)} for entry in client.log(ref)]
    except NotFound:
        if remote or not local:
            raise
        return local


def _has_registry(home: Home, ref: Ref, registry: str | None) -> bool:
    return bool(registry or ref.registry or home.setting("registry").value)


def _local_entry(event: Any) -> dict[str, Any]:
    return {
        "event": event.event,
        "hash": event.hash,
        "at": event.at,
        "author": "",
        "message": event.message,
        "tags": [],
        "versions": [],
        "origin": event.origin,
    }


def _remote_entry(entry: Any) -> dict[str, Any]:
    return {
        "hash": entry.hash,
        "at": entry.pushed_at,
        "author": entry.author,
        "message": entry.message,
        "tags": entry.tags,
        "versions": entry.versions,
    }


def tags(home: Home, ref: Ref, registry: str | None = None) -> dict[str, str]:
    """The tags of a package at its registry: name to hash, in order."""
    return dict(sorted(_client(home, ref, registry).tags(ref).items()))


def set_tag(home: Home, ref: Ref, tag: str, registry: str | None = None) -> dict[str, str]:
    """Makes a tag name the ref's state (`latest` where it has none)."""
    client = _client(home, ref, registry)
    hash = client.resolve(ref).hash
    client.set_tag(ref, check_tag(tag), hash)
    return {"package": ref.package, "tag": tag, "hash": hash}


def remove_tag(home: Home, ref: Ref, tag: str, registry: str | None = None) -> None:
    """Removes a tag at the registry; the state that it named stays."""
    _client(home, ref, registry).remove_tag(ref, check_tag(tag))


def versions(home: Home, ref: Ref, registry: str | None = None) -> list[dict[str, Any]]:
    """The versions of a package at its registry, in the order of PEP 440."""
    return [msgspec.structs.asdict(entry) for entry in _client(home, ref, registry).versions(ref)]


def add_version(home: Home, ref: Ref, version: str, registry: str | None = None) -> dict[str, str]:
    """Gives the ref's state (`latest` where it has none) a version, for good."""
    client = _client(home, ref, registry)
    version = check_new_version(version)
    hash = client.resolve(ref).hash
    client.add_version(ref, version, hash)
    return {"package": ref.package, "version": version, "hash": hash}


def _client(home: Home, ref: Ref, registry: str | None) -> Client:
    if ref.path:
        raise InvalidInput(f"{ref} names a node; tags and versions are of whole packages")
    return home.client(allowed_registry(home, ref, registry))
