"""Parse numeric columns directly, without tokenizing them, where Arrow's values are certainly those of pandas.

A piece with anything doubtful (a hexadecimal letter, an infinity, a zero that may be -0.0) is read as text instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapkg.building.readers.csv.columns import convert
from datapkg.building.readers.csv.inferred_types import INTEGERS, NEGATIVE_ZERO, demand, dtype_of, same_values, split
from datapkg.building.readers.csv.large_integers import has_large, size_of
from datapkg.building.readers.csv.tokenizer import by_arrow, check_text, is_odd

if TYPE_CHECKING:
    import pyarrow as pa

    from datapkg.building.readers.csv.dialect import CsvDialect

_ZERO = ord("0")

Converted = tuple["pa.Array | None", str]


def with_numbers(data: bytes, layout: CsvDialect, needs: tuple[str, ...], as_text: set[int]) -> list[Converted] | None:
    """Return the columns of a piece with their demands, as `convert` does; None if their text is needed.

    The positions of columns that need their text are added to `as_text`. Raise `UnsupportedByEngine` as `tokens` does.
    """
    import pyarrow as pa

    kinds = [
        "" if given or position in as_text else _kind(need)
        for position, (need, given) in enumerate(zip(needs, layout.given, strict=True))
    ]
    check_text(data, layout)
    if not any(kinds) or is_odd(data, layout) or _has_hexadecimals(data):
        return None
    types = {name: getattr(pa, kind)() for name, kind in zip(layout.used_names, kinds, strict=True) if kind}
    try:
        columns = by_arrow(data, layout, types)
    except pa.ArrowInvalid:
        return None
    has_minus_zero = _MinusZero(data, layout.separator.encode())
    converted = []
    for position, (column, kind, need) in enumerate(zip(columns, kinds, needs, strict=True)):
        if not kind:
            converted.append(convert(column, need, layout.given[position]))
        elif (number := _number(column, kind, need, has_minus_zero)) is not None:
            converted.append(number)
        else:
            as_text.add(position)
            return None
    return converted


def _kind(need: str) -> str:
    """Return the Arrow type for reading a column with this demand; "" for text."""
    base = split(need)[0]
    return "int64" if base in INTEGERS and base != NEGATIVE_ZERO else "float64" if base == "float" else ""


def _has_hexadecimals(data: bytes) -> bool:
    """Return whether `0x` or `0X` occurs anywhere, which Arrow reads as the beginning of an integer."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    for letter in b"xX":
        places = np.flatnonzero(array == letter)
        if len(places) and (array[np.maximum(places - 1, 0)] == _ZERO).any():
            return True
    return False


class _MinusZero:
    """Whether a piece may contain -0; searched once, when first needed."""

    def __init__(self, data: bytes, separator: bytes) -> None:
        self._data, self._before = data, list(separator + b'\n\r" \t')
        self._found: bool | None = None

    def __bool__(self) -> bool:
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> bool:
        import numpy as np

        array = np.frombuffer(self._data, np.uint8)
        places = np.flatnonzero(array[:-1] == ord("-"))
        places = places[array[places + 1] == _ZERO]
        return bool(((places == 0) | np.isin(array[np.maximum(places - 1, 0)], self._before)).any())


def _number(values: pa.Array, kind: str, need: str, has_minus_zero: _MinusZero) -> Converted | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    missing, dtype = bool(values.null_count), dtype_of(need)
    if values.null_count == len(values):
        found = demand("", missing)
    elif kind == "int64":
        if dtype == "float64" and pc.any(pc.equal(values, 0)).as_py() and has_minus_zero:
            return None
        found = demand(size_of(values), missing)
    else:
        # A number with a fraction is certainly finite and not written as an integer; a large one may be such an integer
        # that a float changes.
        if has_large(values):
            return None
        if not pc.all(pc.is_finite(values)).as_py() or not pc.any(pc.not_equal(values, pc.floor(values))).as_py():
            return None
        found = demand("float", missing)
    if not same_values(need, found):
        return None, found
    kinds = {"int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
    return (values if dtype == kind else values.cast(kinds[dtype], safe=False)), found
