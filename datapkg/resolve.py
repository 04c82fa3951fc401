"""Resolve a ref: to a state on this machine, or to one of a registry, whose manifest and pointers are then kept."""

from __future__ import annotations

from itertools import islice

from datapkg.errors import (
    Conflict,
    DatapkgError,
    HashMismatch,
    InvalidInput,
    NotFound,
    PackageNotFound,
    PackageNotInstalled,
    TagNotFound,
    Unreachable,
    VersionNotFound,
)
from datapkg.format.frozen import dataclass
from datapkg.format.names import Ref, State
from datapkg.format.suggestions import close_names, did_you_mean
from datapkg.home import Home
from datapkg.lock_search import add_line, deciding_lock, install_line, warn_unpinned
from datapkg.origins import allowed_registry, consent_line, pinned_registry
from datapkg.wheel_pins import FETCH_LINE, is_wheel_pin, wheel_pin

LATEST = "latest"
_UNCHECKED = "unchecked:"
# Among how many of the newest events one is looked for whose state has a long manifest.
_EVENTS = 8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from datapkg.format import wire
    from datapkg.format.lockfile import Lock, Pin
    from datapkg.format.manifest.parsed import Manifest
    from datapkg.remote.client import Client
    from datapkg.store.refs import Current, Refs
    from datapkg.store.store import Store


@dataclass(frozen=True)
class ResolvedState:
    """A state of a package in a store, and what decided it.

    `why` is "ref", "current", the path of a lock or of a wheel's pin, or the URL of a registry.
    """

    store: Store
    ref: Ref
    hash: str
    why: str


def find_installed(home: Home, ref: Ref, start: Path | None = None, *, of_code: bool = False) -> ResolvedState:
    """Return the installed state of a package: the ref's own, else the lock's, a wheel's, or the current one.

    `start` is where the search for a lock begins, by default the working directory; with `of_code`, the lock of the
    running code comes before (see `deciding_lock`). Raise `PackageNotInstalled` (with the command that installs it),
    `VersionNotFound` or `TagNotFound`. Of a state that a wheel pins, `detail["wheel"]` is then the wheel's pin.
    """
    if ref.state is not None:
        return _find_state(home, ref, ref.state)
    lock = deciding_lock(home, start, of_code=of_code)
    if pinned := _pin_in(lock, ref):
        path, hash = str(pinned[0]), pinned[1].hash
        for store in home.stores:
            if store.holds(hash):
                store.known_locks.note(path)
                return ResolvedState(store, ref, hash, path)
        message = f"{ref.package} is pinned to sha256:{hash[:12]}… by {path}, and that state is not installed"
        if is_wheel_pin(path):
            raise PackageNotInstalled(message, hint=FETCH_LINE, wheel=path)
        raise PackageNotInstalled(message, hint=install_line(*pinned, start))
    for store in home.stores:
        if current := store.refs.current(ref):
            if lock and of_code and current.origin != "local":
                warn_unpinned(lock[0], ref.package)
            return ResolvedState(store, ref, store.here(ref, current.hash), "current")
    raise _not_pinned(lock[0], ref, home) if lock else not_installed(ref, home)


def _not_pinned(lock: Path, ref: Ref, home: Home) -> PackageNotInstalled:
    error = not_installed(ref, home)
    message = f"{error.message}, and {lock} does not pin it"
    return PackageNotInstalled(message, hint=add_line(lock, ref.package), package=ref.package)


def _pin_in(lock: tuple[Path, Lock] | None, ref: Ref) -> tuple[Path, Pin] | None:
    """Return the path of the lock that decides, or of the wheel's pin, and what it pins a package to, if it does."""
    pin = lock[1].pin_for(ref.package) if lock else None
    return (lock[0], pin) if lock and pin else wheel_pin(ref.package)


