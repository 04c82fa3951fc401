"""Maintenance: verify stored data, and remove packages here or at the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from datapkg.api.results import DamagedObject, RemoveResult, VerifyResult
from datapkg.errors import DatapkgError, InvalidInput, PackageNotInstalled, Refused
from datapkg.format.manifest.claim_key import claim_key
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.resolve import allowed_registry, find_installed
from datapkg.store import gc
from datapkg.store.maintenance import check_objects, check_packs, mend_pointers
from datapkg.store.store import Store

_Use = tuple[str, str, bool]


def verify(home: Home, ref: Ref | None = None, progress: Progress = silent, *, content: bool = False) -> VerifyResult:
    """Verify the hash of every object of one package or of all; move corrupt ones to quarantine and return them.

    Small files of packages are checked too; a corrupt pointer is moved away and restored from the package's log. With
    `content`, all tables that are here are read too: one whose values differ from its manifest is listed as damaged,
    and is not moved. An object is damaged while it is corrupt or missing; `install` or `build` restores it.
    """
    own = home.store
    set_aside = mend_pointers(own, [ref] if ref else own.refs.packages())
    store = find_installed(home, ref).store if ref else own
    wrong = check_packs(store)
    used = _used(home, store, ref)
    hashes = set(used) if ref else {*used, *store.objects}
    wrong |= check_objects(store, hashes - store.objects.absent(hashes), progress)
    absent = store.objects.absent(hashes) - wrong
    needed = {hash for hash in absent if hash in used and used[hash][2]}
    bad = wrong | needed | (store.objects.quarantined() & used.keys())
    damaged = [DamagedObject(hash, *used.get(hash, ("", "", False))[:2]) for hash in bad]
    false, tables = _false_tables(home, store, ref, progress) if content else ([], 0)
    damaged = sorted(damaged + false, key=lambda each: (each.package, each.path, each.hash))
    return VerifyResult(len(hashes - absent), damaged, len(absent - bad), set_aside, tables)


def _false_tables(home: Home, store: Store, ref: Ref | None, progress: Progress) -> tuple[list[DamagedObject], int]:
    """Return the tables that differ from their manifests, and the number of tables that were read."""
    found: dict[str, DamagedObject | None] = {}
    for package, hash, _ in _states(home, store, ref):
        try:
            nodes = store.manifest(hash).below(ref.path if ref else "")
        except DatapkgError:
            continue
        for node in nodes:
            if not isinstance(node, TableNode) or (key := claim_key(node)) in found:
                continue
            if store.objects.missing(hash for hash, _ in node.objects()):
                continue
            progress("tables", len(found), 0)
            problem = store.claims.problem(node, store.objects, again=True)
            found[key] = DamagedObject(node.blocks[0].hash, package, node.path, problem) if problem else None
    return [each for each in found.values() if each], len(found)


def _used(home: Home, store: Store, ref: Ref | None) -> dict[str, _Use]:
    """Return the objects of packages: hash to package, path, and whether it must be here."""
    used: dict[str, _Use] = {}
    for package, hash, partial in _states(home, store, ref):
        if partial is False or hash not in used:
            used[hash] = (package, "", not partial)
        try:
            manifest = store.manifest(hash)
        except DatapkgError:
            continue
        path = ref.path if ref else ""
        _add_nodes(used, manifest, package, path, not partial)
    for each in store.refs.packages() if ref is None else ():
        for hash in store.refs.record_objects(each):
            used.setdefault(hash, (each.package, "", False))
    return used


def _add_nodes(used: dict[str, _Use], manifest: Manifest, package: str, path: str, whole: bool) -> None:
    for node in manifest.below(path):
        for hash, _ in node.objects():
            if hash not in used or (whole and not used[hash][2]):
                used[hash] = (package, node.path, whole)


def _states(home: Home, store: Store, ref: Ref | None) -> list[tuple[str, str, bool]]:
    """Return package, manifest hash and whether objects may be missing, for current states and known older ones."""
    refs = store.refs
    if ref is not None:
        found = find_installed(home, ref)
        current = refs.current(ref)
        whole = current is not None and current.hash == found.hash and not current.partial
        return [(ref.package, found.hash, not whole)]
    states = []
    for each in refs.packages():
        current = refs.current(each)
        for hash in sorted(refs.known_hashes(each)):
            whole = current is not None and current.hash == hash and not current.partial
            if whole or not store.objects.absent([hash]):
                states.append((each.package, hash, not whole))
    return states


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

    copies = remove_copies(home, ref)
    store.refs.remove(ref)
    freed = gc.free(store, now=now)
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
