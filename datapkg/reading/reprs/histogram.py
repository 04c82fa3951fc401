"""The distribution of a column's values as a few bars, made of values that were read already."""

from __future__ import annotations

from itertools import pairwise
from sys import byteorder
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.format.texts import visible

BARS = 16
MOST_VALUES = 12  # up to this many distinct ones get a bar each; more are only counted
_LABEL = 40


class Histogram(NamedTuple):
    """Bars from left to right, each with a label; or none, and how many distinct values there are."""

    bars: list[tuple[int, str]]
    distinct: int = 0


def histogram(values: pa.ChunkedArray) -> Histogram | None:
    """Return the distribution of numbers and times over their range, or of a few distinct values by frequency.

    None for types that have neither, such as lists.
    """
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    try:
        if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or kind == pa.string_view():
            return _counted(values)
        if types.is_temporal(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return _over_range(values.cast(kind) if kind is not values.type else values)
    except (pa.ArrowException, ArithmeticError, NotImplementedError, TypeError, ValueError):
        pass  # the values are shown without a histogram
    return None


def _counted(values: pa.ChunkedArray) -> Histogram | None:
    counted = pc.value_counts(values.drop_null())
    if not len(counted):
        return None
    if len(counted) > MOST_VALUES:
        return Histogram([], len(counted))
    pairs = [(each["counts"].as_py(), visible(each["values"].as_py(), _LABEL)) for each in counted]
    return Histogram(sorted(pairs, key=lambda pair: (-pair[0], pair[1])))


def _over_range(values: pa.ChunkedArray) -> Histogram | None:
    import numpy as np

    kind = values.type
    if is_time := types.is_temporal(kind):
        values = values.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    valued = values.drop_null().cast(pa.float64(), safe=False).combine_chunks()
    numbers = np.from_dlpack(valued) if len(valued) else np.empty(0)  # to_numpy() would load pandas
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return None
    least, greatest = float(numbers.min()), float(numbers.max())
    # The difference of two finite floats may be infinite, which numpy rejects.
    if not np.isfinite(greatest - least):
        return None
    is_whole = types.is_integer(values.type)
    bars = min(BARS, int(greatest - least) + 1) if is_whole else BARS if greatest > least else 1
    # Each of a few whole numbers is the middle of its bar.
    edge = 0.5 if is_whole and not is_time and greatest - least < BARS else 0.0
    if least == greatest:
        return Histogram([(len(numbers), _labels([least], kind)[0])])
    counts, edges = np.histogram(numbers, bars, (least - edge, greatest + edge))
    if edge:
        labels = _labels([least + at for at in range(bars)], kind)
    else:
        labels = [f"{start} – {end}" for start, end in pairwise(_labels(edges.tolist(), kind))]
    return Histogram([(int(number), label) for number, label in zip(counts, labels, strict=True)])


def _labels(numbers: list[float], kind: pa.DataType) -> list[str]:
    if not types.is_temporal(kind):
        return [f"{each:,.0f}" if 1e5 <= abs(each) < 1e9 else f"{each:.4g}" for each in numbers]
    limit = 1 << (kind.bit_width - 1)
    # The float of an end may lie just beyond what its type holds.
    whole = (min(max(int(each), -limit), limit - 1) for each in numbers)
    data = b"".join(each.to_bytes(kind.bit_width // 8, byteorder, signed=True) for each in whole)
    times = pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(data)])  # pa.array() would load pandas
    return [visible(each.as_py(), _LABEL) for each in times]
