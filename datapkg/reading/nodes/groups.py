"""Groups and packages: mappings of names to nodes, whose nodes are attributes too."""

from __future__ import annotations

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.format.names import is_reserved_attribute
from datapkg.format.texts import listed
from datapkg.reading.nodes import functions
from datapkg.reading.nodes.base import Node, node_at
from datapkg.reading.nodes.not_loaded import refuse_pandas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

LISTED = 20


class Group(Node):
    """A mapping of names to nodes: `group["any name"]`, `group["a/b"]`, and `group.name` where Python allows it.

    Names of nodes take precedence over the methods here, each of which is a function of datapkg too:
    `datapkg.walk(group)`.
    """

    __kind__ = "group"

    def __getattribute__(self, name: str) -> Any:
        if is_reserved_attribute(name):
            # Not `super()`: Python 3.13 calls this on a lazy module that is not of this class yet.
            return object.__getattribute__(self, name)
        names = self.__source__.children(self.__at__).named(name)
        if len(names) == 1:
            return node_at(self.__source__, functions.below(self, names[0]))
        if names:
            ways = ", ".join(f"[{each!r}]" for each in names)
            raise NodeNotFound(f"{_place(self)}: .{name} is ambiguous; write {ways}")
        try:
            return super().__getattribute__(name)
        except AttributeError:
            from datapkg.reading.missing.missing_node import missing_node

            raise missing_node(self.__source__, functions.below(self, name)) from None

    def __getitem__(self, path: str) -> Node:
        if not isinstance(path, str):
            raise TypeError(f"a node is selected by its name, a str; got {type(path).__name__}")
        return node_at(self.__source__, functions.below(self, path))

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path != "" and self.__source__.kind(functions.below(self, path)) != ""

    def __iter__(self) -> Iterator[str]:
        return iter(functions.keys(self))

    def __len__(self) -> int:
        return len(self.__source__.children(self.__at__).kinds)

    def __dir__(self) -> list[str]:
        """Return nodes that are attributes, then the methods of this class; names for Python's own use are left out."""
        attributes = self.__source__.children(self.__at__).attributes
        nodes = [name for name, names in attributes.items() if len(names) == 1 and not is_reserved_attribute(name)]
        return [*nodes, *(name for name in dir(type(self)) if name[0] != "_" and name not in attributes)]

    def _ipython_key_completions_(self) -> list[str]:
        return functions.keys(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the names of the nodes, as for any mapping; raise `WrongType` if pandas asks."""
        import numpy as np

        tables = self.__source__.manifest.tables() if not self.__at__ else []
        refuse_pandas(self, f"{self.__source__.ref.name}()" if len(tables) == 1 else "datapkg.frames(group)")
        return np.array(functions.keys(self), dtype)

    def __call__(self, *_: Any, **__: Any) -> Any:
        line = f"{_place(self)}: a group cannot be called; for its tables as one DataFrame, write .frames()"
        raise InvalidInput(line, hint="datapkg.frames(group)")

    def keys(self) -> list[str]:
        """Return the names of the nodes directly in this group, in order."""
        return functions.keys(self)

    def values(self) -> list[Node]:
        """Return the nodes directly in this group, in the order of their names."""
        return functions.values(self)

    def items(self) -> list[tuple[str, Node]]:
        """Return (name, node) of all nodes directly in this group, in the order of their names."""
        return functions.items(self)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yield (path within the group, node) of all nodes below, each group before its children."""
        return functions.walk(self)

    def find(self, pattern: str) -> Iterator[tuple[str, Node]]:
        """Yield the same for nodes whose path matches a pattern: `find("**/*.jpg")`; see `datapkg.find`."""
        return functions.find(self, pattern)

    def filter(
        self, test: Callable[[Node], object] | None = None, *, meta: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, Node]]:
        """Yield the same for nodes that pass a test, or whose metadata contain all of `meta`; see `datapkg.filter`."""
        return functions.filter(self, test, meta=meta)

    def to_frame(self, meta: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all nodes below as a DataFrame, a row a node, metadata as columns; see `datapkg.to_frame`."""
        return functions.to_frame(self, meta)

    def plot(self, limit: int = 25, columns: int = 5) -> Figure:
        """Return the images directly in this group as a grid, a figure of matplotlib; raise `NotFound` without any."""
        return functions.plot(self, limit, columns)

    def shard(self, part: int, num_parts: int) -> Any:
        """Return one part of what is below, counted from 0, with the same interface; see `datapkg.shard`."""
        return functions.shard(self, part, num_parts)

    def frames(self) -> pd.DataFrame | None:
        """Return all tables below this group, concatenated in the order of `walk`; None without any."""
        return functions.frames(self)


class Package(Group):
    """One state of a package: its root group, its hash and its metadata."""

    __kind__ = "package"

    @property
    def hash(self) -> str:
        """The sha256 of the manifest, which identifies this state."""
        return functions.hash(self)

    def __bool__(self) -> bool:
        return True

    def __call__(self, columns: Sequence[str] | None = None, filters: Any = None, **options: Any) -> pd.DataFrame:
        """Return the DataFrame of the package's only table, at any depth; the arguments are those of the table.

        Raise `InvalidInput` listing its tables if there is not exactly one.
        """
        tables = self.__source__.manifest.tables()
        if len(tables) == 1:
            frame: pd.DataFrame = self[tables[0]](columns=columns, filters=filters, **options)  # type: ignore[operator]
            return frame
        package = self.__source__.ref.package
        if not tables:
            raise InvalidInput(f"{package} has no table, so it cannot be called; select one of its nodes")
        choices = listed(tables, LISTED, lambda path: f"[{path!r}]")
        raise InvalidInput(f"{package} has {len(tables):,} tables; call one of them: {choices}", tables=tables)


def _place(group: Group) -> str:
    return f"{group.__source__.ref.package}{'/' + group.__at__ if group.__at__ else ''}"
