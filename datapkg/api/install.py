"""Install: fetch a state of a package from its registry into the local store."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from datapkg import resolve
from datapkg.api.results import InstallResult, PackageOutcome, unchecked_text
from datapkg.api.states import completed, overruling_lock, unpushed_build
from datapkg.errors import DatapkgError, QuotaExceeded
from datapkg.format.manifest.diff import replaced_objects
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref, State
from datapkg.format.selection import EVERYTHING, Selection
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, plan
from datapkg.reading.missing.earlier_states import explained
from datapkg.remote.client import Client
from datapkg.resolve import ResolvedState, find_installed
from datapkg.store.delta_fetch import receive


@dataclass(frozen=True)
class InstallOptions:
    """The part to install, the registry, and whether a package of another origin is replaced."""

    selection: Selection = EVERYTHING
    replace: bool = False
    registry: str | None = None


def install_packages(
    home: Home,
    refs: Iterable[Ref],
    *,
    selection: Selection = EVERYTHING,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Install each ref in turn, continuing after failures; each package becomes current on its own."""
    options = InstallOptions(selection, replace, registry)
    return [_outcome(ref, partial(install_one, home, ref, options, progress)) for ref in refs]


def _outcome(ref: Ref, install: Callable[[], InstallResult]) -> PackageOutcome:
    try:
        return PackageOutcome(str(ref), installed=install())
    except DatapkgError as error:
        return PackageOutcome(str(ref), error=error)


def install_one(home: Home, ref: Ref, options: InstallOptions, progress: Progress = silent) -> InstallResult:
    """Install one ref: resolve it, fetch and verify the manifest, then the objects, and move the pointer last.

    A full hash that is already here is installed without a request. Objects that arrived before a failure stay in the
    store.
    """
    with home.store.writing():
        ref = completed(home, ref)
        return _install_offline(home, ref, options) or _install_from_registry(home, ref, options, progress)


def _install_from_registry(home: Home, ref: Ref, options: InstallOptions, progress: Progress) -> InstallResult:
    client = home.client(resolve.allowed_registry(home, ref, options.registry))
    resolved = resolve.resolve(home, client, ref, replace=options.replace)
    manifest = resolve.fetch_manifest(home, client, ref, resolved)
    with explained(ResolvedState(home.store, ref, manifest.hash, "ref"), home):
        received = _fetch_objects(home, client, ref, manifest, options, progress)
    resolve.keep(home, ref, manifest, resolved)
    current, known = home.store.refs.current(ref), home.store.record
    is_kept = (current and current.hash == manifest.hash) or known(ref, manifest.hash, "install")
    record = {} if is_kept else resolve.checks_of(client, ref, manifest.hash)
    return finish(home, ref, manifest, client.url, options, (received, client.session.received_bytes), record)


def _install_offline(home: Home, ref: Ref, options: InstallOptions) -> InstallResult | None:
    store = home.store
    if ref.state is None or not ref.state.is_full_hash or not store.has(ref.state.value):
        return None
    manifest = store.manifest(ref.state.value)
    if store.objects.missing(options.selection.of(manifest, ref.path)):
        return None
    return finish(home, ref, manifest, _origin(home, ref, manifest.hash, options), options, (0, 0))


def _origin(home: Home, ref: Ref, hash: str, options: InstallOptions) -> str:
    """Return the origin of a state: a registry, or "local" if it was built here and never pushed."""
    if origin := resolve.origin_of(home, ref, hash):
        return origin
    refs = home.store.refs
    if any(refs.log(ref, hash=hash)):
        return "local"
    current = refs.current(ref)
    if current and current.origin != "local" and hash in refs.known_hashes(ref, hash):
        return current.origin  # the registry that these tags and versions came from
    with contextlib.suppress(DatapkgError):  # a state that was opened lazily
        return resolve.registry_of(home, ref, options.registry)
    return "local"


