"""How a pandas DataFrame becomes an Arrow table from which the same DataFrame comes back.

pyarrow does most of it. Here is what it leaves out: labels that are no text or stand twice, integers beyond 64 bits,
and a description of the frame that depends on nothing but types (pyarrow's own has versions and row counts in it).
"""

from __future__ import annotations

import decimal
import json
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datapkg.building.attrs import plain_attrs
from datapkg.errors import InvalidInput
from datapkg.format.frames import PANDAS_KEY, others_without_origin, pandas_metadata, without_origin
from datapkg.format.names import shown

if TYPE_CHECKING:
    import pandas

# What readers of the description see as the version of pandas that wrote it, whichever it was.
_PANDAS_VERSION = "3.0.0"
_DEFAULT_RANGE = {"kind": "range", "name": None, "start": 0, "step": 1}
_LEVEL_TYPES = {
    "string": ("unicode", "str"),
    "integer": ("int64",) * 2,
    "floating": ("float64",) * 2,
    "boolean": ("bool",) * 2,
}
_LEVEL: dict[str, Any] = {
    "name": None,
    "field_name": None,
    "pandas_type": "unicode",
    "numpy_type": "str",
    "metadata": None,
}
_DECIMAL_DIGITS = 38


def table_from_frame(frame: pandas.DataFrame) -> pa.Table:
    """The frame as an Arrow table; the frame is not changed.

    Raises `InvalidInput` naming the column that Arrow has no type for.
    """
    import pandas

    frame = _with_plain_attrs(frame)
    index, labels = frame.index, frame.columns
    is_default = isinstance(index, pandas.RangeIndex) and (index.start, index.step, index.name) == (0, 1, None)
    if not _arrow_keeps(labels):
        frame = frame.set_axis(_stored_names([_plain_label(label) for label in labels]), axis=1)
    frame = _without_big_integers(frame)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None if is_default else True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _bad_column(frame, error) from error
    return normal_schema(table if frame.columns is labels else _with_labels(table, labels))


