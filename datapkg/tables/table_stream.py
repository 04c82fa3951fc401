"""A table that is read in parts, so that memory stays bounded when the table does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

# What the text of each column, by position, demands at least: "" nothing, else a name that the stream knows.
Needs = tuple[str, ...]


class RestartRead(Exception):
    """Raised while parts are read: what came so far has the wrong types; `schema` is right now, read from the start."""


def unknown_offset(row: int) -> int | None:
    """The offset of a row in a source where that cannot be told."""
    return None


@dataclass(frozen=True)
class TablePart:
    """Rows that follow each other, in the types of the stream's schema.

    `start` and `stop` are where their text begins and ends in the source, in bytes, -1 where that cannot be told;
    `offset(n)` is where that of row n (from 0, less than the number of rows) begins, None likewise.
    """

    table: pa.Table
    start: int = -1
    stop: int = -1
    offset: Callable[[int], int | None] = unknown_offset


@runtime_checkable
class TableStream(Protocol):
    """What a transform gives for a table too big to hold; one that fits may be a `pa.Table`."""

    @property
    def schema(self) -> pa.Schema:
        """Types and the description of the frame, as they are settled now; dictionaries are the same in all parts."""
        ...

    def parts(self) -> Iterator[TablePart]:
        """All rows in order. Raises `StartAgain` once at most, after which it is called again."""
        ...


@runtime_checkable
class TextStream(Protocol):
    """A table in an uncompressed file of text, of which known stretches need not be parsed again.

    It is a `TableStream` too: `parts()` begins at `first`.
    """

    @property
    def schema(self) -> pa.Schema:
        """As of `TableStream`."""
        ...

    @property
    def choices(self) -> str:
        """All that settles how text is read, but for `schema`: the header, kwargs, the version of the code, as text."""
        ...

    @property
    def first(self) -> int:
        """Where the first row begins, in bytes."""
        ...

    @property
    def size(self) -> int:
        """Where the last row ends, in bytes: the size of the file."""
        ...

    def parts(self, start: int | None = None) -> Iterator[TablePart]:
        """The rows from `start`, where a row begins; closing the iterator stops what is parsed ahead."""
        ...

    def assume(self, needs: Needs) -> None:
        """Settles `schema` by what an earlier state of the file demanded, before anything is read."""
        ...

    def needs(self, table: pa.Table, start: int, stop: int) -> Needs:
        """What a stretch of the file, by its rows and the place of its text, demands: a lower bound, in any thread."""
        ...

    def joined(self, needs: Needs, more: Needs) -> Needs:
        """What two stretches demand together."""
        ...

    def fits(self, needs: Needs) -> bool:
        """Whether `schema` is what these demands, joined over the whole file, come to."""
        ...
