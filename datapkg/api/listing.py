"""Listing: what is on this machine, and what is in a package."""

from __future__ import annotations

from typing import Any

from datapkg.api.results import Listed, Shown
from datapkg.format.names import Ref
from datapkg.home import Home


def list_packages(home: Home) -> list[Listed]:
    """The packages on this machine with their current state, each from the first store that has it."""
    listed: dict[str, Listed] = {}
    for store in home.stores:
        for user in store.refs.users():
            for name in store.refs.packages(user):
                current = store.refs.current(user, name)
                package = f"{user}/{name}"
                if current and package not in listed:
                    listed[package] = Listed(
                        package, current.hash, current.origin, current.bytes_logical, current.title
                    )
    return [listed[package] for package in sorted(listed)]


def show(home: Home, ref: Ref) -> Shown:
    """The nodes of a package, or of the part of it that the ref names."""
    found = home.find(ref)
    manifest = found.store.manifest(found.hash)
    nodes = [_shown(node) for node in manifest.below(ref.path)]
    return Shown(ref.package, found.hash, manifest.meta, nodes)


def _shown(node: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": node.path, "kind": node.kind, "rows": None, "columns": None, "size": node.size}
    if node.kind == "table":
        shown |= {"rows": node.rows, "columns": [list(column) for column in node.columns]}
    elif node.kind == "array":
        shown |= {"dtype": node.dtype, "shape": node.shape}
    return shown | ({"meta": node.meta} if node.meta else {})