def _find_state(home: Home, ref: Ref, state: State) -> ResolvedState:
    freed = None
    for store in home.stores:
        hash = _hash_of(store.refs, ref, state)
        if hash and store.holds(hash):
            return ResolvedState(store, ref, hash, "ref")
        freed = freed or (store.freed(ref, hash) if hash else None)
    is_known = any(store.refs.current(ref) for store in home.stores)
    if not is_known or state.kind == "hash":
        raise freed or not_installed(ref, home)
    error = TagNotFound if state.kind == "tag" else VersionNotFound
    wanted = f"{ref.package}@sha256:{state.value}" if _looks_like_hash(state.value) else str(ref)
    raise error(f"{ref} is not installed here", hint=f"datapkg install {_quoted(wanted)}")


def _quoted(ref: str) -> str:
    from shlex import quote  # only errors need it

    return quote(ref)


def _looks_like_hash(tag: str) -> bool:
    """Return whether a tag is probably a hash whose `sha256:` was forgotten."""
    return len(tag) >= 12 and not tag.strip("0123456789abcdef")


def _hash_of(refs: Refs, ref: Ref, state: State) -> str | None:
    """Return the hash that a state means by the pointers of a store; raise `InvalidInput` if it is ambiguous."""
    if state.kind == "tag":
        return refs.tags(ref).get(state.value)
    if state.kind == "date":
        return refs.dates(ref).get(state.value)
    if state.kind != "hash":
        return _version_hash(refs, ref, state)
    matches = [state.value] if state.is_full_hash else sorted(refs.known_hashes(ref, state.value))
    if len(matches) > 1:
        listed = ", ".join(each[:16] for each in matches)
        raise InvalidInput(f"{ref} is ambiguous: the hashes {listed} begin like this", candidates=matches)
    return matches[0] if matches else None


def _version_hash(refs: Refs, ref: Ref, state: State) -> str | None:
    versions = refs.versions(ref)
    if state.value in versions:
        return versions[state.value]
    from datapkg.format.versions import best_version

    found = best_version(state, versions, refs.yanked(ref))
    return versions[found] if found else None


def not_installed(ref: Ref, home: Home | None = None) -> PackageNotInstalled:
    """Return the error for a package that is not installed, with a package of this `home` that has a similar name."""
    here = [f"{user}/{name}" for user in home.users() for name in home.packages(user)] if home else []
    near = [each for each in close_names(ref.package, here, cutoff=0.8) if each != ref.package][:1]
    message = f"{ref} is not installed{did_you_mean(near)}"
    return PackageNotInstalled(message, hint=f"datapkg install {_quoted(str(ref))}", package=ref.package)


def resolve(home: Home, client: Client, ref: Ref, *, replace: bool = False) -> wire.Resolved:
    """Return what a ref means at its registry now.

    Raise `HashMismatch` for another hash than the one asked for; `Conflict` where the package came from another
    registry, unless `replace`.
    """
    resolved = client.resolve(ref)
    if ref.state and ref.state.kind == "hash" and not resolved.hash.startswith(ref.state.value):
        raise HashMismatch(
            f"the registry answered with state {resolved.hash}, which is not the one asked for: {ref}",
            expected=ref.state.value,
            actual=resolved.hash,
        )
    current = home.store.refs.current(ref)
    if current and current.origin not in ("local", client.url) and not replace:
        raise Conflict(
            f"{ref.package} is installed from {current.origin}; {client.url} is another registry and may mean another "
            "package",
            hint=f"datapkg install --replace {ref}",
            installed_from=current.origin,
            asked_of=client.url,
        )
    return resolved


def fetch_manifest(home: Home, client: Client, ref: Ref, resolved: wire.Resolved) -> Manifest:
    """Return the manifest of a state, from here or from the registry; its hash and size are those that were resolved.

    Of a long one only what no earlier one has that is here is fetched and read.
    """
    # An import of an installed package resolves its ref, and must not load what only a fetch needs.
    from datapkg.format.manifest.patch import read_manifest

    hash = resolved.hash
    if home.store.has(hash):
        return home.store.manifest(hash)
    older = _earlier_manifest(home, ref)
    data = client.mapped_manifest(ref, hash, home.store.tmp, older, resolved.manifest_size)
    return read_manifest(data, hash, older=older)


