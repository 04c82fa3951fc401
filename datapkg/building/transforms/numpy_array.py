"""numpy: a .npy file, kept as its bytes are once its header is found to be true."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from datapkg.errors import InvalidInput

_KINDS = "biufcmMSU"


def header(stream: BinaryIO) -> tuple[str, list[int]]:
    """(dtype, shape) of an open .npy file; raises `InvalidInput` for Python objects, records and files cut short."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise InvalidInput(f"version {version} of numpy's format is not known")
    shape, _, dtype = read(stream)
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    here = stream.tell()
    actual = stream.seek(0, os.SEEK_END) - here
    text = check_dtype(dtype)
    if actual != expected:
        raise InvalidInput(f"the header promises {expected:,} bytes of data, there are {actual:,}")
    return text, list(shape)


def check_dtype(dtype: Any) -> str:
    """The text of a dtype; raises `InvalidInput` for one that is no plain number, time or text."""
    if dtype.kind not in _KINDS:
        what = "Python objects" if dtype.hasobject else f"{dtype}"
        raise InvalidInput(f"an array of {what} cannot be kept: only numbers, times, bytes and text of fixed length")
    return str(dtype.str)


def to_bytes(array: Any) -> bytes:
    """The .npy bytes of an array."""
    from numpy.lib import format as npy

    sink = io.BytesIO()
    npy.write_array(sink, array, allow_pickle=False)
    return sink.getvalue()
