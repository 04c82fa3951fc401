"""A table that is read in parts, so that memory stays bounded when the table does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class StartAgain(Exception):
    """Raised while parts are read: what came so far has the wrong types; `schema` is right now, read from the start."""


@dataclass(frozen=True)
class Part:
    """Rows that follow each other, in the types of the stream's schema.

    `start` and `stop` are where their text begins and ends in the source, in bytes; `offset(n)` is where that of row n
    (from 0) begins, None where that cannot be told. `needs` says of each column, by position, what its text in this
    part demands at least: "" nothing (all missing), else a name that the stream knows.
    """

    table: pa.Table
    start: int = -1
    stop: int = -1
    offset: Callable[[int], int | None] = field(default=lambda row: None)
    needs: tuple[str, ...] = ()


class TableStream(Protocol):
    """What a transform gives for a table too big to hold; one that fits may be a `pa.Table`."""

    @property
    def schema(self) -> pa.Schema:
        """Types and the description of the frame, as they are settled now; dictionaries are the same in all parts."""
        ...

    def parts(self) -> Iterator[Part]:
        """All rows in order. Raises `StartAgain` once at most, after which it is called again."""
        ...


class TextStream(TableStream, Protocol):
    """A table in an uncompressed file of text, of which known stretches need not be parsed."""

    @property
    def choices(self) -> str:
        """All that settles how a stretch of text is read, but for `schema`: the header, kwargs, version of the code."""
        ...

    @property
    def first(self) -> int:
        """Where the first row begins, in bytes."""
        ...

    @property
    def size(self) -> int:
        """Where the last row ends, in bytes: the size of the file."""
        ...

    def parts(self, start: int | None = None) -> Iterator[Part]:
        """The rows from `start`, which is where a row begins; closing the iterator stops what is parsed ahead."""
        ...

    def fits(self, needs: tuple[str, ...]) -> bool:
        """Whether `schema` is what these demands, joined over the whole file, come to."""
        ...

    def joined(self, needs: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
        """What two parts demand together."""
        ...
