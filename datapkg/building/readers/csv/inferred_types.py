"""pandas' rules of type inference as a table: what the text of a column demands, how demands join, and their dtypes.

A demand is `""` (no value), `int`, `float`, `bool` or `text`, followed by `+na` if values are missing. `int-0` is the
demand of integers of which one is written `-0`: it is 0 among integers, -0.0 among floats. `int>` is that of integers
of which one is above 2^53, which stay integers beside missing values (pandas would make floats of them). `int>>` has
one that a float does not give back, and `float>>` has one beside fractions, which is an error: no type holds both. `?`
is that of text that could not be distinguished cheaply from integers beyond 64 bits: the result of joining it is
unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

NA = "+na"
UNKNOWN = "?"
NEGATIVE_ZERO = "int-0"
LARGE = "int>"
INEXACT = "int>>"
INEXACT_FLOAT = "float>>"

# Each includes those before it.
INTEGERS = ("int", NEGATIVE_ZERO, LARGE, INEXACT)
_FLOATS = ("float", INEXACT_FLOAT)

# For columns without an explicit dtype: demand → dtype. Integers with missing values are floats, except large ones.
_INFERRED = {
    "": "float64",
    NA: "float64",
    "int": "int64",
    "int" + NA: "float64",
    NEGATIVE_ZERO: "int64",
    NEGATIVE_ZERO + NA: "float64",
    LARGE: "int64",
    LARGE + NA: "Int64",
    INEXACT: "int64",
    INEXACT + NA: "Int64",
    "float": "float64",
    INEXACT_FLOAT: "float64",
    "bool": "bool",
    "bool" + NA: "object",
    "text": "str",
}
# The supported explicit dtypes: the result without and with missing values.
GIVEN = {
    "int64": ("int64", "Int64"),
    "bool": ("bool", "boolean"),
    "float64": ("float64", "float64"),
    "str": ("str", "str"),
    "Int64": ("Int64", "Int64"),
    "boolean": ("boolean", "boolean"),
}


def demand(base: str, missing: bool) -> str:
    """Return a demand in canonical form: with floats and text, missing values make no difference."""
    return base + NA if missing and base not in (*_FLOATS, "text", UNKNOWN) else base


def split(need: str) -> tuple[str, bool]:
    """Return the base of a demand, and whether values are missing."""
    return need.removesuffix(NA), need.endswith(NA)


def join(one: str, other: str) -> str:
    """Return the demand of a column whose two parts have these demands."""
    (a, a_missing), (b, b_missing) = split(one), split(other)
    return demand(_join_bases(a, b), a_missing or b_missing)


def widen(settled: str, found: str) -> str:
    """Return the demand of a column after a part of it, read as `settled`, was found to demand `found`."""
    return settled if found == UNKNOWN else join(settled, found)


def _join_bases(a: str, b: str) -> str:
    if a == b or not b:
        return a
    if not a:
        return b
    if UNKNOWN in (a, b):
        return UNKNOWN
    if a in INTEGERS and b in INTEGERS:
        return max(a, b, key=INTEGERS.index)
    if not {a, b} <= {*INTEGERS, *_FLOATS}:
        return "text"
    return INEXACT_FLOAT if {a, b} & {INEXACT, INEXACT_FLOAT} else "float"


def same_values(settled: str, found: str, given: str = "") -> bool:
    """Return whether values read under `settled` remain right once `found` is part of the same column.

    False for a demand that is an error, as it may be one of text once the rest is known.
    """
    if given:
        return dtype_of(widen(settled, found), given) == dtype_of(settled, given)
    joined = widen(settled, found)
    if joined == INEXACT_FLOAT:
        return False
    is_float_now = joined == "float" and NEGATIVE_ZERO in (split(settled)[0], split(found)[0])
    return dtype_of(joined) == dtype_of(settled) and not is_float_now


def dtype_of(need: str, given: str = "") -> str:
    """Return the name of the pandas dtype for a column with this demand, or with an explicit dtype."""
    if given:
        return GIVEN[given][split(need)[1]]
    return _INFERRED.get(need, "")


def dtypes_of(needs: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the dtypes of all columns, in order."""
    return [dtype_of(need, each) for need, each in zip(needs, given, strict=True)]
