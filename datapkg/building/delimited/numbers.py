"""Numbers read at once, without looking at their text: quicker, where Arrow's values are surely those of pandas.

What leaves a doubt (a letter of hexadecimals, an infinity, a zero that may be -0.0) has the piece read as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapkg.building.delimited.columns import convert
from datapkg.building.delimited.needs import demand, dtype_of, same_values, split
from datapkg.building.delimited.tokens import by_arrow, check_text, is_odd

if TYPE_CHECKING:
    import pyarrow as pa

    from datapkg.building.delimited.layout import Layout

Converted = tuple["pa.Array | None", str]


def with_numbers(data: bytes, layout: Layout, needs: tuple[str, ...], as_text: set[int]) -> list[Converted] | None:
    """The columns of a piece with what they demand, as `convert` has it; None if their text has to be looked at.

    The positions of columns for which that is so are added to `as_text`. Raises `Leave` as `tokens` does.
    """
    import pyarrow as pa

    kinds = [
        "" if given or position in as_text else _kind(need)
        for position, (need, given) in enumerate(zip(needs, layout.given, strict=True))
    ]
    check_text(data, layout)
    if not any(kinds) or is_odd(data, layout) or b"0x" in data or b"0X" in data:
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
    """What Arrow reads a column with this demand as; "" for text."""
    return {"int": "int64", "float": "float64"}.get(split(need)[0], "")


class _MinusZero:
    """Whether anything in a piece may be written -0; looked for once, if it is asked."""

    def __init__(self, data: bytes, separator: bytes) -> None:
        self._data, self._separator = data, separator
        self._found: bool | None = None

    def __bool__(self) -> bool:
        if self._found is None:
            before = (self._separator, b"\n", b"\r", b'"', b" ", b"\t")
            self._found = self._data.startswith(b"-0") or any(each + b"-0" in self._data for each in before)
        return self._found


def _number(values: pa.Array, kind: str, need: str, has_minus_zero: _MinusZero) -> Converted | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    missing, dtype = bool(values.null_count), dtype_of(need)
    if values.null_count == len(values):
        found = demand("", missing)
    elif kind == "int64":
        if dtype == "float64" and pc.any(pc.equal(values, 0)).as_py() and has_minus_zero:
            return None
        found = demand("int", missing)
    else:
        # A number with a fraction is surely finite, and written as no integer.
        if not pc.all(pc.is_finite(values)).as_py() or not pc.any(pc.not_equal(values, pc.floor(values))).as_py():
            return None
        found = demand("float", missing)
    if not same_values(need, found):
        return None, found
    kinds = {"int64": pa.int64(), "float64": pa.float64()}
    return (values if dtype == kind else values.cast(kinds[dtype], safe=False)), found
