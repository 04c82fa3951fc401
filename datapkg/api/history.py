"""The tags and versions that name states of a package.

Everywhere, a tag or version is `{name, hash, created_at}`, and a version has `yanked` too: the reason of a yanked one
("" without), or None. Lists of tags are ordered by name, versions by PEP 440.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from datapkg.api.states import unpushed_build
from datapkg.errors import Conflict, InvalidInput
from datapkg.format import wire
from datapkg.format.names import Ref, check_new_version, check_tag
from datapkg.format.versions import matching
from datapkg.home import Home
from datapkg.origins import allowed_registry
from datapkg.remote.client import Client
from datapkg.resolve import LATEST

Kind = Literal["tag", "version"]
_SHOWN_DIGITS = 12
_NEVER = datetime.min.replace(tzinfo=UTC)


def tags(home: Home, ref: Ref, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the tags of a package at its registry, by name, each as {name, hash, created_at} (when it last moved)."""
    return tags_at(client_of(home, ref, registry), ref)


def tags_at(client: Client, ref: Ref) -> list[dict[str, Any]]:
    """Return the tags of a package at this registry, by name."""
    found = client.tag_list(ref)
    return [
        {"name": name, "hash": hash, "created_at": found.moved_at.get(name)}
        for name, hash in sorted(found.tags.items())
    ]


def versions(home: Home, ref: Ref, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the versions of a package at its registry, in PEP 440 order, each as {name, hash, created_at, yanked}."""
    return versions_at(client_of(home, ref, registry), ref)


def versions_at(client: Client, ref: Ref) -> list[dict[str, Any]]:
    """Return the versions of a package at this registry, in PEP 440 order."""
    return _version_dicts(client.versions(ref))


def _version_dicts(entries: list[wire.VersionEntry]) -> list[dict[str, Any]]:
    return [
        {"name": each.version, "hash": each.hash, "created_at": each.created_at or None, "yanked": each.yanked}
        for each in entries
    ]


def state_to_name(home: Home, ref: Ref, kind: Kind, name: str, registry: str | None = None) -> dict[str, Any]:
    """Return the log entry of the state that a new name would be given to: the ref's, else the registry's latest.

    Raise `Conflict` if the ref names no state and the newest one on this machine was never pushed: then the registry's
    latest is probably not the intended one.
    """
    client = client_of(home, ref, registry)
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
    client = client_of(home, ref, registry)
    _remember_tags(home, ref, client.set_tag(ref, tag, hash).tags, tag)
    return {"package": ref.package, "name": tag, "hash": hash}


def remove_tag(home: Home, ref: Ref, tag: str, registry: str | None = None) -> None:
    """Remove a tag at the registry; its state is kept."""
    _remember_tags(home, ref, client_of(home, ref, registry).remove_tag(ref, check_tag(tag)).tags)


def add_version(home: Home, ref: Ref, version: str, registry: str | None = None) -> dict[str, Any]:
    """Give the ref's state, or the registry's latest (see `state_to_name`), a version, which can never be moved."""
    version = check_new_version(version, f"datapkg tag add {ref} {version}")
    hash = _named_hash(home, ref, "version", version, registry)
    found = client_of(home, ref, registry).add_version(ref, version, hash).versions
    if home.store.refs.current(ref):
        home.store.refs.set_pointers(ref, "versions", {each.version: each.hash for each in found})
    return {"package": ref.package, "name": version, "hash": hash}


def set_yanked(home: Home, ref: Ref, reason: str | None, registry: str | None = None) -> dict[str, Any]:
    """Yank the version that a ref names, or for None, undo that; return the package, name, hash and `yanked`.

    Ranges no longer mean a yanked version; its own name, its tags and its hash still do (PEP 592). Raise
    `VersionNotFound`; `InvalidInput` for a ref without a version.
    """
    if ref.state is None or ref.state.kind != "version":
        what = f"{ref} names no version; a version is yanked, not a tag, a hash or a whole package"
        line = f"datapkg version yank {ref.package}@1.2.0"
        raise InvalidInput(what, hint=line if reason is not None else f"datapkg version unyank {ref.package}@1.2.0")
    if len(reason or "") > wire.MAX_REASON:
        raise InvalidInput(f"the reason has {len(str(reason)):,} characters; at most {wire.MAX_REASON:,} are allowed")
    found = _version_dicts(client_of(home, ref, registry).set_yanked(ref, ref.state.value, reason).versions)
    refs = home.store.refs
    if refs.current(ref):
        refs.set_pointers(ref, "versions", {each["name"]: each["hash"] for each in found})
        refs.set_yanked(ref, {each["name"]: each["yanked"] for each in found if each["yanked"] is not None})
    name = matching(ref.state, [each["name"] for each in found])[0]
    done = next(each for each in found if each["name"] == name)
    return {"package": ref.package, "name": name, "hash": done["hash"], "yanked": done["yanked"]}


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


def client_of(home: Home, ref: Ref, registry: str | None) -> Client:
    """Return the registry of a whole package."""
    check_whole_package(ref)
    return home.client(allowed_registry(home, ref, registry))


def check_whole_package(ref: Ref) -> None:
    """Raise `InvalidInput` if the ref names a node."""
    if ref.path:
        raise InvalidInput(f"{ref} names a node; the log, tags and versions are of whole packages")
