"""Install: fetch a state of a package from its registry into the local store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from datapkg import origins, resolve
from datapkg.api.install_result import InstallResult, PackageOutcome
from datapkg.api.states import completed, overruling_lock, unpushed_build, yanked_note
from datapkg.errors import DatapkgError
from datapkg.format.chunks import Step
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref, State
from datapkg.format.selection import EVERYTHING, Selection
from datapkg.format.texts import unverified_text
from datapkg.home import Home
from datapkg.objects.deltas import planned_transfer
from datapkg.objects.free_space import check_space
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, plan
from datapkg.reading.missing.earlier_states import explained
from datapkg.remote.client import Client
from datapkg.resolve import ResolvedState, find_to_read
from datapkg.store.delta_fetch import arrived, plan_deltas, receive
from datapkg.store.earlier_objects import replaced_here
from datapkg.store.read_through import ReadThrough
from datapkg.store.refs import Current

NOTHING = TransferPlan({}, 0)


@dataclass(frozen=True)
class InstallOptions:
    """The part to install, the registry, and whether a package of another origin is replaced.

    A `dry_run` downloads only what names and sizes are read from.
    """

    selection: Selection = EVERYTHING
    replace: bool = False
    registry: str | None = None
    dry_run: bool = False


def install_packages(
    home: Home,
    refs: Iterable[Ref],
    *,
    selection: Selection = EVERYTHING,
    registry: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Install each ref in turn, continuing after failures; each package becomes current on its own."""
    options = InstallOptions(selection, replace, registry, dry_run)
    return [outcome_of(str(ref), partial(install_one, home, ref, options, progress)) for ref in refs]


def outcome_of(name: str, install: Callable[[], InstallResult]) -> PackageOutcome:
    """Return what an install or fetch did, or its error, under this name."""
    try:
        return PackageOutcome(name, installed=install())
    except DatapkgError as error:
        return PackageOutcome(name, error=error)


def install_one(home: Home, ref: Ref, options: InstallOptions, progress: Progress = silent) -> InstallResult:
    """Install one ref: resolve it, fetch and verify the manifest, then the objects, and move the pointer last.

    A full hash that is already here is installed without a request. Objects that arrived before a failure stay in the
    store. A `dry_run` returns what would be downloaded.
    """
    if options.dry_run:
        return _plan_install(home, completed(home, ref), options)
    with home.store.writing():
        ref = completed(home, ref)
        return _install_offline(home, ref, options) or _install_from_registry(home, ref, options, progress)


def _install_from_registry(home: Home, ref: Ref, options: InstallOptions, progress: Progress) -> InstallResult:
    client = home.client(origins.allowed_registry(home, ref, options.registry))
    resolved = resolve.resolve(home, client, ref, replace=options.replace)
    manifest = resolve.fetch_manifest(home, client, ref, resolved)
    # Before objects are counted as present: from here on, `gc` of a shared store keeps what the state needs.
    home.store.use(manifest)
    with explained(ResolvedState(home.store, ref, manifest.hash, "ref"), home):
        received = _fetch_objects(home, client, ref, manifest, options, progress)
    resolve.keep(home, ref, manifest, resolved)
    current, known = home.store.refs.current(ref), home.store.record
    is_kept = (current and current.hash == manifest.hash) or known(ref, manifest.hash, "install")
    # The first install of a state has recorded its checks.
    record = {} if is_kept else resolve.checks_of(client, ref, manifest.hash)
    return finish(home, ref, manifest, client.url, options, (received, client.received_bytes), record)


