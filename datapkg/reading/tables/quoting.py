"""Quote the cells of delimited text that need it (RFC 4180): by their bytes, without a pattern for each cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapkg.tables.arrow_values import boolean_array, booleans_of, is_valid, offsets_of, text_scalar
from datapkg.tables.byte_search import is_any_up_to, places_of

_LINE_ENDS = "\n\r"
_BLANK = np.zeros(256, bool)
_BLANK[list(b"\t\n\f\r ")] = True
_MOST_BLANK = ord('"')  # blanks, line ends and the usual quote are not above it


def quoted(text: pa.Array, separator: str, quote: str) -> pa.Array:
    """Return large strings with quotes around cells that are empty, have a structural character or a blank at an end.

    A quote inside such a cell is doubled; nulls stay nulls.
    """
    if not len(text):
        return text
    needs = _needs_quotes(text, {separator, quote, *_LINE_ENDS})
    if text.null_count:
        needs &= is_valid(text)
    if not needs.any():
        return text
    mask, mark = boolean_array(needs), text_scalar(quote)
    some = pc.replace_substring(text.filter(mask), quote, quote * 2)
    some = pc.binary_join_element_wise(mark, some, mark, text_scalar(""))
    return some if len(some) == len(text) else pc.replace_with_mask(text, mask, some)


def _needs_quotes(text: pa.Array, special: set[str]) -> Any:
    """Return which cells need quotes; undefined for nulls."""
    offsets = offsets_of(text, np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    needs: Any = offsets[1:] == offsets[:-1]
    if first < last:
        data = np.frombuffer(text.buffers()[2], np.uint8, last - first, first)
        starts, ends = offsets[:-1] - first, offsets[1:] - first - 1
        wanted = [ord(each) for each in special if each.isascii()]
        if is_any_up_to(data, _MOST_BLANK):
            # Of an empty cell, other bytes are looked at, which makes no difference.
            for places in (starts, ends):
                found = data.take(places, mode="clip")
                if found.min() <= _MOST_BLANK:
                    needs |= _BLANK.take(found)
        else:
            wanted = [each for each in wanted if each > _MOST_BLANK]
        for places in places_of(data, wanted):
            needs[np.searchsorted(ends, places)] = True
    for each in special:
        if not each.isascii():
            needs |= booleans_of(pc.match_substring(text, each))
    return needs
