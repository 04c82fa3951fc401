"""The error for a missing node: where its path ends, and similar names."""

from __future__ import annotations

from datapkg.errors import NodeNotFound
from datapkg.format.suggestions import advice, close_names
from datapkg.format.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Protocol

    from datapkg.format.manifest.model import Kind

    class NodeKinds(Protocol):
        """The parts of a manifest that are needed here."""

        def kind(self, path: str) -> Kind | Literal[""]: ...

        def children(self, path: str = "") -> dict[str, Kind]: ...


def no_node(manifest: NodeKinds, path: str, package: str = "the package") -> NodeNotFound:
    """Return the error for a path without a node: it names the existing group and similar names.

    `detail["near"]` is the path that was most likely meant, if there is one.
    """
    group, _, name = path.rpartition("/")
    while group and (kind := manifest.kind(group)) != "group":
        if kind:
            what = f"{quoted(group)} is a {kind}, not a group"
            return NodeNotFound(f"{package} has no node {quoted(path)}: {what}", path=path)
        group, _, name = group.rpartition("/")
    names = list(manifest.children(group))
    near = close_names(name, names)
    where = f"{package}/{group}" if group else package
    message = f"{where} has no node {quoted(name)}{advice(name, names)}"
    if near:
        right = _corrected(manifest, path, group, name, near[0])
        return NodeNotFound(message, path=path, near=right, meant=[path, right])
    return NodeNotFound(message, hint=f"datapkg show {package}" if "/" in package else "", path=path)


def _corrected(manifest: NodeKinds, path: str, group: str, wrong: str, right: str) -> str:
    """Return a path with one name corrected, and with the rest of the path if such a node exists."""
    above = f"{group}/" if group else ""
    whole = f"{above}{right}{path.removeprefix(above + wrong)}"
    return whole if manifest.kind(whole) else above + right
