"""Detect the dialect of a CSV file that the fast engine may read; pandas determines it from the first rows."""

from __future__ import annotations

import codecs
import inspect
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.csv.inferred_types import GIVEN
from datapkg.building.readers.csv.record_splitter import record_end

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

# Part of the key of cached blocks; increase when the same text is read differently.
VERSION = 3
_MARK = b"\xef\xbb\xbf"
# pandas determines the layout from this much text, if a row ends within it.
_FIRST_ROWS = 32 << 10
_BLANK = b" \t\r\n"


@dataclass(frozen=True)
class CsvDialect:
    """Everything that determines how records are read, except the types of columns.

    A record has `width` fields, of which those at `used` become columns with the `labels`; `given` are their explicit
    dtypes, "" if pandas infers them. The first record begins at `first`, in bytes.
    """

    separator: str
    width: int
    used: tuple[int, ...]
    labels: pandas.Index
    given: tuple[str, ...]
    missing_words: list[str]
    is_ascii: bool
    first: int
    choices: str
    missing_options: dict[str, Any]

    @cached_property
    def names(self) -> list[str]:
        """Return a name for every field, since labels may be values other than text."""
        return [str(field) for field in range(self.width)]

    @cached_property
    def used_names(self) -> list[str]:
        """Return the names of the fields that become columns."""
        return [self.names[field] for field in self.used]

    @cached_property
    def arrow_types(self) -> dict[str, pa.DataType]:
        """Return the type with which Arrow reads each field, which is text."""
        import pyarrow as pa

        return dict.fromkeys(self.names, pa.string())

    @cached_property
    def pandas_options(self) -> dict[str, Any]:
        """Return the kwargs with which pandas reads the same records."""
        chosen = {} if len(self.used) == self.width else {"usecols": list(self.used)}
        return {"sep": self.separator, **self.missing_options, **chosen}


def detect_dialect(head: bytes, kwargs: dict[str, Any]) -> CsvDialect | None:
    """Return the layout of a file by its first bytes; None if the fast engine does not support it or the kwargs."""
    kwargs = _without_defaults(kwargs)
    if {"sep", "delimiter"} <= kwargs.keys():
        return None
    if not all(name in _UNDERSTOOD and _UNDERSTOOD[name](value) for name, value in kwargs.items()):
        return None
    separator = kwargs.get("sep", kwargs.get("delimiter", ","))
    first = _first_record(head, separator.encode(), kwargs)
    if first is None or (_codec(kwargs.get("encoding")) == "ascii" and not head[:first].isascii()):
        return None
    enough = head.rfind(b"\n", first, first + _FIRST_ROWS) + 1
    try:
        return _layout(head[:enough] if enough > first else head, first, separator, kwargs)
    except (ValueError, LookupError, TypeError):
        return None


def _layout(head: bytes, first: int, separator: str, kwargs: dict[str, Any]) -> CsvDialect | None:
    import pandas

    def read(text: bytes, **options: Any) -> pandas.DataFrame:
        return pandas.read_csv(io.BytesIO(text), sep=separator, nrows=1, dtype="str", **options)

    named: dict[str, Any] = {name: kwargs[name] for name in ("header", "names") if name in kwargs}
    every, chosen = read(head, **named), read(head, **named, usecols=kwargs.get("usecols"))
    width, fields = every.shape[1], read(head[first:], header=None).shape[1]
    # The first row shows whether there is an index; below a header it may have fewer fields.
    has_header = kwargs.get("names") is None and kwargs.get("header", 0) is not None
    if len(every) != 1 or not (width == fields or (has_header and fields < width)) or not chosen.shape[1]:
        return None
    given = _given(chosen.columns, kwargs.get("dtype"))
    if given is None:
        return None
    missing: dict[str, Any] = {
        name: kwargs[name] for name in ("na_values", "keep_default_na", "na_filter") if name in kwargs
    }
    used = tuple(list(every.columns).index(label) for label in chosen.columns)
    return CsvDialect(
        separator=separator,
        width=width,
        used=used,
        labels=chosen.columns,
        given=given,
        missing_words=_missing_words(missing),
        is_ascii=_codec(kwargs.get("encoding")) == "ascii",
        first=first,
        choices=_choices(head[:first], kwargs, [width, used, [repr(label) for label in chosen.columns], given]),
        missing_options=missing,
    )


