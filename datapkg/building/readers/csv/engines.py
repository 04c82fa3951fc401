"""Choose the engine for a CSV file: the fastest that certainly returns what pandas returns for the whole file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.compression import SUFFIXES
from datapkg.building.readers.csv.arrow_engine import ArrowCsvStream, ArrowTextStream, BlockSizeControl
from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.building.readers.csv.pandas_chunked import ChunkStream, reads_in_chunks
from datapkg.building.readers.csv.pandas_whole import (
    frame,
    names_from_dtype,
    refuse_trailing_separators,
    width_of_first_row,
)
from datapkg.building.readers.csv.record_splitter import Text
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from datapkg.tables.table_stream import TablePart, TableStream

if TYPE_CHECKING:
    import pyarrow as pa

Warn = Callable[[str], None]
_COLUMN_BYTES = 2 << 10  # the least bytes of a piece for each column, see `_for_width`
_GUESSED_ROW = 256  # bytes of a row in a file of which nothing was read
_METHODS = {"gzip": ".gz", "bz2": ".bz2", "xz": ".xz", "zstd": ".zst"}


@dataclass(frozen=True)
class EngineLimits:
    """File sizes, in bytes of text, from which the fast engine and chunked pandas are used.

    `python` is the size up to which pandas' Python engine, which needs twenty times as much memory, tries malformed
    text.
    """

    fast: int = 4 << 20
    chunks: int = 16 << 20
    python: int = 256 << 20
    chunk: int = 8 << 20
    pace: BlockSizeControl = BlockSizeControl()  # noqa: RUF009


_LIMITS = EngineLimits()


def read(path: Path, kwargs: dict[str, Any], warn: Warn, limits: EngineLimits = _LIMITS) -> pa.Table | TableStream:
    """Return the table in a file: a small file at once, others as a stream."""
    text = _text(path, kwargs)
    head = text.head(limits.fast) if text else b""
    if text and len(head) < limits.fast:
        return _whole_table(path, kwargs, warn)
    kwargs = _named(path, kwargs, warn)
    fast = _fast(text, head, kwargs, warn, limits) if text else None
    return fast or _slow(path, head, kwargs, warn, limits)


def _fast(text: Text, head: bytes, kwargs: dict[str, Any], warn: Warn, limits: EngineLimits) -> TableStream | None:
    layout = detect_dialect(head[: head.rfind(b"\n") + 1], kwargs)
    if layout is None:
        return None

    def slower(reason: str) -> TableStream:
        found = _slow(text.path, head, kwargs, warn, limits)
        return found if isinstance(found, TableStream) else WholeStream(found)

    kind = ArrowTextStream if text.unpack is None else ArrowCsvStream
    try:
        return kind(text, layout, slower, _for_width(limits.pace, layout.width))
    except UnsupportedByEngine:
        return None


def _for_width(pace: BlockSizeControl, width: int) -> BlockSizeControl:
    """Return longer pieces for many columns, each of which takes some time per piece, and fewer of them at once."""
    piece = max(pace.piece, min(8 * pace.piece, width * _COLUMN_BYTES))
    return pace if piece == pace.piece else replace(pace, piece=piece, waiting=2)


def _slow(path: Path, head: bytes, kwargs: dict[str, Any], warn: Warn, limits: EngineLimits) -> pa.Table | TableStream:
    import pandas

    def whole(reason: str) -> TableStream:
        return WholeStream(_whole_table(path, kwargs, warn))

    size = _estimated_size(path)
    if size >= limits.chunks and reads_in_chunks(kwargs):
        try:
            refuse_trailing_separators(path, kwargs)
            return ChunkStream(path, kwargs, _rows(head, limits.chunk), whole)
        except UnsupportedByEngine:
            pass
        except pandas.errors.ParserError:
            if size > limits.python:
                raise
    return _whole_table(path, kwargs, warn)


class WholeStream:
    """A `TableStream` of a table in memory, for engines that fall back to reading a file whole."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the table."""
        return self._table.schema

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows as one part."""
        yield TablePart(self._table)


def _whole_table(path: Path, kwargs: dict[str, Any], warn: Warn) -> pa.Table:
    from datapkg.tables.frame_to_arrow import dtype_kwarg, table_from_frame
    from datapkg.tables.storage_types import to_storage_types

    size, memory = _estimated_size(path), _memory()
    if memory and size > memory // 2:
        warn(
            f"about {size >> 30:,} GiB of text are loaded whole into {memory >> 30:,} GiB of memory, "
            f"since no other way surely gives what pandas gives: {', '.join(sorted(kwargs))}"
        )
    return to_storage_types(table_from_frame(frame(path, kwargs, warn), dtype_kwarg))


def _text(path: Path, kwargs: dict[str, Any]) -> Text | None:
    """Return the file as pandas opens it; None for archives, which only pandas opens."""
    method = kwargs.get("compression", "infer")
    suffix = path.suffix.lower()
    if method == "infer":
        archived = suffix in (".zip", ".tar") or Path(path.stem).suffix.lower() == ".tar"
        return None if archived else Text(path, SUFFIXES.get(suffix))
    if method is None:
        return Text(path)
    return Text(path, SUFFIXES[_METHODS[method]]) if isinstance(method, str) and method in _METHODS else None


def _named(path: Path, kwargs: dict[str, Any], warn: Warn) -> dict[str, Any]:
    """Return the kwargs with the keys of `dtype` as `names`, if they name all columns."""
    names = names_from_dtype(kwargs)
    if names and width_of_first_row(path, kwargs, warn) == len(names):
        return {**kwargs, "names": names}
    return kwargs


def _rows(head: bytes, size: int) -> int:
    """Return the number of rows in about that many bytes, estimated from the first bytes if there are any."""
    lines = max(head.count(b"\n"), head.count(b"\r"), 1)
    return max(1, size * lines // len(head) if head else size // _GUESSED_ROW)


def _estimated_size(path: Path) -> int:
    """Return the bytes of text in a file, assuming that compressed text expands to five times its size."""
    size = path.stat().st_size
    return size * 5 if path.suffix.lower() in (*SUFFIXES, ".zip") else size


def _memory() -> int:
    """Return the bytes of memory of this machine; 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
