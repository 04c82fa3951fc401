"""One column of text becomes values, exactly as pandas' parser would have it; or it says what it demands.

Arrow's casts are used where they agree with that parser: both give the float nearest to what is written. pandas itself
reads what else there is (blanks around numbers, `+1`, `inf`), without the missing values, which are known by now.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.inferred_types import (
    NEGATIVE_ZERO,
    UNKNOWN,
    demand,
    dtype_of,
    same_values,
    split,
    widen,
)
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_DIGITS_OF_INT64 = 19
_BIG = 10.0**18
_INTEGERS = ("int", NEGATIVE_ZERO)
_MAY_LACK = ("int64", "bool")
_LOOKED_AT = 8
_LOOKED_AT_AFAR = 64
# What stands in no number, and what is a number or a boolean although it has letters.
_IN_NO_NUMBER = re.compile(r"[^\s0-9+\-.eE]|[0-9]-[0-9]")
_WORD_OF_VALUE = re.compile(r"\s*[+-]?(inf|infinity|nan|true|false)\s*", re.IGNORECASE)
_SURELY_INT64 = r"^\s*[+-]?[0-9]{1,18}\s*$"
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


def convert(text: pa.Array, need: str, given: str) -> tuple[pa.Array | None, str]:
    """Return the values of a column of text under the demands so far (or its given dtype), and what its text demands.

    The values are None if that is more. The demand is a lower bound where it is cheaper than an exact one, and enough.
    Raise `Leave` for what only pandas can settle.
    """
    if given:
        return _given(text, given)
    base, missing = split(need)[0], bool(text.null_count)
    if base == "text":
        return text, _least_of_text(text)
    dtype = dtype_of(need)
    array, found = _quick(text, base, dtype)
    if array is None:
        found = demands(text)[0]
        found = "int" if base == "float" and found == NEGATIVE_ZERO else found
    found = demand(found, missing)
    if not same_values(need, found):
        return None, found
    return (_odd_values(text, dtype, widen(need, found)) if array is None else array), found


def least_demand(values: pa.ChunkedArray, given: str, first_texts: Callable[[], pa.Array]) -> str:
    """Return what the text of these values of a column demanded at least.

    `first_texts` gives that of the first of them.
    """
    import pyarrow as pa

    missing = bool(values.null_count)
    if given:
        return demand("", missing and given in _MAY_LACK)
    if values.null_count == len(values):
        return demand("", missing)
    if pa.types.is_string(values.type):
        return _least_of_text(values.chunk(0))
    if pa.types.is_floating(values.type):
        return demand(_base_of_floats(values, first_texts), missing)
    return demand("bool" if pa.types.is_boolean(values.type) else "int", missing)


def _base_of_floats(values: pa.ChunkedArray, first_texts: Callable[[], pa.Array]) -> str:
    """Return `float` if one of these is surely no integer: because of its value, or because of how it is written.

    It must come before any integer that may be beyond 64 bits: pandas makes text of a column where such a one is first.
    """
    import pyarrow.compute as pc

    fraction = pc.index(pc.not_equal(values, pc.floor(values)), True).as_py()
    big = pc.index(pc.greater_equal(pc.abs(values), _BIG), True).as_py()
    if fraction >= 0 and (big < 0 or fraction < big):
        return "float"
    texts = first_texts()
    if (_data(texts if big < 0 else texts.slice(0, big + 1)) == ord(".")).any():
        return "float"
    # Zeros may be written -0: what they are then depends on the rest of the column.
    return UNKNOWN if big >= 0 or pc.min(pc.abs(values)).as_py() == 0 else "int"


def demands(text: pa.Array) -> tuple[str, bool]:
    """Return what a column's text demands, exactly: its base, and whether values are missing.

    Raise `Leave` if an integer beyond 64 bits is what pandas would see first: what it does then depends on the rest.
    """
    values, missing = text.drop_null(), bool(text.null_count)
    if not len(values):
        return "", missing
    if _is_text(values[0].as_py()):
        return "text", missing
    if _as_integer(values) is not None:
        return (NEGATIVE_ZERO if _has_negative_zero(values) else "int"), missing
    _refuse_big(values)
    if _as_float(values) is not None and (_data(values) == ord(".")).any():
        return "float", missing
    dtype = str(_by_pandas(values).dtype)
    bases = {"int64": "int", "float64": "float", "bool": "bool", "str": "text"}
    if dtype not in bases:
        raise UnsupportedByEngine(f"pandas infers {dtype}")
    has_negative_zero = dtype == "int64" and _has_negative_zero(values)
    return (NEGATIVE_ZERO if has_negative_zero else bases[dtype]), missing


def _odd_values(text: pa.Array, dtype: str, need: str) -> pa.Array:
    """Return values that are not written as Arrow reads them.

    Integers beside missing ones are read as integers first.
    """
    if dtype != "float64":
        return _spread(_by_pandas(text.drop_null()), text)
    values = _by_pandas(text.drop_null(), "float64" if need == "float" else None)
    return _spread(values.astype("float64"), text)


def _quick(text: pa.Array, base: str, dtype: str) -> tuple[pa.Array | None, str]:
    """Return the values, if they are of this base and Arrow reads them; with at least what they demand."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if text.null_count == len(text):
        return pa.nulls(len(text), {"int64": pa.int64(), "float64": pa.float64()}.get(dtype, pa.bool_())), ""
    if base in _INTEGERS and (integers := _as_integer(text)) is not None:
        if dtype == "int64":
            return integers, "int"
        zeros = text.filter(pc.equal(integers, 0))
        return integers.cast(pa.float64(), safe=False), NEGATIVE_ZERO if _has_negative_zero(zeros) else "int"
    if base == "float" and (floats := _as_float(text)) is not None:
        return floats, _least_of_floats(text)
    if base == "bool" and (booleans := _as_boolean(text)) is not None:
        return booleans, "bool"
    return None, ""