def _first_record(head: bytes, separator: bytes, kwargs: dict[str, Any]) -> int | None:
    """Return the position of the first record after the header; None if the header is unusual."""
    start = len(_MARK) if head.startswith(_MARK) else 0
    # Whether a second byte order mark is text depends on the encoding.
    if not head[start : start + 1].strip(_BLANK) or head.startswith(_MARK, start):
        return None
    if kwargs.get("header", "infer" if kwargs.get("names") is None else None) is None:
        return start
    text = head[start:]
    newline = text.find(b"\n") + 1
    while newline and record_end(text[:newline], separator, False) != newline:
        newline = text.find(b"\n", newline) + 1
    line = text[:newline].removesuffix(b"\n").removesuffix(b"\r")
    return start + newline if newline and b"\r" not in line and b"\0" not in line else None


def _given(labels: pandas.Index, dtype: Any) -> tuple[str, ...] | None:
    """Return the explicit dtype of each column, "" for none; None if one of them is not supported."""
    if not isinstance(dtype, dict):
        name = "" if dtype is None else _dtype_name(dtype)
        return None if name is None else (name,) * len(labels)
    names = {label: _dtype_name(each) for label, each in dtype.items()}
    texts = {str(label) for label in labels}
    # pandas applies the dtype of `a` also to `a.1` if that is the second `a`.
    again = any(str(label).rpartition(".")[0] in texts for label in labels)
    if again or None in names.values() or not names.keys() <= set(labels):
        return None
    return tuple(names.get(label) or "" for label in labels)


def _dtype_name(dtype: Any) -> str | None:
    from pandas.api.types import pandas_dtype

    name = str(pandas_dtype(dtype))
    return name if name in GIVEN else None


def _missing_words(kwargs: dict[str, Any]) -> list[str]:
    from pandas._libs.parsers import STR_NA_VALUES  # type: ignore[import-not-found]

    own = kwargs.get("na_values") or []
    words = {own} if isinstance(own, str) else set(own)
    if not kwargs.get("na_filter", True):
        return []
    return sorted(words | STR_NA_VALUES if kwargs.get("keep_default_na", True) else words)


def _choices(header: bytes, kwargs: dict[str, Any], columns: list[Any]) -> str:
    """Return the settings as text; `columns` is what the first row determines if there is no header."""
    import pandas
    import pyarrow as pa

    written = {name: repr(value) for name, value in kwargs.items()}
    return json.dumps(
        [VERSION, pandas.__version__, pa.__version__, header.decode("utf-8", "replace"), written, columns],
        sort_keys=True,
    )


def _without_defaults(kwargs: dict[str, Any]) -> dict[str, Any]:
    import pandas

    known = inspect.signature(pandas.read_csv).parameters
    return {
        name: value
        for name, value in kwargs.items()
        if name not in known or type(value) is not type(known[name].default) or value != known[name].default
    }


def _codec(encoding: Any) -> str:
    try:
        return codecs.lookup(encoding or "utf-8").name
    except (LookupError, TypeError):
        return ""


def _is_word(value: Any) -> bool:
    """Return whether pandas compares this missing value only as text; numbers are compared as numbers too."""
    try:
        float(value)
    except ValueError:
        return isinstance(value, str)
    except TypeError:
        return False
    return False


def _is_separator(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in '"\r\n\0 '


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, (str, int)) for each in value)


def are_words(value: Any) -> bool:
    """Return whether pandas compares these missing values only as text."""
    return _is_word(value) or (isinstance(value, (list, tuple, set)) and all(map(_is_word, value)))


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


# The supported kwargs, each with a predicate of its supported values.
_UNDERSTOOD: dict[str, Callable[[Any], bool]] = {
    "sep": _is_separator,
    "delimiter": _is_separator,
    "header": lambda value: value is None or (value == 0 and not isinstance(value, bool)),
    "names": lambda value: value is None or _are_names(value),
    "usecols": _are_names,
    "dtype": lambda value: True,
    "na_values": are_words,
    "keep_default_na": _is_bool,
    "na_filter": _is_bool,
    "encoding": lambda value: _codec(value) in ("utf-8", "utf-8-sig", "ascii"),
    "low_memory": lambda value: True,
    "memory_map": lambda value: True,
    "engine": lambda value: value in (None, "c"),
    # The caller opens the text.
    "compression": lambda value: True,
}
