"""Write numbers of few digits as text: by their place in a table of texts, which Arrow copies from.

That takes a fifth of formatting each. Floats are in such a table only if exact arithmetic says so, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.tables.arrow_values import boolean_array, text_array, zero_for_null

_INTEGERS = 10_000
_HUNDREDTHS = 65_536
_SAMPLE = 256
_MOST_KNOWN = 0.95


def number_texts(array: pa.Array, texts_of: Callable[[pa.Array], pa.Array]) -> pa.Array | None:
    """Return integers, or floats of up to two places, as large strings; nulls stay nulls.

    `texts_of` returns the texts of those that are in no table; if they are many, return None.
    """
    if not len(array):
        return None
    if types.is_float64(array.type):
        texts, find = _hundredth_texts, _hundredths
        values = zero_for_null(array, np.float64)
    elif types.is_integer(array.type) and array.type != pa.uint64():
        texts, find = _integer_texts, _integers
        values = zero_for_null(array.cast(pa.int64()), np.int64)
    else:
        return None
    if find(values[:: max(1, len(values) // _SAMPLE)])[1].mean() < _MOST_KNOWN:
        return None
    places, are_known = find(values)
    if are_known.all():
        return _taken(texts(), places, array)
    if are_known.mean() < _MOST_KNOWN:
        return None
    found = _taken(texts(), np.where(are_known, places, 0), array)
    others = boolean_array(~are_known)
    return pc.replace_with_mask(found, others, texts_of(array.filter(others)))


def _taken(texts: pa.Array, places: Any, array: pa.Array) -> pa.Array:
    validity = array.is_valid().buffers()[1] if array.null_count else None
    chosen = pa.Array.from_buffers(pa.int64(), len(places), [validity, pa.py_buffer(places)])
    return pc.take(texts, chosen, boundscheck=False)


def _integers(values: Any) -> tuple[Any, Any]:
    """Return the places of integers in the table, and which are in it."""
    places = values + _INTEGERS
    return places, places.view(np.uint64) < np.uint64(2 * _INTEGERS)


def _hundredths(values: Any) -> tuple[Any, Any]:
    """Return floats times 100, and which of them are equal to such an integer divided by 100, and in the table.

    The division is rounded correctly, so its result is the float closest to the decimal; and of decimals of up to 15
    digits, a float has at most one. So there is no shorter text.
    """
    with np.errstate(all="ignore"):
        numbers = np.rint(values * 100.0)
        numbers += 0.0  # makes a zero of -0.0, which is not in the table
        are_equal = (numbers / 100.0).view(np.int64) == values.view(np.int64)
        places = numbers.astype(np.int64)
    are_equal &= places.view(np.uint64) < np.uint64(_HUNDREDTHS)
    return places, are_equal


@lru_cache(1)
def _integer_texts() -> pa.Array:
    return text_array([str(number) for number in range(-_INTEGERS, _INTEGERS)])


@lru_cache(1)
def _hundredth_texts() -> pa.Array:
    ends = [".0", *(f".{number:02}".rstrip("0") for number in range(1, 100))]
    return text_array([f"{number // 100}{ends[number % 100]}" for number in range(_HUNDREDTHS)])
