"""Read the header of an untrusted .npy object, and compare it with the size of the data before anything is allocated.

numpy evaluates a header as a Python literal, so a hostile one can raise whatever Python's parser raises.
"""

from __future__ import annotations

import math
import tokenize
from typing import IO, TYPE_CHECKING, Any

from datapkg.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

_UNREADABLE = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError),
    tokenize.TokenError,
)
_HEADER_BYTES = 10_000  # numpy's own limit


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether columns come first, and the dtype; the stream is then at the data.

    Raise `InvalidInput` for what is not an .npy file, whatever is wrong with it.
    """
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is not None:
            shape, is_by_columns, dtype = read(stream, max_header_size=_HEADER_BYTES)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InvalidInput(f"its header is not that of a .npy file: {reason}") from error
    if read is None:
        raise InvalidInput(f"version {version} of numpy's format is not known")
    if any(length < 0 for length in shape):
        raise InvalidInput("its header has a length below zero")
    return shape, is_by_columns, dtype


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any], actual: int) -> None:
    """Raise `InvalidInput` unless an array of this shape has `actual` bytes: numpy allocates before it reads."""
    expected = dtype.itemsize * math.prod(shape)
    if actual != expected:
        raise InvalidInput(f"the header promises {expected:,} bytes of data, there are {actual:,}")
