"""Open compressed text: which file suffixes mean which compression, and how each is opened.

zst is read by pyarrow, which is installed anyway; pandas would need another library for it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from datapkg.building.readers.source_file import first_pass, open_source_file
from datapkg.errors import InvalidInput

ZST = ".zst"
# The longest line, or JSON record, that is read.
LONGEST_BYTES, _PIECE_BYTES = 256 << 20, 1 << 20
# The part of the work on compressed text that checking its lines takes.
_CHECKED = 0.3
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz")
ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def open_text(path: Path) -> BinaryIO:
    """Return the bytes of a file, decompressed if its suffix is that of a compression; raise `ERRORS`."""
    return SUFFIXES.get(path.suffix.lower(), open_source_file)(path)


def check_lines(path: Path) -> None:
    """Raise `InvalidInput` for compressed text with a line longer than `LONGEST_BYTES`, which readers keep in memory.

    A file of a few MB may contain a line of many GB. Corrupt files are left to the reader, which reports them.
    """
    if path.suffix.lower() not in SUFFIXES:
        return
    length = 0
    with first_pass(_CHECKED), suppress(*ERRORS), open_text(path) as stream:
        while piece := stream.read(_PIECE_BYTES):
            newline = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
            length = length + len(piece) if newline < 0 else len(piece) - newline - 1
            if length > LONGEST_BYTES:
                raise InvalidInput(f"it unpacks to a line longer than {LONGEST_BYTES >> 20} MiB")


@contextmanager
def for_pandas(path: Path, kwargs: dict[str, Any]) -> Iterator[tuple[Path | BinaryIO, dict[str, Any]]]:
    """Yield input and kwargs for a pandas reader: the path, or an open stream if pandas cannot open the file."""
    compression = kwargs.get("compression", "infer")
    method = compression.get("method", "infer") if isinstance(compression, dict) else compression
    if method == "zstd":
        opened = _open_zst(path)
    # Archives and memory maps need a path, so pandas opens the file itself; then no progress is reported.
    elif compression == "infer" and path.suffix.lower() not in _ARCHIVES and "memory_map" not in kwargs:
        opened = open_text(path)
    else:
        yield path, kwargs
        return
    with opened as stream:
        yield stream, {key: value for key, value in kwargs.items() if key != "compression"}


def _open_zst(path: Path) -> BinaryIO:
    import pyarrow as pa

    file = pa.PythonFile(open_source_file(path), "r")
    return io.BufferedReader(pa.CompressedInputStream(file, "zstd"), _PIECE_BYTES)


def _open_gz(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(open_source_file(path)))


def _open_bz2(path: Path) -> BinaryIO:
    return cast(BinaryIO, bz2.open(open_source_file(path)))


def _open_xz(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.open(open_source_file(path)))


SUFFIXES: dict[str, Callable[[Path], BinaryIO]] = {".gz": _open_gz, ".bz2": _open_bz2, ".xz": _open_xz, ZST: _open_zst}
