"""Every method of groups and packages as a function: a node that is called like a method hides only the method."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import pandas as pd

    from datapkg.format.names import Ref
    from datapkg.reading.nodes.base import Node
    from datapkg.reading.nodes.groups import Group, Package
    from datapkg.reading.prefetching import Prefetch


def name(node: Node) -> str:
    """The last part of a node's path; of a package, its name."""
    return node.__at__.rpartition("/")[2] or node.__source__.ref.name


def kind(node: Node) -> str:
    """package, group, table, file or array."""
    return node.__source__.kind(node.__at__)


def ref(node: Node) -> Ref:
    """The exact reference of a node: package, path and hash of the state, to be written down."""
    exact = node.__source__.ref
    return type(exact)(exact.user, exact.name, node.__at__, exact.state)


def hash(package: Package) -> str:
    """The sha256 of a package's manifest, which names this state of it."""
    return package.__source__.hash


def meta(node: Node) -> dict[str, Any]:
    """The metadata that the publisher gave to a node; a copy."""
    from copy import deepcopy

    manifest = node.__source__.manifest
    entry = manifest.get(node.__at__) if node.__at__ else manifest
    return deepcopy(entry.meta) if entry else {}


def size(node: Node) -> int:
    """Bytes of all objects of a node and of all below it, each counted once."""
    return sum(node.__source__.manifest.objects(node.__at__).values())


def keys(group: Group) -> list[str]:
    """The names of the nodes directly in a group, in order."""
    return list(group.__source__.children(group.__at__).names)


def values(group: Group) -> list[Node]:
    """The nodes directly in a group, in the order of their names."""
    return [node for _, node in items(group)]


def items(group: Group) -> list[tuple[str, Node]]:
    """(name, node) of all nodes directly in a group, in the order of their names."""
    return [(name, group.__source__.node(below(group, name))) for name in keys(group)]


def walk(group: Group) -> Iterator[tuple[str, Node]]:
    """(path within the group, node) of all nodes below a group: a group comes before what it holds."""
    todo = keys(group)[::-1]
    while todo:
        path = todo.pop()
        node = group.__source__.node(below(group, path))
        yield path, node
        if kind(node) == "group":
            todo += [f"{path}/{name}" for name in reversed(group.__source__.children(node.__at__).names)]


def frames(group: Group) -> pd.DataFrame | None:
    """The tables directly in a group, one below the other in the order of their names, as one DataFrame.

    None where there is no table. Raises `InvalidInput` where their columns differ in names or types.
    """
    from datapkg.reading.frames import concatenate
    from datapkg.reading.nodes.tables import Table

    tables = [node.__entry__ for node in values(group) if isinstance(node, Table)]
    return concatenate(group.__source__, tables)


def prefetch(node: Node) -> Prefetch:
    """Begins to fetch, in the background, what of a node and of all below it is not on this machine.

    Only of packages that are opened lazily; of others there is nothing to do. `wait()` of what it gives ends when all
    is here.
    """
    from datapkg.reading.prefetching import Prefetch

    return Prefetch(node.__source__, node.__at__)


def below(group: Group, path: str) -> str:
    """The path in the package of what has this path in a group."""
    return f"{group.__at__}/{path}" if group.__at__ else path
