"""Integers above 2^53 in text: which of them a float gives back as they were written, and which it changes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.inferred_types import INEXACT, LARGE
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

EXACT = 2**53  # up to here, a float holds every integer
_FIRST = 16
_INTEGER = r"^\s*[+-]?[0-9]+\s*$"


def size_of(integers: pa.Array | pa.ChunkedArray) -> str:
    """Return the demand of integers of 64 bits, by the largest of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    least, greatest = pc.min_max(integers).as_py().values()
    if least is None or max(-least, greatest) <= EXACT:
        return "int"
    # Of long numbers such as ids, one of the first decides.
    first = (each for each in integers.slice(0, _FIRST).to_pylist() if each is not None)
    if any(_is_changed(each, float(each)) for each in first):
        return INEXACT
    large = pc.filter(integers, pc.or_(pc.greater(integers, EXACT), pc.less(integers, -EXACT)))
    floats = large.cast(pa.float64(), safe=False)
    changed = pc.not_equal(floats.cast(integers.type, safe=False), large)
    pairs = zip(large.filter(changed), floats.filter(changed), strict=True)
    return INEXACT if any(_is_changed(one.as_py(), other.as_py()) for one, other in pairs) else LARGE


def has_large(floats: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether one of these may be written as an integer that it does not hold exactly."""
    import pyarrow.compute as pc

    return bool(pc.any(_are_large(floats)).as_py())


def has_inexact(text: pa.Array, floats: pa.Array) -> bool:
    """Return whether a text is an integer that its float does not give back; the two are of equal length."""
    import pyarrow.compute as pc

    large = _are_large(floats)
    if not pc.any(large).as_py():
        return False
    texts, values = text.filter(large), floats.filter(large)
    integers = pc.match_substring_regex(texts, _INTEGER)
    pairs = zip(texts.filter(integers).to_pylist(), values.filter(integers).to_pylist(), strict=True)
    return any(_is_changed(int(each), value) for each, value in pairs)


def plain_numbers(texts: pandas.Series, thousands: str = "", decimal: str = ".") -> pa.Array:
    """Return a column that pandas read as text, with numbers as they are written without these options."""
    import pyarrow as pa

    if thousands:
        texts = texts.str.replace(thousands, "", regex=False)
    if decimal != ".":
        texts = texts.str.replace(decimal, ".", regex=False)
    return pa.array(texts, pa.string(), from_pandas=True)


def inexact(label: Any) -> InvalidInput:
    """Return the error for a column of fractions with an integer that a float changes."""
    return InvalidInput(
        f"column {quoted(label)} holds fractions beside an integer above 2^53, which a float does not hold exactly",
        hint=f"to read it as text say kwargs: {{dtype: {{{label}: str}}}}; rounded, {{dtype: {{{label}: float}}}}",
        column=str(label),
    )


def _are_large(floats: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.and_(pc.is_finite(floats), pc.greater_equal(pc.abs(floats), float(EXACT)))


def _is_changed(integer: int, value: float) -> bool:
    """Return whether a float, with the fewest digits that identify it, is another number than the integer written.

    Programs write floats so: 2^60 + 256 is 1152921504606847200, which is not what the float is exactly, and comes back.
    """
    return int(value) != integer and int(Decimal(repr(value))) != integer