def _plan_install(home: Home, ref: Ref, options: InstallOptions) -> InstallResult:
    hash = ref.state.value if ref.state and ref.state.is_full_hash else ""
    # As the install does: with everything here, no registry is asked.
    if hash and home.store.has(hash):
        manifest = home.store.manifest(hash)
        if not home.store.objects.missing(options.selection.of(manifest, ref.path)):
            return _planned_result(ref, manifest, options.selection)
    client = home.client(resolve.allowed_registry(home, ref, options.registry))
    resolved = resolve.resolve(home, client, ref, replace=options.replace)
    before = client.received_bytes
    manifest = resolve.fetch_manifest(home, client, ref, resolved)
    manifest_bytes = client.received_bytes - before
    with explained(ResolvedState(home.store, ref, manifest.hash, "ref"), home):
        planned = _planned(home, ref, manifest, options.selection)
    through = home.store.through(lambda: client.objects(ref), client.url)
    return _plan_of(home, ref, manifest, options.selection, planned, through, manifest_bytes)


def _plan_of(
    home: Home,
    ref: Ref,
    manifest: Manifest,
    selection: Selection,
    planned: TransferPlan,
    through: ReadThrough,
    manifest_bytes: int = 0,
) -> InstallResult:
    """Return what would be fetched, with the manifest and chunk maps, of which nothing is kept."""
    found = plan_deltas(through, planned, replaced_here(home.store, ref, manifest))
    come, derived = arrived(through, planned, found.steps), found.map_bytes + manifest_bytes
    return _planned_result(ref, manifest, selection, planned, found.steps, come, derived)


def _planned_result(
    ref: Ref,
    manifest: Manifest,
    selection: Selection,
    planned: TransferPlan = NOTHING,
    deltas: Mapping[str, list[Step]] = {},
    arrived: Mapping[str, int] = {},
    derived: int = 0,
) -> InstallResult:
    wanted = sum(selection.of(manifest, ref.path).values())
    transfer = planned_transfer(planned, deltas, wanted, arrived, derived)
    return InstallResult(ref.package, manifest.hash, 0, 0, wanted, transfer=transfer)


def _install_offline(home: Home, ref: Ref, options: InstallOptions) -> InstallResult | None:
    store = home.store
    if ref.state is None or not ref.state.is_full_hash or not store.has(ref.state.value):
        return None
    manifest = store.manifest(ref.state.value)
    store.use(manifest)
    if store.objects.missing(options.selection.of(manifest, ref.path)):
        return None
    return finish(home, ref, manifest, _origin(home, ref, manifest.hash, options), options, (0, 0))


def _origin(home: Home, ref: Ref, hash: str, options: InstallOptions) -> str:
    """Return the origin of a state: a registry, or "local" if it was built here and never pushed."""
    if origin := origins.origin_of(home, ref, hash):
        return origin
    refs = home.store.refs
    # The log knows of the state and of no registry that has it.
    if any(refs.log(ref, hash=hash)):
        return "local"
    current = refs.current(ref)
    if current and current.origin != "local" and hash in refs.known_hashes(ref, hash):
        return current.origin  # the registry that these tags and versions came from
    with contextlib.suppress(DatapkgError):  # a state that was opened lazily
        return origins.registry_of(home, ref, options.registry)
    return "local"


