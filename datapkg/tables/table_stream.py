"""A table that is read in parts, so that memory stays bounded for a table of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

# What the text of each column, by position, requires at least: "" nothing, else a name that the stream defines.
Needs = tuple[str, ...]


class RestartRead(Exception):
    """Raised while parts are read: their types so far are wrong, and `schema` is now correct; start again."""


def unknown_offset(row: int) -> int | None:
    """Return None: the offset of a row in a source whose offsets are not known."""
    return None


@dataclass(frozen=True)
class TablePart:
    """Consecutive rows, in the types of the stream's schema.

    `start` and `stop` are where their text begins and ends in the source, in bytes, -1 if that is not known;
    `offset(n)` is where that of row n (from 0, less than the number of rows) begins, None if that is not known. `share`
    is how much of the source was read when this part was, from 0 to 1; 0 if that is not known.
    """

    table: pa.Table
    start: int = -1
    stop: int = -1
    offset: Callable[[int], int | None] = unknown_offset
    share: float = 0.0


@runtime_checkable
class TableStream(Protocol):
    """What a transform returns for a table that is too big for memory; a smaller one may be a `pa.Table`."""

    @property
    def schema(self) -> pa.Schema:
        """The types and the description of the frame as known now; dictionaries are the same in all parts."""
        ...

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows in order. Raise `RestartRead` at most once, after which it is called again."""
        ...


@runtime_checkable
class TextStream(Protocol):
    """A table in an uncompressed text file, of which known ranges need not be parsed again.

    It is a `TableStream` too: `parts()` begins at `first`.
    """

    @property
    def schema(self) -> pa.Schema:
        """As in `TableStream`."""
        ...

    @property
    def choices(self) -> str:
        """Return, as text, everything that decides how text is read, except `schema`.

        It has the header, the kwargs and the version of the code.
        """
        ...

    @property
    def first(self) -> int:
        """Return where the first row begins, in bytes."""
        ...

    @property
    def size(self) -> int:
        """Return where the last row ends, in bytes: the size of the file."""
        ...

    def parts(self, start: int | None = None) -> Iterator[TablePart]:
        """Yield the rows from `start`, where a row begins; closing the iterator stops parsing ahead."""
        ...

    def assume(self, needs: Needs) -> None:
        """Set `schema` to what an earlier state of the file required, before anything is read."""
        ...

    def needs(self, table: pa.Table, start: int, stop: int) -> Needs:
        """Return a lower bound of what a range of the file requires; thread-safe.

        The range is given by its rows and by the offsets of its text.
        """
        ...

    def joined(self, needs: Needs, more: Needs) -> Needs:
        """Return what two ranges require together."""
        ...

    def fits(self, needs: Needs) -> bool:
        """Return whether `schema` is what these requirements, joined over the whole file, amount to."""
        ...
