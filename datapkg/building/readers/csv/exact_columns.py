"""Correct what pandas changes in a CSV file that it reads whole: large integers beside missing values.

It makes floats of them, which round, or text with "" for missing values, if some are above 2^63. The file is read once
more as text where that may have happened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.large_integers import EXACT, has_inexact, has_large, inexact, plain_numbers

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


def with_exact_integers(
    frame: pandas.DataFrame, kwargs: dict[str, Any], as_text: Callable[[], pandas.DataFrame]
) -> pandas.DataFrame:
    """Return the frame with integers as in the file: columns of large ones beside missing values are nullable.

    Columns with an explicit dtype or converter stay. Raise `InvalidInput` for fractions beside an integer that a float
    changes. `as_text` reads the file once more.
    """
    import pandas

    dtype = kwargs.get("dtype")
    if dtype is not None and not isinstance(dtype, dict):
        return frame
    given = {*(dtype or ()), *(kwargs.get("converters") or ())}
    columns = [at for at, label in enumerate(frame.columns) if label not in given and _may_differ(frame.iloc[:, at])]
    is_numbered = isinstance(frame.index, pandas.RangeIndex)
    levels = [at for at in range(0 if is_numbered else frame.index.nlevels) if _may_differ(_level(frame, at))]
    if not (columns or levels):
        return frame
    texts = as_text()
    thousands, decimal = kwargs.get("thousands") or "", kwargs.get("decimal") or "."
    frame = frame.copy(deep=False)
    for at in columns:
        text = plain_numbers(texts.iloc[:, at], thousands, decimal)
        frame.isetitem(at, _exact(frame.iloc[:, at], text, frame.columns[at]))
    return _with_levels(frame, {at: plain_numbers(_level(texts, at), thousands, decimal) for at in levels})


def _level(frame: pandas.DataFrame, at: int) -> pandas.Series:
    return frame.index.get_level_values(at).to_series()


def _may_differ(values: pandas.Series) -> bool:
    import pyarrow as pa

    if values.dtype.kind == "f":
        return has_large(pa.array(values.to_numpy("float64", na_value=float("nan")), from_pandas=True))
    return values.dtype == "str" and not values.hasnans and _begins_with_large(values)


def _begins_with_large(values: pandas.Series) -> bool:
    """Return whether the first text that is not an integer of 64 bits is a larger one, as pandas reads then."""
    for each in values:
        if not _INTEGER.fullmatch(each):
            return False
        if not -(2**63) <= int(each) < 2**63:
            return True
    return False


def _exact(values: pandas.Series, text: pa.Array, label: Any) -> Any:
    """Return the values that replace a column's, from its text."""
    import pandas
    import pyarrow as pa

    words = text.drop_null().to_pylist()
    if all(map(_INTEGER.fullmatch, words)):
        integers = [None if each is None else int(each) for each in text.to_pylist()]
        least, greatest = min(map(int, words)), max(map(int, words))
        if max(-least, greatest) <= EXACT:
            return values.array
        if least >= -(2**63) and greatest < 2**63:
            return pandas.array(integers, "Int64")
        if least >= 0 and greatest < 2**64:
            return pandas.array(integers, "UInt64") if text.null_count else values.array
        if values.dtype != "str":
            return pandas.array(integers, object)
    if values.dtype == "str":
        return pandas.array(text.to_pylist(), "str")
    if has_inexact(text, pa.array(values.to_numpy("float64", na_value=float("nan")), from_pandas=True)):
        raise inexact(label)
    return values.array


def _with_levels(frame: pandas.DataFrame, texts: dict[int, pa.Array]) -> pandas.DataFrame:
    import pandas

    if not texts:
        return frame
    names = frame.index.names
    levels = []
    for at, name in enumerate(names):
        level = _level(frame, at)
        levels.append(pandas.Index(_exact(level, texts[at], name) if at in texts else level.array, name=name))
    frame.index = levels[0] if len(levels) == 1 else pandas.MultiIndex.from_arrays(levels, names=names)
    return frame