def fetch_packages(
    home: Home,
    refs: Iterable[Ref],
    selection: Selection = EVERYTHING,
    *,
    registry: str | None = None,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Fetch each ref in turn (see `fetch`), continuing after failures."""
    return [_outcome(ref, partial(fetch, home, ref, selection, registry=registry, progress=progress)) for ref in refs]


def fetch(
    home: Home, ref: Ref, selection: Selection, *, registry: str | None = None, progress: Progress = silent
) -> InstallResult:
    """Download missing objects of an installed state, or of a node in it, without moving a pointer.

    Raise `PackageNotInstalled`, `NodeNotFound`, and the errors of a registry.
    """
    with home.store.writing():
        return _fetch(home, ref, selection, registry, progress)


def _fetch(home: Home, ref: Ref, selection: Selection, registry: str | None, progress: Progress) -> InstallResult:
    found = find_installed(home, ref)
    manifest = found.store.manifest(found.hash)
    with explained(found, home):
        planned = _planned(home, ref, manifest, selection)
    if not planned.needed:
        return InstallResult(ref.package, found.hash, 0, 0, sum(selection.of(manifest, ref.path).values()))
    exact = ref.at(State("hash", found.hash))
    origin = resolve.origin_of(home, exact, found.hash) or str(exact)
    receive(home.store.through(lambda: resolve.objects_of(home, exact, registry), origin), planned, progress)
    home.store.forget_parts()
    _note_whole(home, ref, manifest)
    wanted = sum(selection.of(manifest, ref.path).values())
    return InstallResult(ref.package, found.hash, len(planned.needed), planned.size_bytes, wanted)


def _note_whole(home: Home, ref: Ref, manifest: Manifest) -> None:
    """Mark a partial install as complete if no object is missing any more."""
    current = home.store.refs.current(ref)
    if current and current.partial and current.hash == manifest.hash and not home.store.absent(manifest):
        home.store.refs.set_current(ref, replace(current, partial=False))


def _fetch_objects(
    home: Home, client: Client, ref: Ref, manifest: Manifest, options: InstallOptions, progress: Progress
) -> int:
    planned = _planned(home, ref, manifest, options.selection)
    current = home.store.refs.current(ref)
    before = home.store.manifest(current.hash) if current and home.store.has(current.hash) else None
    through = home.store.through(lambda: client.objects(ref), client.url)
    receive(through, planned, progress, replaced_objects(before, manifest) if before else ())
    home.store.forget_parts()
    return len(planned.needed)


def _planned(home: Home, ref: Ref, manifest: Manifest, selection: Selection) -> TransferPlan:
    return plan_fetch(home, ref.package, selection.of(manifest, ref.path))


def plan_fetch(home: Home, what: str, wanted: Mapping[str, int]) -> TransferPlan:
    """Return which of these objects are missing here; raise `QuotaExceeded` if the disk has too little space."""
    found = plan(wanted, home.store.objects)
    free = shutil.disk_usage(home.store.folder).free
    if found.size_bytes > free:
        raise QuotaExceeded(
            f"{what} needs {found.size_bytes:,} bytes more, and {home.store.folder} has {free:,} free; "
            "nothing was downloaded",
            hint="make room, or set DATAPKG_HOME to a larger disk",
        )
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
    if unchecked := resolve.unchecked_tables(home, manifest, ref.path):
        notes.append(f"{unchecked_text(unchecked)}; type: datapkg verify --content {ref.package}")
    lock = overruling_lock(ref.package, manifest.hash)
    if lock:
        pinned = f"{lock[0]} pins {ref.package} to sha256:{lock[1][:12]}, which imports in this project use"
        notes.append(f"{pinned}; to change the pin: edit datapkg.yml, then datapkg lock --update")
    wanted = selection.of(manifest, ref.path)
    left = sum(home.store.absent(manifest).values()) if is_part else 0
    size, overruled_by = sum(wanted.values()), str(lock[0]) if lock else ""
    return InstallResult(ref.package, manifest.hash, *received, size, "; ".join(notes), left, overruled_by)
