"""Write numbers of few digits as text: by their place in a table of texts, which Arrow copies from, or by their digits.

A table takes a fifth of formatting each. Floats are in such a table only if exact arithmetic says so, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.reading.tables.decimal_texts import decimal_texts, places_of
from datapkg.tables.arrow_values import boolean_array, is_valid, text_array, zero_for_null

_INTEGERS = 10_000
_HUNDREDTHS = 65_536
_SAMPLE = 256
_MOST_KNOWN, _NEARLY_ALL = 0.95, 0.99


def number_texts(array: pa.Array, texts_of: Callable[[pa.Array], pa.Array], are_blank: bool) -> pa.Array | None:
    """Return integers, or floats of few decimals, as large strings; nulls stay nulls, or are empty if they `are_blank`.

    `texts_of` returns the texts of those that are in no table; if they are many, return None.
    """
    if not len(array):
        return None
    nulls = ~is_valid(array) if array.null_count else None
    found = None
    if types.is_float64(array.type):
        values = zero_for_null(array, np.float64)
        sample = values[:: max(1, len(values) // _SAMPLE)]
        share = _hundredths(sample)[1].mean()
        if share < _NEARLY_ALL and len(values) >= _SAMPLE and (places := places_of(sample)):
            found = decimal_texts(values, places, nulls)
        elif share >= _MOST_KNOWN:
            found = _taken(_hundredth_texts(), *_hundredths(values), nulls)
    elif types.is_integer(array.type) and array.type != pa.uint64():
        values = zero_for_null(array.cast(pa.int64()), np.int64)
        if _integers(values[:: max(1, len(values) // _SAMPLE)])[1].mean() >= _MOST_KNOWN:
            found = _taken(_integer_texts(), *_integers(values), nulls)
    return _completed(*found, array, texts_of, are_blank) if found else None


def _taken(texts: pa.Array, places: Any, are_known: Any, nulls: Any) -> tuple[pa.Array, Any]:
    """Return the texts at these places in a table, which ends with an empty one, and which are known."""
    if not are_known.all():
        places = np.where(are_known, places, len(texts) - 1)
    if nulls is not None:
        places[nulls] = len(texts) - 1
    chosen = pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)])
    return pc.take(texts, chosen, boundscheck=False), are_known


def _completed(
    texts: pa.Array, are_known: Any, array: pa.Array, texts_of: Callable[[pa.Array], pa.Array], are_blank: bool
) -> pa.Array | None:
    """Return the texts of numbers, with those that are not known yet; None if these are too many."""
    if array.null_count and not are_blank:
        buffers = [array.is_valid().buffers()[1], *texts.buffers()[1:]]
        texts = pa.Array.from_buffers(texts.type, len(texts), buffers)
    if are_known.all():
        return texts
    if are_known.mean() < _MOST_KNOWN:
        return None
    others = boolean_array(~are_known)
    return pc.replace_with_mask(texts, others, texts_of(array.filter(others)))


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
    return text_array([*(str(number) for number in range(-_INTEGERS, _INTEGERS)), ""])


@lru_cache(1)
def _hundredth_texts() -> pa.Array:
    texts, _ = decimal_texts(np.arange(_HUNDREDTHS) / 100, 2)
    return pa.concat_arrays([texts, text_array([""])])
