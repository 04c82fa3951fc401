"""Propose ways to write a table as text from which a build makes an equal table, the likeliest first.

A way is a dialect with the transform and kwargs that read it. Nothing here proves that they fit: the writer reads each
text back and compares `content` (`building/text_content`), and tries the next way, or another format, if it differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.building.text_content import missing_words
from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.cell_text import TextColumn, columns_of, is_text, not_as_text, pieces
from datapkg.reading.tables.delimited_text import Dialect
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.pandas_metadata import observed, pandas_metadata

SEPARATORS = {"csv": ",", "tsv": "\t", "ssv": ";"}
_SPACES = (r"\s+", " +", r" +", "\\s*")
# Limit for skipped lines; with more of them, a text does not read back equal, and another form is used.
_MAX_LINES = 10_000
_MARKERS = ("", "NA", "NULL", "\\N", "<NA>", "<missing>")


@dataclass(frozen=True)
class TextForm:
    """A dialect, and the transform and kwargs with which a build reads it."""

    transform: str
    dialect: Dialect
    kwargs: dict[str, Any] = field(default_factory=dict)


def recorded_form(schema: pa.Schema, transform: str, kwargs: dict[str, Any]) -> TextForm | None:
    """Return the form of the text that a table was built from, so that the same build file reads it again."""
    columns = columns_of(schema)
    # An export writes text uncompressed, whatever the source was.
    kwargs = {name: value for name, value in kwargs.items() if name != "compression"}
    if isinstance(kwargs.get("dtype"), dict):
        kwargs["dtype"] = _in_order(kwargs["dtype"], [each.label for each in columns])
    separator = kwargs.get("sep", kwargs.get("delimiter", SEPARATORS[transform]))
    separator = " " if separator in _SPACES else separator
    header = kwargs.get("header", "infer")
    quote, decimal = kwargs.get("quotechar", '"'), kwargs.get("decimal", ".")
    if not all(isinstance(each, str) and len(each) == 1 for each in (separator, quote, decimal)):
        return None
    levels = len(header) if isinstance(header, list) else 1
    if (levels > 1 and header != list(range(levels))) or not isinstance(kwargs.get("encoding", "utf-8"), str):
        return None
    has_header = header is not None and (header != "infer" or kwargs.get("names") is None)
    above, skipped, footer = (
        header if type(header) is int else 0,
        _lines(kwargs.get("skiprows")),
        kwargs.get("skipfooter"),
    )
    dialect = Dialect(
        separator,
        quote,
        has_header,
        levels,
        names_index=kwargs.get("index_col") is not None,
        index_at=_places(kwargs.get("index_col")),
        encoding=kwargs.get("encoding") or "utf-8",
        decimal=decimal,
        booleans=(_first(kwargs.get("true_values"), "True"), _first(kwargs.get("false_values"), "False")),
        above=min(above, _MAX_LINES),
        skipped=skipped,
        footer=min(footer, _MAX_LINES) if type(footer) is int else 0,
        date_formats=_date_formats(kwargs.get("date_format")),
    )
    markers = {each.label: _marker(missing_words(kwargs, each.label), separator) for each in columns}
    return TextForm(transform, replace(dialect, missing_of=markers), kwargs)


def _in_order(dtype: dict[str, Any], labels: list[str]) -> dict[Any, Any]:
    """Return `dtype` with keys in column order: they may name the columns, and older logs have sorted keys.

    Keys that JSON turned from integers into text become integers again if the columns have no other names.
    """
    numbers = {str(at): at for at in range(len(labels))} if labels == [str(at) for at in range(len(labels))] else {}
    places = {label: at for at, label in enumerate(labels)}
    keys = sorted(dtype, key=lambda key: places.get(str(key), len(labels)))
    return {numbers.get(key, key): dtype[key] for key in keys}


def _places(value: Any) -> tuple[int, ...]:
    """Return the positions of the columns that `index_col` gives by number."""
    places = value if isinstance(value, list) else [value]
    # `type`, here and below: isinstance would take True for 1.
    return tuple(places) if all(type(each) is int and each >= 0 for each in places) else ()


def _lines(value: Any) -> frozenset[int]:
    """Return the numbers of the lines that `skiprows` skips."""
    if type(value) is int:
        return frozenset(range(min(value, _MAX_LINES)))
    return (
        frozenset(value[:_MAX_LINES])
        if isinstance(value, list) and all(type(each) is int for each in value)
        else frozenset()
    )


def _first(words: Any, default: str) -> str:
    return words[0] if isinstance(words, list) and words and isinstance(words[0], str) else default


def _date_formats(value: Any) -> dict[str, str]:
    formats = value if isinstance(value, dict) else {"": value}
    return {
        # Words of pandas, which strftime does not know.
        str(key): each
        for key, each in formats.items()
        if isinstance(each, str) and each not in ("ISO8601", "mixed")
    }


def _marker(words: set[str], separator: str) -> str:
    # Separators of any number of spaces would swallow an empty cell.
    usable = sorted(words - {""}) if separator == " " else sorted(words)
    return "" if not usable or usable[0] == "" else "NA" if "NA" in usable else usable[0]


def plain_forms(table: StoredTable, separator: str, *, may_have_kwargs: bool) -> Iterator[TextForm]:
    """Yield the forms of a table with this separator: read without kwargs, then with all kwargs that its types need.

    Unless it `may_have_kwargs`, the reader cannot know a marker for nulls, so nulls are empty. Yield nothing for a
    table with columns that text cannot represent.
    """
    schema = arrow_reader.schema(table)
    columns = columns_of(schema)
    if not_as_text(schema) or not columns:
        return
    transform = next((name for name, each in SEPARATORS.items() if each == separator), "csv")
    start = {} if SEPARATORS[transform] == separator else {"sep": separator}
    dialect = Dialect(separator)
    if _reads_by_itself(columns, schema):
        yield TextForm(transform, dialect, start)
    words = _words(table, columns)
    kwargs = {**start, **_kwargs(columns, schema)}
    has_marker_words = bool(words & missing_words({}, ""))
    marker = next((each for each in _MARKERS if each not in words), None)
    if marker is None or (marker and not may_have_kwargs):
        return
    if marker or has_marker_words:
        kwargs |= {"keep_default_na": False, "na_values": [marker]}
    dialect = replace(dialect, missing=marker, has_header="header" not in kwargs)
    yield TextForm(transform, dialect, kwargs)
    if any(types.is_timestamp(each.kind) for each in columns):
        yield TextForm(transform, replace(dialect, full_times=True), kwargs)


def _reads_by_itself(columns: list[TextColumn], schema: pa.Schema) -> bool:
    """Return whether pandas could infer these types from text."""
    kinds = (pa.int64(), pa.uint64(), pa.float64(), pa.bool_(), pa.string(), pa.large_string())
    return not observed(schema) and all(each.kind in kinds and not each.is_index for each in columns)


def _kwargs(columns: list[TextColumn], schema: pa.Schema) -> dict[str, Any]:
    """Return the kwargs that give `read_csv` the types, the index and the kind of labels of a table."""
    numbered = [each.label for each in columns] == [str(at) for at in range(len(columns))]
    numbered = numbered and any("int" in str(level[-1]) for level in observed(schema).get("levels", []))
    dtypes = _pandas_dtypes(schema)
    dtype: dict[Any, str] = {}
    dates: list[Any] = []
    for at, column in enumerate(columns):
        label = at if numbered else column.label
        if types.is_timestamp(column.kind):
            dates.append(label)
        elif name := _dtype(column.kind, dtypes.get(column.name, "")):
            dtype[label] = name
    index = sum(each.is_index for each in columns)
    found: dict[str, Any] = {"header": None} if numbered else {}
    found |= {"dtype": dtype} if dtype else {}
    found |= {"parse_dates": dates} if dates else {}
    return found | ({"index_col": list(range(index)) if index > 1 else 0} if index else {})


def _pandas_dtypes(schema: pa.Schema) -> dict[str, str]:
    described = pandas_metadata(schema).get("columns")
    entries = [each for each in described if isinstance(each, dict)] if isinstance(described, list) else []
    return {str(each.get("field_name") or each.get("name")): str(each.get("numpy_type")) for each in entries}


def _dtype(kind: pa.DataType, given: str) -> str:
    """Return the dtype that `read_csv` must be given for a column; "" if it infers it."""
    if types.is_dictionary(kind):
        return "category"
    if given.startswith(("Int", "UInt", "Float", "boolean", "string")):
        return given
    if types.is_float16(kind):
        return "float16"
    if types.is_integer(kind) or types.is_floating(kind):
        return str(kind.to_pandas_dtype().__name__)
    if types.is_boolean(kind):
        return "bool"
    return "str" if is_text(kind) else ""


def _words(table: StoredTable, columns: list[TextColumn]) -> set[str]:
    """Return the words for nulls that occur as text values in this table."""
    asked = pa.array(sorted({*missing_words({}, ""), *_MARKERS}))
    names = [each.name for each in columns if is_text(_values_of(each.kind))]
    found: set[str] = set()
    for batch in pieces(table, names) if names else ():
        for array in batch.columns:
            values = array.dictionary if types.is_dictionary(array.type) else array
            values = values.cast(pa.large_string())
            found.update(values.filter(pc.is_in(values, asked.cast(pa.large_string()))).unique().to_pylist())
    return found


def _values_of(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if types.is_dictionary(kind) else kind
