"""Convert one column of text to values exactly as pandas' parser would, or return which type its text demands.

Arrow's casts are used where they agree with that parser: both return the float nearest to the text. pandas itself reads
other forms (blanks around numbers, `+1`, `inf`), without the missing values, which are known by then.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.inferred_types import (
    INEXACT_FLOAT,
    INTEGERS,
    NEGATIVE_ZERO,
    UNKNOWN,
    demand,
    dtype_of,
    same_values,
    split,
    widen,
)
from datapkg.building.readers.csv.large_integers import has_inexact, has_large, size_of
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_DIGITS_OF_INT64 = 19
_BIG = 10.0**18  # from here on, a float may be an integer of more than 64 bits
_MAY_LACK = ("int64", "bool")
# Values of a text column that are looked at: its first ones, and others at equal distances.
_LOOKED_AT = 8
_LOOKED_AT_AFAR = 64
# Characters that no number contains, and words with letters that are numbers or booleans.
_IN_NO_NUMBER = re.compile(r"[^\s0-9+\-.eE]|[0-9]-[0-9]")
_WORD_OF_VALUE = re.compile(r"\s*[+-]?(inf|infinity|nan|true|false)\s*", re.IGNORECASE)
_SURELY_INT64 = r"^\s*[+-]?[0-9]{1,18}\s*$"
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


def convert(text: pa.Array, need: str, given: str) -> tuple[pa.Array | None, str]:
    """Return the values of a text column under the demands so far (or its explicit dtype), and what its text demands.

    The values are None if the text demands more. The demand is a lower bound where that is sufficient and cheaper than
    the exact one. Raise `UnsupportedByEngine` for text that only pandas can convert.
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
    """Return a lower bound of what the text of these values demanded; `first_texts` returns that of the first ones."""
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
    return demand("bool" if pa.types.is_boolean(values.type) else size_of(values), missing)


def _base_of_floats(values: pa.ChunkedArray, first_texts: Callable[[], pa.Array]) -> str:
    """Return `float` if one of these is certainly not an integer, because of its value or its text.

    It must come before any integer that may exceed 64 bits: if such an integer is first, pandas reads the column as
    text.
    """
    import pyarrow.compute as pc

    fraction = pc.index(pc.not_equal(values, pc.floor(values)), True).as_py()
    big = pc.index(pc.greater_equal(pc.abs(values), _BIG), True).as_py()
    if fraction >= 0 and (big < 0 or fraction < big):
        return "float"
    texts = first_texts()
    if (_data(texts if big < 0 else texts.slice(0, big + 1)) == ord(".")).any():
        return "float"
    # Zeros may be written as -0, whose value depends on the rest of the column, and large floats as integers or not.
    return UNKNOWN if big >= 0 or has_large(values) or pc.min(pc.abs(values)).as_py() == 0 else "int"


def demands(text: pa.Array) -> tuple[str, bool]:
    """Return exactly what a column's text demands: its base, and whether values are missing.

    Raise `UnsupportedByEngine` if pandas would first see an integer beyond 64 bits, since the result then depends on
    the rest.
    """
    import pyarrow as pa

    values, missing = text.drop_null(), bool(text.null_count)
    if not len(values):
        return "", missing
    if _is_text(values[0].as_py()):
        return "text", missing
    if (integers := _as_integer(values)) is not None:
        return _base_of_integers(values, integers), missing
    _refuse_big(values)
    if (floats := _as_float(values)) is not None and (_data(values) == ord(".")).any():
        return (INEXACT_FLOAT if has_inexact(values, floats) else "float"), missing
    found = _by_pandas(values)
    dtype = str(found.dtype)
    bases = {"int64": "int", "float64": "float", "bool": "bool", "str": "text"}
    if dtype not in bases:
        raise UnsupportedByEngine(f"pandas infers {dtype}")
    if dtype == "int64":
        return _base_of_integers(values, pa.array(found)), missing
    is_inexact = dtype == "float64" and has_inexact(values, pa.array(found))
    return (INEXACT_FLOAT if is_inexact else bases[dtype]), missing


def _base_of_integers(values: pa.Array, integers: pa.Array) -> str:
    size = size_of(integers)
    return NEGATIVE_ZERO if size == "int" and _has_negative_zero(values) else size


def _odd_values(text: pa.Array, dtype: str, need: str) -> pa.Array:
    """Return values in forms that Arrow does not read; integers beside missing values are read as integers first."""
    if dtype != "float64":
        return _spread(_by_pandas(text.drop_null()), text)
    values = _by_pandas(text.drop_null(), "float64" if need == "float" else None)
    return _spread(values.astype("float64"), text)


