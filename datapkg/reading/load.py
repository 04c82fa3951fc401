"""Open a package without importing it, so that two states of it can be used side by side."""

from __future__ import annotations

from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.missing.missing_node import missing_node
from datapkg.reading.nodes.base import Node, node_at
from datapkg.reading.opening import open_source


def load(ref: Ref | str, home: Home, *, lazy: bool = False, registry: str | None = None) -> Node:
    """Return the package, or the node in it, that a ref names; no data is read yet.

    If `lazy`, the package need not be installed: its manifest is fetched from the registry, and data when it is read.
    Raise `InvalidName`, `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`; if lazy, also the
    errors of a registry.
    """
    ref = Ref.parse(ref) if isinstance(ref, str) else ref
    source = open_source(ref, home, lazy=lazy, registry=registry)
    if not source.kind(ref.path):
        raise missing_node(source, ref.path, ref)
    return node_at(source, ref.path)
