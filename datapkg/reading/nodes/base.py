"""What all nodes have in common: their path, and what the manifest holds of them."""

from __future__ import annotations

from datapkg.format.names import is_dunder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from datapkg.format.names import Ref
    from datapkg.reading.source import Source


class Node:
    """A node of one state of a package; immutable, and cheap to create.

    Its own attributes have names with two underscores on both sides, since all others belong to the data.
    """

    __kind__: str
    __source__: Source
    __at__: str

    def __init__(self, source: Source, path: str) -> None:
        attributes = self.__dict__  # a walk makes many nodes, and this is faster than setting each attribute
        attributes["__source__"] = source
        attributes["__at__"] = path

    def __setattr__(self, name: str, value: object) -> None:
        if not is_dunder(name):
            raise TypeError(f"{ref(self)} is one state of a package and does not change: {name} was not set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if not is_dunder(name):
            raise TypeError(f"{ref(self)} is one state of a package and does not change: {name} was not deleted")
        super().__delattr__(name)

    def __setitem__(self, name: object, value: object) -> NoReturn:
        raise TypeError(f"{ref(self)} is one state of a package and does not change: {name!r:.80} was not set")

    def __delitem__(self, name: object) -> NoReturn:
        raise TypeError(f"{ref(self)} is one state of a package and does not change: {name!r:.80} was not deleted")

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same node of the same state; the values of tables are compared once loaded."""
        if not isinstance(other, Node):
            return NotImplemented
        return _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what names the node, for another process to open it; no data of the package is pickled."""
        from datapkg.reading.opening import dump_source

        return restored, (self.__kind__, self.__at__, dump_source(self.__source__))

    @property
    def name(self) -> str:
        """The last part of the node's path; of a package, its name."""
        return name(self)

    @property
    def kind(self) -> str:
        """The kind: package, group, table, file or array."""
        return kind(self)

    @property
    def ref(self) -> Ref:
        """The exact reference: package, path and hash of the state."""
        return ref(self)

    @property
    def meta(self) -> dict[str, Any]:
        """The publisher's metadata, as a read-only dict; `dict(…)` of it may be changed."""
        return meta(self)

    @property
    def size(self) -> int:
        """The size of all objects of the node, in bytes."""
        return size(self)

    def __repr__(self) -> str:
        from datapkg.reading.reprs.text import describe

        return describe(self)

    def __str__(self) -> str:
        """Return `repr` in characters that standard output can show, so that `print` of a package never fails."""
        from datapkg.reading.reprs.printing import printable

        return printable(repr(self))

    def _repr_html_(self) -> str:
        from datapkg.reading.reprs.page import describe

        return describe(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return both representations; IPython drops what `include` and `exclude` rule out."""
        return {"text/plain": repr(self), "text/html": Node._repr_html_(self)}


def _identity(node: Node) -> tuple[object, ...]:
    return node.__source__.hash, node.__source__.parts, node.__at__


CLASSES: dict[str, type[Node]] = {}
"""The class of each kind of node; the package's `__init__` fills it."""


def node_at(source: Source, path: str) -> Node:
    """Return the node at a path; raise `NodeNotFound` with close names."""
    if kind := source.kind(path):
        return CLASSES[kind](source, path)
    from datapkg.reading.missing.missing_node import missing_node  # start-up is faster without what errors need

    raise missing_node(source, path)


def restored(kind: str, path: str, source: dict[str, Any]) -> Node:
    """Return a node that was pickled, unread; raise `PackageNotInstalled` if its state is not on this machine.

    A package that was imported comes back as one that was loaded.
    """
    from datapkg.reading.opening import load_source

    return CLASSES[kind](load_source(source), path)


def name(node: Node) -> str:
    """Return the last part of a node's path; of a package, its name."""
    return node.__at__.rpartition("/")[2] or node.__source__.ref.name


def kind(node: Node) -> str:
    """Return the kind of a node: package, group, table, file or array."""
    return node.__kind__  # each kind has a class, so the manifest is not needed


def ref(node: Node) -> Ref:
    """Return the exact reference of a node: package, path and hash of the state."""
    return node.__source__.ref_of(node.__at__)


def meta(node: Node) -> dict[str, Any]:
    """Return the publisher's metadata of a node, as a read-only dict; `dict(…)` of it may be changed."""
    from datapkg.reading.nodes.read_only import ReadOnlyDict

    manifest, path = node.__source__.manifest, node.__at__
    entry = manifest.get(path) if path else manifest
    change = f"draft.set_meta({path!r}, {{…}})" if path else "draft.meta[…] = …"
    line = f'with datapkg.edit("{node.__source__.ref.package}") as draft: {change}'
    return ReadOnlyDict(entry.meta if entry else {}, line)


def size(node: Node) -> int:
    """Return the size of all objects of a node and of all nodes below it, in bytes; each object counts once."""
    if line := vars(node).get("__line__"):  # `walk` keeps the entry that it has read
        return sum(dict(line.objects()).values())
    return node.__source__.manifest.size(node.__at__)