def _earlier_manifest(home: Home, ref: Ref) -> Manifest | None:
    """Return a long manifest of the package on this machine, if possible the last that a registry had."""
    from datapkg.format.chunks import LONG_BYTES

    refs = home.store.refs
    known = [refs.tags(ref).get(LATEST, "")]
    known += [current.hash] if (current := refs.current(ref)) else []
    known += [hash for hash, _ in islice(refs.logged(ref), _EVENTS)]
    for hash in dict.fromkeys(known):
        if hash and home.store.has(hash) and home.store.objects.size(hash) >= LONG_BYTES:
            return home.store.manifest(hash)
    return None


def keep(home: Home, ref: Ref, manifest: Manifest, resolved: wire.Resolved) -> None:
    """Save a manifest, and the registry's tags, versions and list of unchecked tables."""
    save(home, manifest, resolved.unchecked)
    home.store.refs.set_pointers(ref, "tags", resolved.tags)
    home.store.refs.set_pointers(ref, "versions", resolved.versions)
    home.store.refs.set_yanked(ref, resolved.yanked)
    if ref.state and ref.state.kind == "date":
        home.store.refs.keep_date(ref, ref.state.value, resolved.hash)


def save(home: Home, manifest: Manifest, unchecked: list[str] | None) -> None:
    """Save a manifest and which of its tables the registry has not checked.

    None if that is not known, as of a bundle: then what a registry said before remains.
    """
    import json

    home.store.use(manifest)
    home.store.save(manifest, downloaded=True)
    key = f"{_UNCHECKED}{manifest.hash}"
    if unchecked is not None or not home.index.get_many([key]):
        home.index.put_many({key: json.dumps(unchecked).encode()})


def unchecked_tables(home: Home, manifest: Manifest, path: str = "") -> list[str]:
    """Return the paths of tables, below a path, whose content neither the registry nor this machine has checked.

    They are those that the registry named when the state came from it; all, if it did not say.
    """
    import json

    from datapkg.format.manifest.parsed import TableNode

    found = home.index.get_many([_UNCHECKED + manifest.hash])
    named = json.loads(found[_UNCHECKED + manifest.hash]) if found else []
    if named == []:
        return []
    is_meant = set(named).__contains__ if named is not None else lambda _: True
    tables = [node for node in manifest.entries(path) if isinstance(node, TableNode) and is_meant(node.path)]
    home.store.claims.look_up(tables)
    return [table.path for table in tables if not home.store.claims.is_verified(table)]


def checks_of(client: Client, ref: Ref, hash: str) -> dict[str, Any]:
    """Return the checks in the record of a state at its registry; empty if the registry does not give them."""
    from msgspec import to_builtins

    try:
        entry: dict[str, Any] = to_builtins(client.checks(ref, hash))
    except DatapkgError:  # of whatever kind: no install fails for it, and nothing that is shown
        return {}
    return {key: value for key, value in entry.items() if value}


def make_current(
    home: Home, ref: Ref, manifest: Manifest, origin: str, partial: bool, record: dict[str, Any] | None = None
) -> Current | None:
    """Move the pointer of a package to this state, with an event in the log; return what was current before.

    `partial` says that objects of it may be left out on purpose; `record` is kept with the event.
    """
    from datetime import UTC, datetime

    from datapkg.store.refs import Current, LogEvent

    refs = home.store.refs
    before = refs.current(ref)
    partial = partial and bool(home.store.absent(manifest))
    sizes = manifest.objects()
    current = Current(manifest.hash, origin, partial, str(manifest.meta.get("title", "")), sum(sizes.values()))
    if before is None or before.hash != manifest.hash:
        at = datetime.now(UTC).isoformat()
        home.store.append_log(ref, LogEvent("install", manifest.hash, at, origin, record=record or {}))
    if before != current:
        refs.set_current(ref, current)
    return before