def _has_negative_zero(values: pa.Array) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, r"^[\s\v]*-0+[\s\v]*$")).as_py())


def _given(text: pa.Array, given: str) -> tuple[pa.Array, str]:
    """Return the values of a column whose dtype is given; it demands no more than room for what is missing."""
    if given == "str":
        return text, ""
    casts = {"bool": _as_boolean, "boolean": _as_nullable_boolean, "float64": _as_float}
    array = casts.get(given, _as_integer)(text)
    if array is None:
        raise UnsupportedByEngine(f"a value that is not written as {given}")
    return array, demand("", bool(text.null_count) and given in _MAY_LACK)


def _as_integer(text: pa.Array) -> pa.Array | None:
    """Return values as 64-bit integers; Arrow would take hexadecimal ones too, which have a letter in them."""
    import pyarrow as pa

    data = _data(text)
    if len(data) and (data.max() > ord("9") or (data == ord(".")).any()):
        return None
    return _cast(_trimmed(text, data), pa.int64())


def _as_float(text: pa.Array) -> pa.Array | None:
    """Return values as floats; words are left to pandas, which does not know the same ones."""
    import pyarrow as pa

    data = _data(text)
    if len(data) and data.max() > ord("9"):
        letters = data[data > ord("9")]
        if not ((letters | 0x20) == ord("e")).all():
            return None
    return _cast(_trimmed(text, data), pa.float64())


def _as_boolean(text: pa.Array) -> pa.Array | None:
    """Return values as booleans; Arrow would take 0 and 1 too, which are shorter."""
    import numpy as np
    import pyarrow as pa

    lengths = np.diff(_offsets(text))
    shortest = lengths[text.is_valid().to_numpy(zero_copy_only=False)] if text.null_count else lengths
    return None if len(shortest) and shortest.min() < len("true") else _cast(text, pa.bool_())


