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
from typing import Any, BinaryIO

from datapkg.errors import InvalidInput

ZST = ".zst"
# The longest line, or JSON record, that is read.
LONGEST_BYTES, _PIECE_BYTES = 256 << 20, 1 << 20
ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def open_text(path: Path) -> BinaryIO:
    """Return the bytes of a file, decompressed if its suffix is that of a compression; raise `ERRORS`."""
    stream: BinaryIO = SUFFIXES.get(path.suffix.lower(), open)(path, "rb")
    return stream


def check_lines(path: Path) -> None:
    """Raise `InvalidInput` for compressed text with a line longer than `LONGEST_BYTES`, which readers keep in memory.

    A file of a few MB may contain a line of many GB. Corrupt files are left to the reader, which reports them.
    """
    if path.suffix.lower() not in SUFFIXES:
        return
    length = 0
    with suppress(*ERRORS), open_text(path) as stream:
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
    if method != "zstd" and (method != "infer" or path.suffix.lower() != ZST):
        yield path, kwargs
        return
    with _open_zst(path, "rb") as stream:
        yield stream, {key: value for key, value in kwargs.items() if key != "compression"}


def _open_zst(path: Path, mode: str) -> Any:
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path), mode), "zstd"))


SUFFIXES: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ZST: _open_zst}
