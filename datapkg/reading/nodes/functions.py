"""Every method of groups and packages as a function, since a node with the name of a method hides the method."""

from __future__ import annotations

from datapkg.format.names import normal_form
from datapkg.reading.nodes.base import CLASSES, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    import pandas as pd
    from matplotlib.figure import Figure

    from datapkg.reading.nodes.prefetching import Prefetch


def hash(package: Node) -> str:
    """Return the sha256 of a package's manifest, which identifies this state of it."""
    return package.__source__.hash


def keys(group: Node) -> list[str]:
    """Return the names of the nodes directly in a group, in order."""
    return list(group.__source__.children(group.__at__).names)


def values(group: Node) -> list[Node]:
    """Return the nodes directly in a group, in the order of their names."""
    return [node for _, node in items(group)]


def items(group: Node) -> list[tuple[str, Node]]:
    """Return (name, node) of all nodes directly in a group, in the order of their names."""
    source = group.__source__
    kinds = source.children(group.__at__).kinds
    return [(name, CLASSES[kind](source, below(group, name))) for name, kind in kinds.items()]


def walk(group: Node) -> Iterator[tuple[str, Node]]:
    """Yield (path within the group, node) of all nodes below a group, each group before its children."""
    from datapkg.reading.nodes import walking

    return walking.walk(group.__source__, group.__at__)


def find(group: Node, pattern: str) -> Iterator[tuple[str, Node]]:
    """Yield what `walk` yields, for nodes whose path matches a pattern such as `**/*.jpg`.

    `*`, `?` and `[abc]` match characters of one name, `**` any number of names; `glob.escape` escapes names with
    brackets. Matching is case-sensitive, and names that begin with a dot match like others. Raise `InvalidInput`.
    """
    from datapkg.reading.nodes import walking

    return walking.find(group.__source__, group.__at__, pattern)


def filter(
    group: Node, test: Callable[[Node], object] | None = None, *, meta: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Node]]:
    """Yield what `walk` yields, for nodes that pass a test, or whose metadata contain all of `meta`.

    Metadata may contain more than `meta`, also below a mapping. Raise `InvalidInput` if neither is given.
    """
    from datapkg.errors import InvalidInput
    from datapkg.reading.nodes import walking

    if (test is None and meta is None) or not (test is None or callable(test)):
        raise InvalidInput("filter takes a test, or metadata: filter(lambda node: node.size > 9), filter(meta={…})")
    if not (meta is None or hasattr(meta, "keys")):
        raise InvalidInput(f"meta is a mapping, got {type(meta).__name__}")
    return walking.select(group.__source__, group.__at__, test, meta)


def to_frame(group: Node, meta: Sequence[str] | None = None) -> pd.DataFrame:
    """Return all nodes below a group as a DataFrame: a row a node, in the order of `walk`.

    Its columns are path, kind, size (0 for groups, so that the sum counts every node once), rows, file_name, hash (of
    files and arrays), and `meta.KEY` for each key of metadata; with `meta`, for those keys alone. Raise `InvalidInput`
    if there are too many keys for the memory.
    """
    from datapkg.reading.nodes.files_table import files_table

    return files_table(group.__source__, group.__at__, meta)


def plot(group: Node, limit: int = 25, columns: int = 5) -> Figure:
    """Return the images directly in a group as a grid, a figure of matplotlib.

    Other nodes are skipped. Raise `NotFound` if there is no image, `MissingDependency`.
    """
    from datapkg.reading.nodes.image_grid import no_image, plot_images

    place = f"{group.__source__.ref.package}/{group.__at__}".rstrip("/")
    figure = plot_images(values(group), limit, columns, place)
    if figure is None:
        raise no_image(walk(group), place)
    return figure


def frames(group: Node) -> pd.DataFrame | None:
    """Return all tables below a group, at any depth, concatenated in the order of `walk`, as one DataFrame.

    None if there is no table. Raise `InvalidInput` if their columns differ in names or types.
    """
    from datapkg.reading.nodes.tables import Table
    from datapkg.reading.tables.pandas_reader import concatenate

    return concatenate([node.__stored__ for _, node in walk(group) if isinstance(node, Table)])


def shard(node: Node, part: int, num_parts: int) -> Any:
    """Return one part of a package, group or table, counted from 0, with the same interface; for workers on machines.

    The parts are disjoint, together everything, about equal in bytes, and the same for a state everywhere; nothing but
    the manifest is read. Tables are cut between their objects, files and arrays are not cut: a part may lack a node.
    `datapkg install --part` installs the same part. Raise `InvalidInput` for a table that has fewer objects.
    """
    from datapkg.reading.nodes.sharding import part_of

    return part_of(node, part, num_parts)


def prefetch(node: Node) -> Prefetch:
    """Start to fetch, in the background, the missing objects of a node and of all nodes below it.

    Does nothing for packages that are not opened lazily. `wait()` of the result returns when everything is on this
    machine.
    """
    from datapkg.errors import WrongType
    from datapkg.format.texts import quoted
    from datapkg.reading.nodes.prefetching import Prefetch

    if not isinstance(node, Node):
        raise WrongType(f"prefetch takes a package or node, as datapkg.open gives it; got {quoted(node)}")
    return Prefetch(node.__source__, node.__at__)


def below(group: Node, path: str) -> str:
    """Return the path in the package of what has this path in a group, normalised as names are stored."""
    path = normal_form(path)
    return f"{group.__at__}/{path}" if group.__at__ else path
