"""Convert values of one kind to equal types, where pyarrow would not infer one type that holds them exactly."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

Change = Callable[[Any], Any]
_DECIMAL_DIGITS = 38  # the most digits of Arrow's decimal128
_ARROW_UNITS = ("s", "ms", "us", "ns")
_MICROSECOND = 1_000
# Python types whose values have no more digits than microseconds.
_MICROSECONDS = {datetime.datetime, datetime.timedelta}


@dataclass(frozen=True)
class Level:
    """The values at one level of a column; `sample` stands for those in numpy arrays, all of one dtype."""

    values: Sequence[Any]
    sample: Any = None


def change_of(level: Level, types: set[type], kinds: set[str], path: tuple[Any, ...], of_frame: bool) -> Change | None:
    """Return how to change each value of a level whose kinds are known and compatible; None if pyarrow needs no help.

    Values of a single numpy type keep it: numpy.float32 stays single precision.
    """
    types = {each for each in types if not is_null_type(each)}
    found: Change | None = None
    if kinds == {"int", "Decimal"}:
        found = _decimal
    elif kinds == {"int"} and of_frame and types != {np.uint64} and (large := _beyond_64_bits(level.values)):
        found = large
    elif kinds == {"int", "float"}:
        found = None if types <= {int, float, np.float64} else float
    elif len(kinds) == 1:
        (kind,) = kinds
        if kind in _TIMES:
            found = _TIMES[kind](level, types, path)
        elif len(types) > 1:
            found = _ALIKE.get(kind)
    if found is zoned_nanoseconds:
        return found
    # numpy's NaT and Decimal's NaN beside another kind: pyarrow accepts only None and float's NaN everywhere.
    has_odd_nulls = bool(types & _WITH_ODD_NULLS) and any(map(_is_odd_null, level.values))
    return None if found is None and not has_odd_nulls else _but_nulls(found)


def _but_nulls(change: Change | None) -> Change:
    def changed(value: Any) -> Any:
        if is_null_type(type(value)) or value != value:
            return None
        return value if change is None else change(value)

    return changed


def is_null_type(of: type) -> bool:
    """Return whether a type has only one value, which is missing: None, and NaT and NA of pandas."""
    return of is type(None) or (of.__name__ in ("NaTType", "NAType") and of.__module__.startswith("pandas."))


_WITH_ODD_NULLS = {np.datetime64, np.timedelta64, Decimal}


def _is_odd_null(value: Any) -> bool:
    return type(value) in _WITH_ODD_NULLS and value != value


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(int(value))


def _beyond_64_bits(values: Sequence[Any]) -> Change | None:
    """Return integers beyond 64 bits as decimals, or as text above 38 digits: Arrow has no type for them."""
    integers = [value for value in values if isinstance(value, (int, np.integer))]
    if not integers or -(2**63) <= min(integers) <= max(integers) < 2**63:
        return None
    fits = max(len(str(abs(value))) for value in (min(integers), max(integers))) <= _DECIMAL_DIGITS
    return _decimal if fits else lambda value: str(int(value))


def _date(level: Level, types: set[type], path: tuple[Any, ...]) -> Change | None:
    """Return numpy's days as dates: pyarrow does not read them in lists."""
    return None if types == {datetime.date} else _as_date


def _as_date(value: Any) -> datetime.date:
    found = value.item() if isinstance(value, np.datetime64) else value
    if not isinstance(found, datetime.date):
        raise OverflowError(f"{value} is out of the range of datetime.date")
    return found


def _naive(level: Level, types: set[type], path: tuple[Any, ...]) -> Change | None:
    return _of_numpy(level, types, np.datetime64)


def _duration(level: Level, types: set[type], path: tuple[Any, ...]) -> Change | None:
    return _of_numpy(level, types, np.timedelta64)


def _of_numpy(level: Level, types: set[type], scalar: Any) -> Change | None:
    """Return numpy's times in microseconds, or in nanoseconds if one of them needs that."""
    is_finer = not types <= _MICROSECONDS and any(map(_has_nanoseconds, level.values))
    if scalar not in types and not is_finer:
        return None
    values = [each for each in (*level.values, level.sample) if isinstance(each, scalar)]
    units = {np.datetime_data(each.dtype)[0] for each in values if not np.isnat(each)}
    if types == {scalar} and len(units) == 1 and units <= {*_ARROW_UNITS}:
        return None
    unit = "ns" if is_finer else "us"

    def change(value: Any) -> Any:
        found = value if isinstance(value, scalar) else _as_numpy(value)
        changed = found.astype(f"{found.dtype.kind}8[{unit}]")
        if changed.astype(found.dtype) != found:
            raise OverflowError(f"{value} is out of the range of {scalar.__name__}[{unit}]")
        return changed

    return change


def _as_numpy(value: Any) -> Any:
    if hasattr(value, "to_numpy"):  # of pandas
        return value.to_numpy()
    return np.datetime64(value, "us") if isinstance(value, datetime.datetime) else np.timedelta64(value, "us")


def _has_nanoseconds(value: Any) -> bool:
    # Timestamp and Timedelta of pandas; datetime and timedelta have neither.
    found = getattr(value, "nanosecond", None) or getattr(value, "nanoseconds", None)
    if found is None and isinstance(value, np.datetime64 | np.timedelta64):
        is_fine = np.datetime_data(value.dtype)[0] == "ns" and not np.isnat(value)
        return is_fine and bool(value.astype("i8") % _MICROSECOND)
    return bool(found) and found == found


def _zoned(level: Level, types: set[type], path: tuple[Any, ...]) -> Change | None:
    """Return times of one zone unchanged; of several zones, the same moments in UTC."""
    if not types <= _MICROSECONDS and any(map(_has_nanoseconds, level.values)):
        if path:
            raise ValueError("times with a time zone and nanoseconds inside lists or dicts")
        return zoned_nanoseconds
    datetimes = {each for each in types if issubclass(each, datetime.datetime)}
    zones = {id(each.tzinfo): each.tzinfo for each in level.values if type(each) in datetimes}
    return None if len(set(map(str, zones.values()))) == 1 else lambda value: value.astimezone(datetime.UTC)


def zoned_nanoseconds(values: Sequence[Any]) -> Any:
    """Return times with a zone and nanoseconds as a pandas array: pyarrow infers microseconds from such objects."""
    import pandas

    times = [None if pandas.isna(each) else pandas.Timestamp(each) for each in values]
    zones = {str(each.tzinfo) for each in times if each is not None}
    moments = [None if each is None else each.tz_convert("UTC").as_unit("ns", round_ok=False) for each in times]
    index = pandas.DatetimeIndex(moments, dtype="datetime64[ns, UTC]")
    return (
        index.tz_convert(next(each.tzinfo for each in times if each is not None)) if len(zones) == 1 else index
    ).array


_TIMES: dict[str, Callable[[Level, set[type], tuple[Any, ...]], Change | None]] = {
    "date": _date,
    "datetime": _naive,
    "datetime with a time zone": _zoned,
    "timedelta": _duration,
}
# For values of one kind in several types, as numpy's and Python's are.
_ALIKE: dict[str, Change] = {"int": int, "float": float, "bool": bool, "bytes": bytes}
