"""Infer the dtype of a whole column from the dtypes that pandas infers for its chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.columns import demands, has_big_integer
from datapkg.building.readers.csv.inferred_types import INEXACT_FLOAT, NA, demand, dtype_of, join
from datapkg.building.readers.csv.large_integers import has_large, plain_numbers, size_of
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

_BASES = {"int64": "int", "uint64": "int", "float64": "float", "bool": "bool", "str": "text"}
# Supported explicit dtypes, each with the demands of text that they accept: for other text, pandas' result depends on
# the whole column.
GIVEN_TEXT = ("str", "string")
_GIVEN: dict[str, tuple[str, ...]] = {
    **{f"{sign}int{bits}": ("int",) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **dict.fromkeys(("float32", "float64"), ("", NA, "int", f"int{NA}", "float")),
    "bool": ("bool",),
}


class JoinedColumn:
    """A column whose chunks are added one by one; chunks are read without a dtype unless it is one of text.

    With `from_text`, the chunks are read as text, which tells integers beside missing values from floats.
    """

    def __init__(self, given: str, thousands: str, decimal: str = ".", from_text: bool = False) -> None:
        """Raise `UnsupportedByEngine` for an explicit dtype that chunks cannot determine."""
        if given and given not in _GIVEN and given not in GIVEN_TEXT:
            raise UnsupportedByEngine(f"a column of {given}")
        self._given, self._thousands, self._decimal, self._from_text = given, thousands, decimal, from_text
        self._need = ""
        self._surely_float = from_text
        self._has_large = self._is_perhaps_negative = self._is_unsigned = False

    @property
    def dtype(self) -> str:
        """Return the column's dtype; raise `UnsupportedByEngine` if pandas may not return the explicit one."""
        if self._given in _GIVEN and self._need not in _GIVEN[self._given]:
            raise UnsupportedByEngine(f"a column of {self._given} with other values")
        if self._is_unsigned and self._given in ("", "uint64"):
            return self._unsigned()
        return self._given or dtype_of(self._need)

    def _unsigned(self) -> str:
        """Return "uint64"; with missing or negative values, or -0, pandas reads such integers as text."""
        if self._need != "int" or self._is_perhaps_negative:
            raise UnsupportedByEngine("integers beyond those of int64 beside other values")
        return "uint64"

    @property
    def needs_text(self) -> bool:
        """Return whether chunks must be read as text: floats may have rounded integers, beside missing values too."""
        return self._has_large and not self._from_text and not self._given and self.dtype == "float64"

    @property
    def is_inexact(self) -> bool:
        """Return whether the column holds fractions beside an integer that a float changes."""
        return self._need == INEXACT_FLOAT

    @property
    def perhaps_integers(self) -> bool:
        """Return whether these floats may be integers with missing values."""
        return not self._given and self.dtype == "float64" and not self._surely_float

    def add(self, values: pandas.Series) -> None:
        """Add the next chunk; raise `UnsupportedByEngine` if the result depends on more than chunks show."""
        if self._given in GIVEN_TEXT:
            return
        if self._from_text:
            self._need = join(self._need, demand(*demands(plain_numbers(values, self._thousands, self._decimal))))
            return
        found = _demand(values)
        self._has_large |= _has_large(values)
        self._is_unsigned |= str(values.dtype) == "uint64"
        self._is_perhaps_negative |= str(values.dtype) == "int64" and bool((values <= 0).any())
        if found == "text" != self._need and has_big_integer(_texts(values, self._thousands)):
            raise UnsupportedByEngine("text beside an integer beyond 64 bits")
        if found == "float":
            self._surely_float |= not values.isna().any() or bool((values.dropna() % 1 != 0).any())
        self._need = join(self._need, found)


def _has_large(values: pandas.Series) -> bool:
    import pyarrow as pa

    if values.dtype == "int64":
        return size_of(pa.array(values)) != "int"
    return values.dtype == "float64" and has_large(pa.array(values, from_pandas=True))


def _demand(values: pandas.Series) -> str:
    import pandas

    missing = bool(values.isna().any())
    if values.isna().all():
        return demand("", missing)
    if values.dtype == object and pandas.api.types.infer_dtype(values, skipna=True) == "boolean":
        return demand("bool", missing)
    if str(values.dtype) not in _BASES:
        raise UnsupportedByEngine(f"pandas infers {values.dtype}")
    return demand(_BASES[str(values.dtype)], missing)


def _texts(values: pandas.Series, thousands: str) -> pa.Array:
    import pyarrow as pa

    values = values.dropna()
    return pa.array(values.str.replace(thousands, "", regex=False) if thousands else values, pa.string())


def given_dtypes(labels: pandas.Index, dtype: Any) -> list[str]:
    """Return the name of the explicit dtype of each column, "" where pandas infers it.

    Raise `UnsupportedByEngine` if dtypes are not keyed by unique column labels.
    """
    from pandas.api.types import pandas_dtype

    if not isinstance(dtype, dict):
        return ["" if dtype is None else str(pandas_dtype(dtype))] * len(labels)
    texts = {str(label) for label in labels}
    if not dtype.keys() <= set(labels) or any(str(label).rpartition(".")[0] in texts for label in labels):
        raise UnsupportedByEngine("dtypes of columns that are named twice, or by number")
    return [str(pandas_dtype(dtype[label])) if label in dtype else "" for label in labels]
