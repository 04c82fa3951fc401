"""Correct what pandas changes in the cells of a sheet: text that looks like a number, and booleans among others.

pandas reads the cells as if they were text: it makes 7 of the text `007`, and 1.0 of TRUE beside an empty cell. The
sheet is read once more, without types, where that may have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

_BEGINS_NUMBER = frozenset("0123456789+-. \tiInN")
_EXACT = 2**53  # up to here, a float holds every integer
# With these, the user says what text means.
_SAID = frozenset({"dtype", "converters", "thousands", "decimal", "dtype_backend", "parse_dates"})


def with_cells(
    frame: pandas.DataFrame,
    kwargs: dict[str, Any],
    cells: Callable[[], Iterable[list[Any]]],
    untyped: Callable[[], pandas.DataFrame],
) -> pandas.DataFrame:
    """Return the frame with columns of text as text, unless all of it is written as the numbers are, and of booleans.

    `cells` returns the rows of the sheet, and `untyped` its frame of Python objects. With kwargs that give types, the
    frame stays.
    """
    if kwargs.keys() & _SAID or not any(_is_doubtful(cell) for row in cells() for cell in row):
        return frame
    objects = untyped()
    if objects.shape != frame.shape:
        return frame
    changed = {}
    for at, dtype in enumerate(frame.dtypes):
        if dtype.kind in "iufb" and (found := _changed(frame.iloc[:, at], objects.iloc[:, at])) is not None:
            changed[at] = found
    if changed:
        frame = frame.copy(deep=False)
        for at, values in changed.items():
            frame.isetitem(at, values)
    return frame


def large_columns(frame: pandas.DataFrame) -> list[Any]:
    """Return the labels of columns with integers that a float, which is what a cell holds, may have rounded."""
    return [
        label
        for at, label in enumerate(frame.columns)
        if frame.dtypes.iloc[at].kind in "iuf" and _has_large(frame.iloc[:, at].dropna())
    ]


def _has_large(values: pandas.Series) -> bool:
    large = values[(values.abs() >= _EXACT) & (values.abs() < 2.0**64)]
    return bool((large % 1 == 0).any())


def _is_doubtful(cell: Any) -> bool:
    return isinstance(cell, bool) or (isinstance(cell, str) and cell[:1] in _BEGINS_NUMBER and cell != "")


def _changed(values: pandas.Series, objects: pandas.Series) -> Any:
    """Return the values that replace a column's; None if they stay."""
    import pandas

    if values.dtype.kind == "b":
        return None
    cells = [None if is_missing else cell for cell, is_missing in zip(objects, objects.isna(), strict=True)]
    texts = [(cell, value) for cell, value in zip(cells, values.tolist(), strict=True) if isinstance(cell, str)]
    has_bool = any(isinstance(cell, bool) for cell in cells)
    if not has_bool and all(_is_written_so(cell, value) for cell, value in texts):
        return None
    is_text = not has_bool and len(texts) == len(cells) - cells.count(None)
    return pandas.array(cells, "str" if is_text else object)


def _is_written_so(text: str, value: Any) -> bool:
    """Return whether a number has this text, so that no digit or sign is lost."""
    return text == repr(value) or (float(value).is_integer() and text == str(int(value)))
