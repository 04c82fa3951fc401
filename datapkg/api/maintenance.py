"""Maintenance: verify stored data, and remove packages here or at the registry."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from datapkg.api.results import RemoveResult
from datapkg.errors import CorruptObject, InvalidInput, PackageNotInstalled, Refused
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.origins import allowed_registry
from datapkg.store import gc


def remove(home: Home, ref: Ref, *, now: bool = False, dry_run: bool = False) -> RemoveResult:
    """Remove a package from this machine, and free the objects that no other state here uses.

    Objects that a running process may use stay, unless `now` asserts that there is none. Raise `PackageNotInstalled` if
    the package is not here, `Refused` if only a read-only store has it.
    """
    if ref.path or ref.state:
        raise InvalidInput(f"{ref} names more than a package", hint=f"datapkg rm {ref.package}")
    store = home.store
    other = next((each.folder for each in home.stores[1:] if each.refs.current(ref)), None)
    if not store.refs.knows(ref):
        if other is not None:
            raise Refused(
                f"{ref.package} is in the read-only store {other}; it was not removed", hint="datapkg config path"
            )
        raise PackageNotInstalled(f"{ref.package} is not installed; nothing was removed", hint="datapkg ls")
    if dry_run:
        return _removed(ref.package, gc.estimate(store, ref), other)
    from datapkg.api.cache import remove_copies

    # Before the pointers go, which tell what tables the package has.
    copies = remove_copies(home, ref)
    store.refs.remove(ref)
    freed = gc.free(store, now=now)
    with contextlib.suppress(CorruptObject):  # which `freed.problem` says too
        store.forget_uses()
    return _removed(ref.package, freed, other, sum(each.size_bytes for each in copies))


def free_left(home: Home) -> RemoveResult:
    """Free the space that earlier removals left; no other process may be running."""
    return _removed("", gc.free(home.store, now=True))


def _removed(package: str, freed: gc.Freed, other: Path | None = None, more_bytes: int = 0) -> RemoveResult:
    until = datetime.fromtimestamp(freed.until, UTC).isoformat(timespec="seconds") if freed.until else None
    size_bytes = freed.size_bytes + more_bytes
    still_in = str(other) if other else ""
    return RemoveResult(package, size_bytes, freed.shared_bytes, freed.left_bytes, until, freed.problem, still_in)


def delete(home: Home, ref: Ref, registry: str | None = None) -> None:
    """Delete a package with all its states from its registry; installed copies stay."""
    if ref.path or ref.state:
        raise InvalidInput(f"{ref} names more than a package", hint=f"datapkg delete {ref.package}")
    home.client(allowed_registry(home, ref, registry)).delete(ref)
    refs = home.store.refs
    refs.set_pointers(ref, "tags", {})
    refs.set_pointers(ref, "versions", {})
    refs.set_yanked(ref, {})
