"""How the values of a column are spread: a few bars, made of values that were read already."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.reading.reprs.words import visible

BARS = 16
MOST_VALUES = 12  # so many different ones are a bar each; more are only counted
_LABEL = 40


class Spread(NamedTuple):
    """Bars from left to right, each with a label; or none, and how many different values there are."""

    bars: list[tuple[int, str]]
    distinct: int = 0


def spread(values: pa.ChunkedArray) -> Spread | None:
    """The spread of numbers and times over their range, of few different values by how often they come.

    None for what has neither, such as lists.
    """
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    try:
        if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or kind == pa.string_view():
            return _counted(values)
        if types.is_temporal(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return _over_range(values.cast(kind) if kind is not values.type else values)
    except (pa.ArrowException, ArithmeticError, NotImplementedError, TypeError, ValueError):
        pass  # a picture less; the values are shown all the same
    return None


def _counted(values: pa.ChunkedArray) -> Spread | None:
    counted = pc.value_counts(values.drop_null())
    if not len(counted):
        return None
    if len(counted) > MOST_VALUES:
        return Spread([], len(counted))
    pairs = [(each["counts"].as_py(), visible(each["values"].as_py(), _LABEL)) for each in counted]
    return Spread(sorted(pairs, key=lambda pair: (-pair[0], pair[1])))


def _over_range(values: pa.ChunkedArray) -> Spread | None:
    import numpy as np

    kind = values.type
    if is_time := types.is_temporal(kind):
        values = values.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    numbers = values.drop_null().cast(pa.float64(), safe=False).to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return None
    least, greatest = float(numbers.min()), float(numbers.max())
    if not np.isfinite(greatest - least):
        return None
    is_whole = types.is_integer(values.type)
    bars = min(BARS, int(greatest - least) + 1) if is_whole else BARS if greatest > least else 1
    edge = 0.5 if is_whole and not is_time and greatest - least < BARS else 0.0
    if least == greatest:
        return Spread([(len(numbers), _label(least, kind))])
    counts, edges = np.histogram(numbers, bars, (least - edge, greatest + edge))
    if edge:
        return Spread([(int(n), _label(least + at, kind)) for at, n in enumerate(counts)])
    labels = [f"{_label(start, kind)} – {_label(end, kind)}" for start, end in pairwise(edges)]
    return Spread([(int(number), label) for number, label in zip(counts, labels, strict=True)])


def _label(number: float, kind: pa.DataType) -> str:
    if types.is_temporal(kind):
        whole: Any = pa.scalar(int(number), pa.int32() if kind.bit_width == 32 else pa.int64())
        return visible(whole.cast(kind).as_py(), _LABEL)
    return f"{number:.4g}" if abs(number) < 1e5 else f"{number:,.0f}" if abs(number) < 1e9 else f"{number:.4g}"
