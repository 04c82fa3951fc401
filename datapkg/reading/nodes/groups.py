"""Groups and packages: mappings of names to nodes, whose nodes are attributes too."""

from __future__ import annotations

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.format.texts import listed
from datapkg.reading.nodes import functions
from datapkg.reading.nodes.base import Node, is_dunder, node_at
from datapkg.reading.nodes.not_loaded import refuse_pandas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

PROTOCOLS = ("_repr_", "_ipython_")  # asked by notebooks of every object, and answered even where data are damaged
LISTED = 20


class Group(Node):
    """A mapping of names to nodes: `group["any name"]`, `group["a/b"]`, and `group.name` where Python allows it.

    Names of nodes win over the methods here, each of which is a function of datapkg too: `datapkg.walk(group)`.
    """

    __kind__ = "group"

    def __getattribute__(self, name: str) -> Any:
        if is_reserved(name):
            # Not of `super()`: Python 3.13 asks this of a lazy module that is not of this class yet.
            return object.__getattribute__(self, name)
        names = self.__source__.children(self.__at__).named(name)
        if len(names) == 1:
            return node_at(self.__source__, functions.below(self, names[0]))
        if names:
            ways = ", ".join(f"[{each!r}]" for each in names)
            raise NodeNotFound(f"{_place(self)}: more than one node would be .{name}, so none is; write {ways}")
        try:
            return super().__getattribute__(name)
        except AttributeError:
            from datapkg.reading.missing.missing_node import missing_node

            raise missing_node(self.__source__, functions.below(self, name)) from None

    def __getitem__(self, path: str) -> Node:
        if not isinstance(path, str):
            raise TypeError(f"a node is found by its name, which is text; got {type(path).__name__}")
        return node_at(self.__source__, functions.below(self, path))

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path != "" and self.__source__.kind(functions.below(self, path)) != ""

    def __iter__(self) -> Iterator[str]:
        return iter(functions.keys(self))

    def __len__(self) -> int:
        return len(self.__source__.children(self.__at__).kinds)

    def __dir__(self) -> list[str]:
        """Nodes that are attributes, then what this class offers; names that only Python asks for are left out."""
        attributes = self.__source__.children(self.__at__).attributes
        nodes = [name for name, names in attributes.items() if len(names) == 1 and not is_reserved(name)]
        return [*nodes, *(name for name in dir(type(self)) if name[0] != "_" and name not in attributes)]

    def _ipython_key_completions_(self) -> list[str]:
        return functions.keys(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The names of the nodes, as of any mapping; raises `WrongType` to pandas."""
        import numpy as np

        tables = self.__source__.manifest.tables() if not self.__at__ else []
        refuse_pandas(self, f"{self.__source__.ref.name}()" if len(tables) == 1 else "datapkg.frames(group)")
        return np.array(functions.keys(self), dtype)

    def __call__(self, *_: Any, **__: Any) -> Any:
        line = f"{_place(self)}: a group is not called; its tables as one DataFrame: .frames()"
        raise InvalidInput(line, hint="datapkg.frames(group)")

    def keys(self) -> list[str]:
        """The names of the nodes directly in this group, in order."""
        return functions.keys(self)

    def values(self) -> list[Node]:
        """The nodes directly in this group, in the order of their names."""
        return functions.values(self)

    def items(self) -> list[tuple[str, Node]]:
        """(name, node) of all nodes directly in this group, in the order of their names."""
        return functions.items(self)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """(path within the group, node) of all nodes below: a group comes before what it holds."""
        return functions.walk(self)

    def find(self, pattern: str) -> Iterator[tuple[str, Node]]:
        """The same of those whose path fits a pattern: `find("**/*.jpg")`; see `datapkg.find`."""
        return functions.find(self, pattern)

    def filter(
        self, test: Callable[[Node], object] | None = None, *, meta: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, Node]]:
        """The same of those that pass a test, or whose metadata hold all that is in `meta`; see `datapkg.filter`."""
        return functions.filter(self, test, meta=meta)

    def to_frame(self, meta: Sequence[str] | None = None) -> pd.DataFrame:
        """All that is below as a DataFrame, a row a node, metadata as columns; see `datapkg.to_frame`."""
        return functions.to_frame(self, meta)

    def plot(self, limit: int = 25, columns: int = 5) -> Figure:
        """The images directly in this group as a grid, a figure of matplotlib; raises `NotFound` without any."""
        return functions.plot(self, limit, columns)

    def frames(self) -> pd.DataFrame | None:
        """All tables below this group, one below the other in the order of `walk`; None without any."""
        return functions.frames(self)


class Package(Group):
    """One state of a package: its root group, its hash and its metadata."""

    __kind__ = "package"

    @property
    def hash(self) -> str:
        """The sha256 of the manifest, which names this state."""
        return functions.hash(self)

    def __bool__(self) -> bool:
        return True

    def __call__(self, columns: Sequence[str] | None = None, filters: Any = None, **options: Any) -> pd.DataFrame:
        """The DataFrame of the one table that the package has, at any depth; all is asked as of that table.

        Raises `InvalidInput` listing its tables where there is not exactly one.
        """
        tables = self.__source__.manifest.tables()
        if len(tables) == 1:
            frame: pd.DataFrame = self[tables[0]](columns=columns, filters=filters, **options)  # type: ignore[operator]
            return frame
        package = self.__source__.ref.package
        if not tables:
            raise InvalidInput(f"{package} has no table, so it cannot be called; call one of its nodes")
        choices = listed(tables, LISTED, lambda path: f"[{path!r}]")
        raise InvalidInput(f"{package} has {len(tables):,} tables; call one of them: {choices}", tables=tables)


def is_reserved(name: str) -> bool:
    """Whether Python or a notebook asks for this name, so that it is not a node's."""
    return is_dunder(name) or name.startswith(PROTOCOLS)


def _place(group: Group) -> str:
    return f"{group.__source__.ref.package}{'/' + group.__at__ if group.__at__ else ''}"