def find_or_fetch(home: Home, ref: Ref, registry: str | None = None, *, of_code: bool = False) -> ResolvedState:
    """Return the installed state that a ref means; if there is none, fetch the manifest of the registry's state.

    With `of_code`, the lock of the running code decides, as in `find_installed`. The fetched state becomes the current
    one only if the package had none and no wheel pins it. Raise the errors of `find_installed` if the registry does not
    have the package either, and those of a registry.
    """
    try:
        return find_installed(home, ref, of_code=of_code)
    except NotFound as absent:
        with home.store.writing():
            wanted, client = _asked(home, ref, registry, of_code)
            is_wheel = "wheel" in absent.detail
            resolved = _resolved(home, client, wanted, absent, replace=is_wheel)
            manifest = fetch_manifest(home, client, wanted, resolved)
            if is_wheel:  # no pointer of this machine moves, and the package may be here from another registry
                save(home, manifest, resolved.unchecked)
                return find_installed(home, ref, of_code=of_code)
            keep(home, wanted, manifest, resolved)
            if home.store.refs.current(ref) is None:
                make_current(home, wanted, manifest, client.url, partial=True)
        return ResolvedState(home.store, ref, resolved.hash, client.url)


def find_to_read(home: Home, ref: Ref, *, of_code: bool = False) -> ResolvedState:
    """Return the installed state that a ref means; if a wheel pins it and it is not here, fetch its manifest.

    The errors are those of `find_installed`; for a wheel, also those of a registry.
    """
    try:
        return find_installed(home, ref, of_code=of_code)
    except PackageNotInstalled as absent:
        if "wheel" not in absent.detail:
            raise
    return find_or_fetch(home, ref, of_code=of_code)


def find_or_peek(home: Home, ref: Ref, registry: str | None = None, *, remote: bool = False) -> ResolvedState:
    """Return the installed state that a ref means; with `remote`, or if there is none, the registry's.

    Of the latter only the manifest is fetched, and no pointer of this machine moves: looking does not install. `why`
    is then the registry's URL. Raise the errors of `find_installed` if no registry is set, or if it does not have the
    package either, and those of a registry.
    """
    absent = None
    if not remote:
        try:
            return find_installed(home, ref)
        except NotFound as error:
            has_registry = registry or ref.registry or home.settings.get("registry").value
            if not (has_registry or "wheel" in error.detail):
                raise
            absent = error
    with home.store.writing():
        wanted, client = (
            (ref, home.client(allowed_registry(home, ref, registry))) if remote else _asked(home, ref, registry)
        )
        try:
            resolved = _resolved(home, client, wanted, absent, replace=absent is not None and "wheel" in absent.detail)
        except Unreachable as error:
            if absent is None:
                raise
            what = f"{absent.message}, and its registry cannot be asked: {error.message}"
            raise Unreachable(what, hint=error.hint, **error.detail) from error
        save(home, fetch_manifest(home, client, wanted, resolved), resolved.unchecked)
    return ResolvedState(home.store, ref, resolved.hash, client.url)


def _asked(home: Home, ref: Ref, registry: str | None, of_code: bool = False) -> tuple[Ref, Client]:
    """Return what a registry is asked for where a package is not here, a lock's pin before all, and the registry."""
    pinned = _pin_in(deciding_lock(home, of_code=of_code), ref) if ref.state is None else None
    if pinned is None:
        return ref, home.client(allowed_registry(home, ref, registry))
    path, pin = pinned
    wanted = Ref(ref.user, ref.name, ref.path, State("hash", pin.hash), pin.registry)
    find = pinned_registry if is_wheel_pin(path) else allowed_registry
    return wanted, home.client(find(home, wanted, registry))


def _resolved(
    home: Home, client: Client, wanted: Ref, absent: NotFound | None, *, replace: bool = False
) -> wire.Resolved:
    """Return the registry's state of a ref; if it has no such package, the error includes the message of `absent`."""
    try:
        return resolve(home, client, wanted, replace=replace)
    except (NotFound, Unreachable) as unknown:
        if wanted.registry and home.registry_url(wanted.registry) != client.url:
            # The registry of the settings was asked for what a wheel pins at one that they do not name.
            allowed_registry(home, wanted, None, consent_line(home, wanted.registry))
        if isinstance(unknown, Unreachable):
            raise
        if absent is None:
            raise
        where = "" if type(unknown) is PackageNotFound else f"at {client.url}: "  # which names the address itself
        line = f"{absent.message}; {where}{unknown.message}"
        raise PackageNotInstalled(line, hint=unknown.hint or absent.hint, package=wanted.package) from unknown