def fetch_packages(
    home: Home,
    refs: Iterable[Ref],
    selection: Selection = EVERYTHING,
    *,
    registry: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Fetch each ref in turn (see `fetch`), continuing after failures."""
    options: dict[str, Any] = {"registry": registry, "dry_run": dry_run, "progress": progress}
    return [outcome_of(str(ref), partial(fetch, home, ref, selection, **options)) for ref in refs]


def fetch(
    home: Home,
    ref: Ref,
    selection: Selection,
    *,
    registry: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> InstallResult:
    """Download missing objects of an installed state, or of a node in it, without moving a pointer.

    A `dry_run` returns what would be downloaded. Raise `PackageNotInstalled`, `NodeNotFound`, and the errors of a
    registry.
    """
    if dry_run:
        return _fetch(home, ref, selection, registry, None)
    with home.store.writing():
        return _fetch(home, ref, selection, registry, progress)


def _fetch(
    home: Home, ref: Ref, selection: Selection, registry: str | None, progress: Progress | None
) -> InstallResult:
    """Download what is missing and report progress; return the plan for None."""
    found = find_to_read(home, ref)
    manifest = found.store.manifest(found.hash)
    if progress is not None:
        home.store.use(manifest)
    with explained(found, home):
        planned = _planned(home, ref, manifest, selection)
    exact = ref.at(State("hash", found.hash))
    origin = origins.origin_of(home, exact, found.hash) or str(exact)
    through = home.store.through(lambda: origins.objects_of(home, exact, registry), origin)
    if progress is None:
        return _plan_of(home, ref, manifest, selection, planned, through)
    if not planned.needed:
        return InstallResult(ref.package, found.hash, 0, 0, sum(selection.of(manifest, ref.path).values()))
    receive(through, planned, progress, replaced_here(home.store, ref, manifest))
    home.store.forget_parts()
    _note_whole(home, ref, manifest)
    wanted = sum(selection.of(manifest, ref.path).values())
    return InstallResult(ref.package, found.hash, len(planned.needed), planned.size_bytes, wanted)


def _note_whole(home: Home, ref: Ref, manifest: Manifest) -> None:
    """Mark a partial install as complete if no object is missing any more."""

    def partial_state() -> Current | None:
        current = home.store.refs.current(ref)
        return current if current and current.partial and current.hash == manifest.hash else None

    if partial_state() and not home.store.absent(manifest):
        with home.store.refs.changing(ref):
            if current := partial_state():  # again: to look for all objects takes a while
                home.store.refs.set_current(ref, replace(current, partial=False))


def _fetch_objects(
    home: Home, client: Client, ref: Ref, manifest: Manifest, options: InstallOptions, progress: Progress
) -> int:
    planned = _planned(home, ref, manifest, options.selection)
    through = home.store.through(lambda: client.objects(ref), client.url)
    receive(through, planned, progress, replaced_here(home.store, ref, manifest))
    home.store.forget_parts()
    return len(planned.needed)


def _planned(home: Home, ref: Ref, manifest: Manifest, selection: Selection) -> TransferPlan:
    return plan_fetch(home, ref.package, selection.of(manifest, ref.path))


def plan_fetch(home: Home, what: str, wanted: Mapping[str, int]) -> TransferPlan:
    """Return which of these objects are missing here; raise `QuotaExceeded` if the disk has too little space."""
    found = plan(wanted, home.store.objects)
    check_space(home.store.folder, found.size_bytes, what)
    return found


def finish(
    home: Home,
    ref: Ref,
    manifest: Manifest,
    origin: str,
    options: InstallOptions,
    received: tuple[int, int],
    record: dict[str, Any] | None = None,
) -> InstallResult:
    """Make a state whose objects are here current; `received` counts the objects and bytes that arrived for it."""
    unpushed = unpushed_build(home, ref)
    selection = options.selection
    is_part = bool(ref.path) or selection.is_partial
    before = resolve.make_current(home, ref, manifest, origin, partial=is_part, record=record)
    notes = []
    if before and before == unpushed and before.hash != manifest.hash:
        state = State("hash", before.hash)
        notes.append(f"the build that was here was never pushed; it is kept as {ref.package}@{state}")
    if yanked := yanked_note(home.store.refs, ref, manifest.hash):
        notes.append(yanked)
    if unchecked := resolve.unchecked_tables(home, manifest, ref.path):
        notes.append(f"{unverified_text(unchecked)}; type: datapkg verify --content {ref.package}")
    lock = overruling_lock(home, ref.package, manifest.hash)
    if lock:
        pinned = f"{lock[0]} pins {ref.package} to sha256:{lock[1][:12]}, which imports in this project use"
        notes.append(f"{pinned}; to change the pin: edit datapkg.yml, then datapkg lock --update")
    wanted = selection.of(manifest, ref.path)
    left = sum(home.store.absent(manifest).values()) if is_part else 0
    size, overruled_by = sum(wanted.values()), str(lock[0]) if lock else ""
    return InstallResult(ref.package, manifest.hash, *received, size, "; ".join(notes), left, overruled_by)
