"""Opening a package without importing it, so that two states of it lie side by side."""

from __future__ import annotations

from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.nodes.base import Node
from datapkg.reading.source import Remote, Source
from datapkg.resolve import allowed_registry, find_installed, find_or_fetch


def load(ref: Ref | str, home: Home, *, lazy: bool = False, registry: str | None = None) -> Node:
    """The package, or the node in it, that a reference means here; nothing but a pointer is read yet.

    If `lazy`, it may be at a registry still: its manifest is fetched, and what is read later then. Raises
    `InvalidName`, `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`; those of a
    registry if lazy.
    """
    ref = Ref.parse(ref) if isinstance(ref, str) else ref
    source = opened(ref, home, lazy=lazy, registry=registry)
    if not source.kind(ref.path):
        raise source.no_node(ref.path, ref)
    return source.node(ref.path)


def opened(ref: Ref, home: Home, *, lazy: bool = False, registry: str | None = None) -> Source:
    """The state that a reference means, to be read from; see `load`."""
    if not lazy:
        found = find_installed(home, ref)
        return Source(found.store, ref, found.hash, home=home)
    found = find_or_fetch(home, ref, registry)
    if found.store is not home.store:  # what others keep for us is read as it is
        return Source(found.store, ref, found.hash, home=home)
    return Source(found.store, ref, found.hash, Remote(home, _named(home, ref, registry)))


def _named(home: Home, ref: Ref, registry: str | None) -> str | None:
    """The registry that the caller or the ref names, if it may be asked; raises `Refused` where not."""
    return allowed_registry(home, ref, registry) if registry or ref.registry else None