def _quick(text: pa.Array, base: str, dtype: str) -> tuple[pa.Array | None, str]:
    """Return the values if Arrow reads them as this base, and a lower bound of their demand; (None, "") otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if text.null_count == len(text):
        kinds = {"int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64()}
        return pa.nulls(len(text), kinds.get(dtype, pa.bool_())), ""
    if base in INTEGERS and (integers := _as_integer(text)) is not None:
        size = size_of(integers)
        if dtype != "float64" or size != "int":
            return integers, size
        zeros = text.filter(pc.equal(integers, 0))
        return integers.cast(pa.float64(), safe=False), NEGATIVE_ZERO if _has_negative_zero(zeros) else "int"
    if base == "float" and (floats := _as_float(text)) is not None:
        return floats, INEXACT_FLOAT if has_inexact(text, floats) else _least_of_floats(text)
    if base == "bool" and (booleans := _as_boolean(text)) is not None:
        return booleans, "bool"
    return None, ""


def _has_negative_zero(values: pa.Array) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, r"^[\s\v]*-0+[\s\v]*$")).as_py())


def _given(text: pa.Array, given: str) -> tuple[pa.Array, str]:
    """Return the values of a column with an explicit dtype; it demands at most a nullable dtype."""
    if given == "str":
        return text, ""
    casts = {"bool": _as_boolean, "boolean": _as_nullable_boolean, "float64": _as_float}
    array = casts.get(given, _as_integer)(text)
    if array is None:
        raise UnsupportedByEngine(f"a value that is not written as {given}")
    return array, demand("", bool(text.null_count) and given in _MAY_LACK)


def _as_integer(text: pa.Array) -> pa.Array | None:
    """Return values as 64-bit integers; hexadecimal ones, which Arrow accepts too, are excluded by their letters."""
    import pyarrow as pa

    data = _data(text)
    if len(data) and (data.max() > ord("9") or (data == ord(".")).any()):
        return None
    return _cast(_trimmed(text, data), pa.int64())


def _as_float(text: pa.Array) -> pa.Array | None:
    """Return values as floats; words such as `inf` are left to pandas, which accepts other words than Arrow."""
    import pyarrow as pa

    data = _data(text)
    if len(data) and data.max() > ord("9"):
        letters = data[data > ord("9")]
        if not ((letters | 0x20) == ord("e")).all():
            return None
    return _cast(_trimmed(text, data), pa.float64())


def _as_boolean(text: pa.Array) -> pa.Array | None:
    """Return values as booleans; 0 and 1, which Arrow accepts too, are excluded by their length."""
    import numpy as np
    import pyarrow as pa

    lengths = np.diff(_offsets(text))
    shortest = lengths[text.is_valid().to_numpy(zero_copy_only=False)] if text.null_count else lengths
    return None if len(shortest) and shortest.min() < len("true") else _cast(text, pa.bool_())


def _as_nullable_boolean(text: pa.Array) -> pa.Array | None:
    """Return values as booleans, from the words that pandas accepts for its nullable dtype."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pa.array(["True", "TRUE", "true", "False", "FALSE", "false"])
    return _as_boolean(text) if pc.all(pc.is_in(text.drop_null(), words)).as_py() in (True, None) else None


def _trimmed(text: pa.Array, data: np.ndarray) -> pa.Array:
    """Return values without surrounding blanks, which the number parser skips."""
    import pyarrow.compute as pc

    return pc.ascii_trim_whitespace(text) if len(data) and data.min() <= ord(" ") else text


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def _by_pandas(values: pa.Array, dtype: str | None = None) -> Any:
    """Return a column without missing values as pandas reads it: a numpy array, or an array of text."""
    import pandas
    import pyarrow as pa
    import pyarrow.csv as csv

    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table([values], ["0"]), sink, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    options: dict[str, Any] = {"header": None, "names": [0], "na_filter": False, "low_memory": False, "dtype": dtype}
    column = pandas.read_csv(io.BytesIO(memoryview(sink.getvalue())), **options)[0]
    return column.array if column.dtype == "str" else column.to_numpy()


def _spread(values: np.ndarray, text: pa.Array) -> pa.Array:
    """Return values at the positions where the text is not missing."""
    import numpy as np
    import pyarrow as pa

    if not text.null_count:
        return pa.array(values)
    missing = text.is_null().to_numpy(zero_copy_only=False)
    spread = np.zeros(len(text), values.dtype)
    spread[~missing] = values
    return pa.array(spread, mask=missing)


def _refuse_big(values: pa.Array) -> None:
    """Raise `UnsupportedByEngine` for integers beyond 64 bits before the first value that is not an integer."""
    import pyarrow.compute as pc

    for value in values.filter(pc.invert(pc.match_substring_regex(values, _SURELY_INT64))):
        if _INTEGER.fullmatch(value.as_py()) is None:
            return
        if not -(2**63) <= int(value.as_py()) < 2**63:
            raise UnsupportedByEngine("an integer beyond 64 bits")


def has_big_integer(values: pa.Array) -> bool:
    """Return whether one of these may be an integer beyond 64 bits."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, r"^\s*[+-]?[0-9]{19,}\s*$")).as_py())


def _is_text(value: str) -> bool:
    """Return whether this is certainly neither a number nor a boolean."""
    return _IN_NO_NUMBER.search(value) is not None and _WORD_OF_VALUE.fullmatch(value) is None


def _least_of_text(text: pa.Array) -> str:
    """Return a lower bound of what a text column demands, from a sample of its values."""
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
    """Return the bytes of all values, concatenated; missing values have none."""
    import numpy as np

    offsets, data = _offsets(text), text.buffers()[2]
    if data is None or offsets[-1] == offsets[0]:
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, np.uint8, int(offsets[-1] - offsets[0]), int(offsets[0]))