def _as_nullable_boolean(text: pa.Array) -> pa.Array | None:
    """Return values as booleans of the words that pandas' nullable ones know."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pa.array(["True", "TRUE", "true", "False", "FALSE", "false"])
    return _as_boolean(text) if pc.all(pc.is_in(text.drop_null(), words)).as_py() in (True, None) else None


def _trimmed(text: pa.Array, data: np.ndarray) -> pa.Array:
    """Return values without the blanks around values that the parser of numbers skips."""
    import pyarrow.compute as pc

    return pc.ascii_trim_whitespace(text) if len(data) and data.min() <= ord(" ") else text


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def _by_pandas(values: pa.Array, dtype: str | None = None) -> Any:
    """Return a column without missing values as pandas reads it: a numpy array, or one of text."""
    import pandas
    import pyarrow as pa
    import pyarrow.csv as csv

    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table([values], ["0"]), sink, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    options: dict[str, Any] = {"header": None, "names": [0], "na_filter": False, "low_memory": False, "dtype": dtype}
    column = pandas.read_csv(io.BytesIO(memoryview(sink.getvalue())), **options)[0]
    return column.array if column.dtype == "str" else column.to_numpy()


def _spread(values: np.ndarray, text: pa.Array) -> pa.Array:
    """Return values at the places where the text is not missing."""
    import numpy as np
    import pyarrow as pa

    if not text.null_count:
        return pa.array(values)
    missing = text.is_null().to_numpy(zero_copy_only=False)
    spread = np.zeros(len(text), values.dtype)
    spread[~missing] = values
    return pa.array(spread, mask=missing)


def _refuse_big(values: pa.Array) -> None:
    """Look at integers up to the first value that is none."""
    import pyarrow.compute as pc

    for value in values.filter(pc.invert(pc.match_substring_regex(values, _SURELY_INT64))):
        if _INTEGER.fullmatch(value.as_py()) is None:
            return
        if not -(2**63) <= int(value.as_py()) < 2**63:
            raise UnsupportedByEngine("an integer beyond 64 bits")


def has_big_integer(values: pa.Array) -> bool:
    """Return whether an integer among these may be beyond 64 bits."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, r"^\s*[+-]?[0-9]{19,}\s*$")).as_py())


def _is_text(value: str) -> bool:
    """Return whether this is surely no number and no boolean."""
    return _IN_NO_NUMBER.search(value) is not None and _WORD_OF_VALUE.fullmatch(value) is None


def _least_of_text(text: pa.Array) -> str:
    """Return what a column of text demands at least, from a few of its values."""
    step = max(1, len(text) // _LOOKED_AT_AFAR)
    for row in (*range(min(_LOOKED_AT, len(text))), *range(0, len(text), step)):
        value = text[row].as_py()
        if value is not None and _is_text(value):
            return "text"
        if value is not None and len(value) >= _DIGITS_OF_INT64:
            return UNKNOWN
    return UNKNOWN if _has_long_values(text) else ""


def _least_of_floats(text: pa.Array) -> str:
    if (_data(text) == ord(".")).any():
        return "float"
    return UNKNOWN if _has_long_values(text) else "int"


def _has_long_values(text: pa.Array) -> bool:
    import numpy as np

    return bool(len(text)) and bool(np.diff(_offsets(text)).max() >= _DIGITS_OF_INT64)


def _offsets(text: pa.Array) -> np.ndarray:
    import numpy as np

    if not len(text):
        return np.zeros(1, np.int32)
    return np.frombuffer(text.buffers()[1], np.int32, len(text) + 1, text.offset * 4)


def _data(text: pa.Array) -> np.ndarray:
    """Return all bytes of the text, one value behind the other.

    Those of missing values too, of which there are none.
    """
    import numpy as np

    offsets, data = _offsets(text), text.buffers()[2]
    if data is None or offsets[-1] == offsets[0]:
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, np.uint8, int(offsets[-1] - offsets[0]), int(offsets[0]))