def _with_plain_attrs(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The frame with attrs that JSON can hold; pandas would leave out all of them for one that it cannot."""
    if not frame.attrs:
        return frame
    kept, left_out = plain_attrs(frame.attrs)
    for each in left_out:
        warnings.warn(each, stacklevel=3)
    frame = frame.copy(deep=False)
    frame.attrs = kept  # type: ignore[assignment]
    return frame


def _arrow_keeps(columns: Any) -> bool:
    """Whether pyarrow gives these labels back: unique, and all text, all numbers, all times, or levels."""
    import pandas

    if not columns.is_unique or isinstance(columns, pandas.CategoricalIndex):
        return False
    return isinstance(columns, pandas.MultiIndex) or columns.inferred_type in (
        *("string", "integer", "floating", "datetime64", "empty"),
    )


def _plain_label(label: Any) -> Any:
    value = label.item() if hasattr(label, "item") else label
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InvalidInput(
        f"the column label {shown(label)} is a {type(label).__name__}; labels that stand twice or are of several types "
        "are text, numbers, booleans or None",
        hint="rename the columns",
    )


def _stored_names(labels: Sequence[Any]) -> list[str]:
    """A name of its own for each column: its label as text, with a number where that is taken."""
    taken = {str(label) for label in labels}
    numbers: dict[str, int] = {}
    names = []
    for text in map(str, labels):
        name = text
        if text in numbers:
            while name in taken:
                numbers[text] += 1
                name = f"{text}.{numbers[text]}"
            taken.add(name)
        numbers.setdefault(text, 0)
        names.append(name)
    return names


def _with_labels(table: pa.Table, labels: pandas.Index) -> pa.Table:
    """Writes the true labels into the description: readers rename by it."""
    description = pandas_metadata(table.schema)
    for entry, label in zip(description["columns"], labels, strict=False):
        entry["name"] = _plain_label(label)
    kind, dtype = _LEVEL_TYPES.get(labels.inferred_type, ("mixed", "object"))
    description["column_indexes"] = [{**_LEVEL, "name": labels.name, "pandas_type": kind, "numpy_type": dtype}]
    return _described(table, description)


def _without_big_integers(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Integers beyond 64 bits as decimals, or as text above 38 digits: Arrow has no type for them.

    In columns, among categories and in the index.
    """
    changed = {}
    for position, dtype in enumerate(frame.dtypes):
        if dtype.kind == "O" and (column := _smaller(frame.iloc[:, position])) is not None:
            changed[position] = column
    index = _smaller_index(frame.index)
    if not changed and index is None:
        return frame
    frame = frame.copy(deep=False)
    for position, column in changed.items():
        frame.isetitem(position, column.array)
    if index is not None:
        frame.index = index
    return frame


def _smaller(column: pandas.Series) -> pandas.Series | None:
    import pandas

    if isinstance(column.dtype, pandas.CategoricalDtype):
        change = _change(column.cat.categories)
        return None if change is None else column.cat.rename_categories(change)
    change = _change(column)
    return None if change is None else column.map(change)


def _smaller_index(index: Any) -> Any:
    import pandas

    if isinstance(index, pandas.MultiIndex):
        levels = {level: _smaller_index(values) for level, values in enumerate(index.levels)}
        for level, values in levels.items():
            index = index if values is None else index.set_levels(values, level=level)
        return index if any(values is not None for values in levels.values()) else None
    is_categorical = isinstance(index, pandas.CategoricalIndex)
    change = _change(index.categories if is_categorical else index)
    if change is None:
        return None
    return index.rename_categories(change) if is_categorical else index.map(change)


def _change(values: Any) -> Callable[[Any], Any] | None:
    """How to change values so that no integer among them is beyond 64 bits; None if none is."""
    if values.dtype != "O":
        return None
    integers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if not integers or -(2**63) <= min(integers) <= max(integers) < 2**63:
        return None
    fits = max(len(str(abs(value))) for value in (min(integers), max(integers))) <= _DECIMAL_DIGITS
    new = decimal.Decimal if fits else str
    return lambda value: new(value) if isinstance(value, int) else value


def _bad_column(frame: pandas.DataFrame, error: Exception) -> InvalidInput:
    """Finds the column that Arrow refuses, and says what is in it."""
    for position, label in enumerate(frame.columns):
        column = frame.iloc[:, position]
        try:
            pa.Array.from_pandas(column)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as reason:
            if column.dtype.kind == "c":
                return InvalidInput(f"column {shown(label)} holds complex numbers, which Parquet has no type for")
            kinds = sorted({type(value).__name__ for value in column.dropna().head(10_000)})
            if column.dtype == object and len(kinds) > 1:
                return InvalidInput(
                    f"column {shown(label)} holds values of several types: {', '.join(kinds)}",
                    hint=f"to read it as text say kwargs: {{dtype: {{{label}: str}}}}",
                    column=str(label),
                )
            return InvalidInput(f"column {shown(label)} ({column.dtype}): {reason}", column=str(label))
    return InvalidInput(str(error))


def table_from_arrow(table: pa.Table) -> pa.Table:
    """An Arrow table with its description in normal form; names that stand twice get a number, as labels they stay."""
    names = table.column_names
    if len(set(names)) == len(names):
        return normal_schema(table)
    stored = table.rename_columns(_stored_names(names)).replace_schema_metadata(_others(table))
    return _described(stored, _description(stored.column_names, names, {}))


def normal_schema(table: pa.Table) -> pa.Table:
    """The table with a description of its frame that is a function of types and labels, or none; no rows in it."""
    description = pandas_metadata(table.schema)
    if not description:
        return table.replace_schema_metadata(_others(table))
    ranges = [each for each in description.get("index_columns") or [] if isinstance(each, dict)]
    if [{key: each.get(key) for key in _DEFAULT_RANGE} for each in ranges] == [_DEFAULT_RANGE]:
        description["index_columns"] = []
    description.pop("creator", None)
    description["attributes"] = without_origin(description.get("attributes"))
    if not description["attributes"]:
        description.pop("attributes", None)
    return _described(table, {**description, "pandas_version": _PANDAS_VERSION})


def with_dtypes(table: pa.Table, dtypes: dict[str, str]) -> pa.Table:
    """An Arrow table described as a frame whose columns have these dtypes, where they are not those of their type."""
    return _described(table, _description(table.column_names, table.column_names, dtypes))


def with_nullable_dtypes(table: pa.Table, dtypes: dict[str, str]) -> pa.Table:
    """Return a table that is described as a frame, with these dtypes in its description, by stored name."""
    description = pandas_metadata(table.schema)
    columns = [
        {**each, "numpy_type": dtypes.get(each.get("field_name") or each.get("name"), each.get("numpy_type"))}
        for each in description["columns"]
    ]
    return _described(table, {**description, "columns": columns})


def _description(names: list[str], labels: list[str], dtypes: dict[str, str]) -> dict[str, Any]:
    columns = [
        {
            "name": label,
            "field_name": name,
            "pandas_type": "object",
            "numpy_type": dtypes.get(name, "object"),
            "metadata": None,
        }
        for name, label in zip(names, labels, strict=True)
    ]
    return {"index_columns": [], "column_indexes": [_LEVEL], "columns": columns, "pandas_version": _PANDAS_VERSION}


def _described(table: pa.Table, description: dict[str, Any]) -> pa.Table:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return table.replace_schema_metadata({**_others(table), PANDAS_KEY: text.encode()})


def _others(table: pa.Table) -> dict[bytes, bytes]:
    others = others_without_origin(table.schema.metadata or {})
    return {key: value for key, value in others.items() if key != PANDAS_KEY}
