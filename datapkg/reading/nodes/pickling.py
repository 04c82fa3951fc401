"""Nodes in a pickle: which node of which state, and where that is; nothing of the package is in it, or runs."""

from __future__ import annotations

from typing import Any

from datapkg.reading.nodes.base import Node
from datapkg.reading.nodes.kinds import CLASSES
from datapkg.reading.source import reopened, reopening


def reduced(node: Node) -> tuple[Any, ...]:
    """What `__reduce__` gives for a node; an imported package is one that was loaded, when it comes back."""
    kind = next(kind for kind, cls in CLASSES.items() if isinstance(node, cls))
    return restored, (kind, node.__at__, reopening(node.__source__))


def restored(kind: str, path: str, said: dict[str, Any]) -> Node:
    """The node that was pickled, unread; raises `PackageNotInstalled` where its state is not here."""
    return CLASSES[kind](reopened(said), path)
