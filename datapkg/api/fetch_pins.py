"""Fetch the data of the packages that wheels pin in this environment, as for the image of a container."""

from __future__ import annotations

from functools import partial

from datapkg import resolve
from datapkg.api.install import fetch, outcome_of
from datapkg.api.install_result import InstallResult, PackageOutcome
from datapkg.format.names import Ref, State
from datapkg.format.selection import EVERYTHING, Selection
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.origins import pinned_registry
from datapkg.wheel_pins import pinned_packages, wheel_pin


def fetch_pins(
    home: Home,
    selection: Selection = EVERYTHING,
    *,
    registry: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Fetch the data of all pins of this environment in turn, continuing after failures; locks do not matter.

    Each is fetched from the registry that its wheel names, or from the given one. A `dry_run` returns what would be
    downloaded; of a state that is not here it fetches the manifest.
    """
    return [
        outcome_of(package, partial(_fetch_pin, home, package, selection, registry, dry_run, progress))
        for package in pinned_packages()
    ]


def _fetch_pin(
    home: Home, package: str, selection: Selection, registry: str | None, dry_run: bool, progress: Progress
) -> InstallResult:
    found = wheel_pin(package)
    assert found  # it was listed
    path, pin = found
    user, _, name = package.partition("/")
    ref = Ref(user, name, state=State("hash", pin.hash))
    if not any(store.holds(pin.hash) for store in home.stores):
        with home.store.writing():
            named = Ref(user, name, registry=pin.registry)
            client = home.client(home.registry_url(registry) if registry else pinned_registry(home, named, None))
            resolved = resolve.resolve(home, client, ref, replace=True)
            resolve.save(home, resolve.fetch_manifest(home, client, ref, resolved), resolved.unchecked)
    home.store.known_locks.note(path)
    return fetch(home, ref, selection, registry=registry, dry_run=dry_run, progress=progress)
