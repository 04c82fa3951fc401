"""What all nodes have in common: where they are, and what the manifest says of them."""

from __future__ import annotations

from datapkg.reading.nodes import functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from datapkg.format.names import Ref
    from datapkg.reading.source import Source


class Node:
    """A node of one state of a package; immutable, and cheap to make.

    What it holds stands under names with two underscores on both sides, since all others belong to data.
    """

    __kind__: str
    __source__: Source
    __at__: str

    def __init__(self, source: Source, path: str) -> None:
        attributes = self.__dict__  # many nodes are made: this is quicker than setting each
        attributes["__source__"] = source
        attributes["__at__"] = path

    def __setattr__(self, name: str, value: object) -> None:
        if not is_dunder(name):
            raise TypeError(f"{functions.ref(self)} is one state of a package and does not change: {name} was not set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if not is_dunder(name):
            raise TypeError(
                f"{functions.ref(self)} is one state of a package and does not change: {name} was not deleted"
            )
        super().__delattr__(name)

    def __setitem__(self, name: object, value: object) -> NoReturn:
        raise TypeError(
            f"{functions.ref(self)} is one state of a package and does not change: {name!r:.80} was not set"
        )

    def __delitem__(self, name: object) -> NoReturn:
        raise TypeError(
            f"{functions.ref(self)} is one state of a package and does not change: {name!r:.80} was not deleted"
        )

    def __eq__(self, other: object) -> bool:
        """Whether both are the same node of the same state, by its hash; what a table holds is compared once loaded."""
        if not isinstance(other, Node):
            return NotImplemented
        return (self.__source__.hash, self.__at__) == (other.__source__.hash, other.__at__)

    def __hash__(self) -> int:
        return hash((self.__source__.hash, self.__at__))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from datapkg.reading.nodes.pickling import reduced

        return reduced(self)

    @property
    def name(self) -> str:
        """The last part of the node's path; of a package, its name."""
        return functions.name(self)

    @property
    def kind(self) -> str:
        """package, group, table, file or array."""
        return functions.kind(self)

    @property
    def ref(self) -> Ref:
        """The exact reference: package, path and hash of the state, to be written down."""
        return functions.ref(self)

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata that the publisher gave: a dict that is only read; `dict(…)` of it may be changed."""
        return functions.meta(self)

    @property
    def size(self) -> int:
        """Bytes of all objects of the node."""
        return functions.size(self)

    def __repr__(self) -> str:
        from datapkg.reading.reprs.text import describe

        return describe(self)

    def __str__(self) -> str:
        """The same text in characters that standard output can show: `print` of a package never fails."""
        from datapkg.reading.reprs.printing import printable

        return printable(repr(self))

    def _repr_html_(self) -> str:
        from datapkg.reading.reprs.page import describe

        return describe(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Both at once, for whoever asks so: what is not wanted is left out by the asker."""
        return {"text/plain": repr(self), "text/html": Node._repr_html_(self)}


def is_dunder(name: str) -> bool:
    """Whether Python itself looks at this name."""
    return name[:2] == "__" == name[-2:]
