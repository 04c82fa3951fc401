"""Listing: the packages on this machine, and the contents of a package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datapkg.api.results import PackageDetails, PackageListing
from datapkg.api.states import kept_states
from datapkg.errors import DatapkgError, NotFound
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.metadata import licence_files_among, readme_among
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.resolve import ResolvedState, checks_of, find_installed, find_or_peek, unchecked_tables
from datapkg.store.store import Store
from datapkg.wheel_pins import pinned_packages, wheel_pin

_README_BYTES = 16_384  # only the first lines are shown, so the rest is not fetched


def list_packages(home: Home) -> list[PackageListing]:
    """Return the packages on this machine and those that wheels pin here, with their states.

    Each is listed with its current state, from the first store that has one, else with the one that is pinned.
    """
    listed: dict[str, PackageListing] = {}
    for store in home.stores:
        for ref in store.refs.folders():
            current = store.refs.current(ref)
            if current and ref.package not in listed:
                listed[ref.package] = PackageListing(
                    *(ref.package, current.hash, current.origin, current.bytes_logical, current.title),
                    # A whole install is taken at its word: to look for each of its objects would slow `ls` down.
                    partial=current.partial and _lacks_data(store, current.hash),
                    states=kept_states(store, ref, current),
                )
    for package in pinned_packages():
        listed[package] = _with_pin(home, package, listed.get(package))
    return [listed[package] for package in sorted(listed)]


def _with_pin(home: Home, package: str, current: PackageListing | None) -> PackageListing:
    """Return the listing of a package with what a wheel pins it to."""
    found = wheel_pin(package)
    assert found  # it was listed
    path, pin = found
    wheel = {"hash": pin.hash, "registry": pin.registry, "path": str(path)}
    if current:
        return replace(current, wheel=wheel)
    store = next((each for each in home.stores if each.holds(pin.hash)), None)
    if store is None:
        return PackageListing(package, pin.hash, pin.registry, 0, partial=True, wheel=wheel)
    manifest = store.manifest(pin.hash)
    size, title = sum(manifest.objects().values()), str(manifest.meta.get("title", ""))
    is_partial = _lacks_data(store, pin.hash)
    return PackageListing(package, pin.hash, pin.registry, size, title, is_partial, wheel=wheel)


def _lacks_data(store: Store, hash: str) -> bool:
    """Return whether data of a state are missing; other packages may have brought them since its partial install."""
    try:
        return bool(store.absent(store.manifest(hash)))
    except DatapkgError:  # corrupt; `datapkg verify` reports it
        return True


def show(
    home: Home, ref: Ref, *, remote: bool = False, registry: str | None = None, most: int | None = None
) -> PackageDetails:
    """Return the nodes of a package, or of the part of it that the ref names; only the first `most`, if that is given.

    With `remote`, or if it is not installed, they are read from its registry; nothing is installed.
    """
    from datapkg.reading.missing.earlier_states import explained

    found = find_or_peek(home, ref, registry, remote=remote)
    looked_at = found.why if "://" in found.why else ""
    manifest = found.store.manifest(found.hash)
    with explained(found, home):
        entries = manifest.entries(ref.path)
    depth = ref.path.count("/") + 1 if ref.path else 0
    nodes, files, size_bytes, count = list[dict[str, Any]](), dict[str, str](), 0, 0
    for count, node in enumerate(entries, 1):
        if most is None or count <= most:
            nodes.append(_shown(node))
        size_bytes += node.size or 0
        if node.path.count("/") == depth and isinstance(node, FileNode):
            files[node.parts[-1]] = node.path
    licences = licence_files_among(files)
    return PackageDetails(
        ref.package,
        found.hash,
        manifest.meta,
        nodes,
        node_count=count,
        node_bytes=size_bytes,
        readme=files.get(readme_among(files), ""),
        licence_file=files[licences[0]] if licences else "",
        checks=_checks(home, found, ref, looked_at),
        bytes_absent=0 if looked_at else _bytes_absent(found.store, ref, manifest),
        unchecked=unchecked_tables(home, manifest, ref.path),
        why=found.why,
        registry=looked_at,
        is_imported=not looked_at and _is_imported(home, ref, found.hash),
    )


def _is_imported(home: Home, ref: Ref, hash: str) -> bool:
    """Return whether an import of the package, which names no state, returns this one."""
    try:
        return find_installed(home, ref.at(None)).hash == hash
    except NotFound:
        return False


def _bytes_absent(store: Store, ref: Ref, manifest: Manifest) -> int:
    current = store.refs.current(ref)
    if current and current.hash == manifest.hash and not current.partial:
        return 0
    return sum(store.absent(manifest, ref.path).values())


def _checks(home: Home, found: ResolvedState, ref: Ref, registry: str) -> list[dict[str, Any]]:
    """Return the recorded check results of the tables of the ref, from this machine or the registry."""
    from datapkg.building.checks.definitions import unpacked

    recorded = found.store.record
    record = checks_of(home.client(registry), ref, found.hash) if registry else {}
    known = record or recorded(ref, found.hash) or recorded(ref, found.hash, "install") or {}
    below = f"{ref.path}/"
    return [each for each in unpacked(known) if not ref.path or f"{each['path']}/".startswith(below)]


def readme_lines(home: Home, ref: Ref, shown: PackageDetails, limit: int) -> list[str]:
    """Return the first lines of the README without blank lines at both ends; none if it cannot be read."""
    from datapkg.reading.source import Remote, Source

    found = find_installed(home, ref.at(State("hash", shown.hash)))
    node = found.store.manifest(found.hash).get(shown.readme)
    if not isinstance(node, FileNode):
        return []
    try:
        source = Source(found.store, ref, found.hash, Remote(home, shown.registry) if shown.registry else None)
        with source.open(node.path, node.hash) as stream:
            text = stream.read(_README_BYTES).decode("utf-8-sig", "replace")
    except (DatapkgError, OSError):
        return []
    return text.strip().splitlines()[:limit]


def _shown(node: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": node.path, "kind": node.kind, "rows": None, "columns": None, "size": node.size}
    if node.kind == "table":
        shown |= {"rows": node.rows, "columns": [list(column) for column in node.columns]}
    elif node.kind == "array":
        shown |= {"dtype": node.dtype, "shape": node.shape}
    return shown | ({"meta": node.meta} if node.meta else {})
