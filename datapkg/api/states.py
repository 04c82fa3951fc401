"""Find states of packages on this machine: stored states, and builds that were never pushed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from datapkg.errors import BuildFailed, InvalidInput
from datapkg.format.manifest.diff import same_data
from datapkg.format.names import Ref, State
from datapkg.format.texts import listed, quoted
from datapkg.home import Home
from datapkg.lock_search import deciding_lock
from datapkg.resolve import LATEST, not_installed
from datapkg.store.refs import Current, Refs
from datapkg.store.store import Store

_LEFT_OUT_SHOWN = 3


def unpushed_build(home: Home, ref: Ref, latest: str | None = None) -> Current | None:
    """Return the current state if it was made on this machine and never pushed; else None.

    `latest` is the registry's latest state, by default as it was last seen here. A build of the same data in other
    blocks counts as pushed.
    """
    store = home.store
    current = store.refs.current(ref)
    latest = latest or store.refs.tags(ref).get(LATEST, "")
    if current is None or current.origin != "local" or current.hash == latest:
        return None
    if any(store.refs.log(ref, "push", "install", hash=current.hash)):
        return None
    if latest and store.has(latest) and same_data(store.manifest(latest), store.manifest(current.hash)):
        return None
    return current


def check_complete(home: Home, ref: Ref, hash: str, consequence: str, hint: str) -> None:
    """Raise `BuildFailed` for a state that `build --keep-going` made incomplete, unless it was pushed since.

    Only sources skipped below the path of the ref count. Nobody would notice missing nodes in a push, an edit or a
    merge, so an incomplete state must be named by its hash.
    """
    refs = home.store.refs
    if any(refs.log(ref, "push", hash=hash)):
        return
    left_out = [each["path"] for each in (home.store.record(ref, hash) or {}).get("left_out", [])]
    if ref.path:
        left_out = [path for path in left_out if f"{path}/".startswith(f"{ref.path}/")]
    if left_out:
        named = listed(left_out, _LEFT_OUT_SHOWN)
        raise BuildFailed(f"{ref.package} was built with --keep-going, without {named}; {consequence}", hint=hint)


def check_named_complete(home: Home, ref: Ref, hash: str) -> None:
    """Raise `BuildFailed` for a state that `build --keep-going` made incomplete, unless the ref has its hash."""
    if ref.state is None or ref.state.kind != "hash":
        exact = f"{ref.package}@sha256:{hash}"
        check_complete(home, ref, hash, "nothing was made of it", f"to take it as it is, name it by its hash: {exact}")


def check_not_removed(home: Home, ref: Ref, absent: Collection[str]) -> None:
    """Raise `PackageNotInstalled` if needed objects are missing because the package was removed meanwhile.

    Call this inside `Store.writing` after looking for the objects: `rm` removes the pointers first and then keeps what
    was used since a writer began, so one of the two sees the other.
    """
    if absent and not home.store.refs.knows(ref):
        raise not_installed(ref)


def kept_states(store: Store, ref: Ref, current: Current | None) -> list[dict[str, Any]]:
    """Return the states of a package whose manifests are in a store, the current one first, then the newest.

    Each has `hash`, `created_at` (when it was last built or installed here, None if the log does not have it), and
    `tags` and `versions` as they were last seen at the registry.
    """
    refs = store.refs
    times: dict[str, str] = {}
    for hash, at in refs.logged(ref):
        times.setdefault(hash, at)
    tags, versions = refs.tags(ref), refs.versions(ref)
    tags_of, versions_of = names_of(tags), names_of(versions, refs.yanked(ref))
    hashes = [current.hash] if current else []
    hashes += sorted(times, key=lambda hash: times[hash], reverse=True)
    hashes += [*versions.values(), *tags.values()]
    here = store.held(hashes)
    return [
        {
            "hash": hash,
            "created_at": times.get(hash),
            "tags": tags_of.get(hash, []),
            "versions": versions_of.get(hash, []),
        }
        for hash in dict.fromkeys(hashes)
        if hash in here
    ]


def names_of(pointers: dict[str, str], yanked: dict[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the names of each state, as `[{name, hash, created_at}]`; `created_at` is None: it is not known here.

    With `yanked` (reasons by version), they are versions, and each has its reason or None too.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name, hash in pointers.items():
        reason = {} if yanked is None else {"yanked": yanked.get(name)}
        found.setdefault(hash, []).append({"name": name, "hash": hash, "created_at": None, **reason})
    return found


def yanked_note(refs: Refs, ref: Ref, hash: str) -> str:
    """Return a note if the version that a ref asks for, or every version of its state, was yanked; else "".

    A state that has another version which was not yanked is no reason for a note, unless the ref names the yanked one.
    """
    return yanked_text_of(ref, hash, refs.versions(ref), refs.yanked(ref))


def yanked_text_of(ref: Ref, hash: str, versions: dict[str, str], yanked: dict[str, str]) -> str:
    """Return the note of `yanked_note`, from the states of all versions and the reasons of the yanked ones."""
    if not yanked:
        return ""
    from datapkg.format.versions import matching, yanked_text

    names = [name for name, state in versions.items() if state == hash]
    if ref.state and ref.state.kind == "version":
        names = matching(ref.state, names)
    if not names or not all(name in yanked for name in names):
        return ""
    listed = "; ".join(yanked_text(name, yanked[name]) for name in names)
    return f"yanked by its publisher: {ref.package}@{listed}; other versions: datapkg version ls {ref.package}"


def completed(home: Home, ref: Ref) -> Ref:
    """Return a ref with its short hash completed to the only state here that begins with it; else the ref itself."""
    if ref.state is None or ref.state.kind != "hash" or ref.state.is_full_hash:
        return ref
    found = [hash for hash in home.store.refs.known_hashes(ref, ref.state.value) if home.store.holds(hash)]
    return ref.at(State("hash", found[0])) if len(found) == 1 else ref


def overruling_lock(home: Home, package: str, hash: str) -> tuple[Path, str] | None:
    """Return the lock file that decides and the hash that it pins, if that is another state than `hash`; else None."""
    lock = deciding_lock(home)
    pinned = lock[1].hash_of(package) if lock else None
    return (lock[0], pinned) if lock and pinned and pinned != hash else None


def in_state(ref: Ref, state: str | None) -> Ref:
    """Return the ref with the pushed state of this hash, or unchanged; raise `InvalidInput` if it has a state."""
    if state is None:
        return ref
    if ref.state is not None:
        what = f"{ref} names a state already, and the state was given as {quoted(state)} too"
        raise InvalidInput(what, hint=f"give it once, beside {ref.at(None)}")
    return ref.at(State.parse(f"sha256:{state.removeprefix('sha256:')}"))
