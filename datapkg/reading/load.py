"""Opening a package without importing it, so that two states of it lie side by side."""

from __future__ import annotations

from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.nodes.base import Node
from datapkg.reading.source import Source


def load(ref: Ref | str, home: Home) -> Node:
    """The package, or the node in it, that a reference means here; nothing but a pointer is read yet.

    Raises `InvalidName`, `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`.
    """
    ref = Ref.parse(ref) if isinstance(ref, str) else ref
    found = home.find(ref)
    return Source(found.store, ref, found.hash).node(ref.path)
