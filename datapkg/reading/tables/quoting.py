"""Quote the cells of delimited text that need it (RFC 4180): by their bytes, without a pattern for each cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LINE_ENDS = "\n\r"
_BLANK = np.zeros(256, bool)
_BLANK[list(b"\t\n\f\r ")] = True


def quoted(text: pa.Array, separator: str, quote: str) -> pa.Array:
    """Return large strings with quotes around cells that are empty, have a structural character or a blank at an end.

    A quote inside such a cell is doubled; nulls stay nulls.
    """
    if not len(text):
        return text
    needs = _needs_quotes(text, {separator, quote, *_LINE_ENDS})
    if text.null_count:
        needs &= text.is_valid().to_numpy(zero_copy_only=False)
    if not needs.any():
        return text
    mask, mark = pa.array(needs), pa.scalar(quote, pa.large_string())
    some = pc.replace_substring(text.filter(mask), quote, quote * 2)
    some = pc.binary_join_element_wise(mark, some, mark, pa.scalar("", pa.large_string()))
    return some if len(some) == len(text) else pc.replace_with_mask(text, mask, some)


def _needs_quotes(text: pa.Array, special: set[str]) -> Any:
    """Return which cells need quotes; undefined for nulls."""
    offsets = np.frombuffer(text.buffers()[1], np.int64, len(text) + 1, text.offset * 8)
    first, last = int(offsets[0]), int(offsets[-1])
    needs: Any = offsets[1:] == offsets[:-1]
    if first < last:
        data = np.frombuffer(text.buffers()[2], np.uint8, last - first, first)
        starts, ends = offsets[:-1] - first, offsets[1:] - first - 1
        # Of an empty cell, other bytes are looked at, which makes no difference.
        needs |= _BLANK[data.take(starts, mode="clip")] | _BLANK[data.take(ends, mode="clip")]
        found = np.zeros(len(data), bool)
        for byte in (ord(each) for each in special if each.isascii()):
            found |= data == byte
        needs[np.searchsorted(ends, np.flatnonzero(found))] = True
    for each in special:
        if not each.isascii():
            needs |= pc.match_substring(text, each).fill_null(False).to_numpy(zero_copy_only=False)
    return needs
