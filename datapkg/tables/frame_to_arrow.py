"""Convert a pandas DataFrame to an Arrow table from which the same DataFrame can be restored.

pyarrow does most of it. This module adds what pyarrow lacks: labels that are not text or not unique, columns of Python
objects (`value_kinds`), and a description of the frame that depends only on types (pyarrow's own has versions and row
counts in it).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.tables.pandas_attrs import plain_attrs
from datapkg.tables.pandas_metadata import PANDAS_KEY, others_without_origin, pandas_metadata, without_origin
from datapkg.tables.value_kinds import ValueKinds

if TYPE_CHECKING:
    import pandas

# Recorded as the version of pandas that wrote the description, whichever it was, so that equal tables stay equal.
_PANDAS_VERSION = "3.0.0"
_EXACT = 2**53  # up to here, a float holds every integer
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
AsText: TypeAlias = Callable[[Any], str]
"""The code to type so that the column with a label, or the index (None), is read as text."""


def _astype(label: Any) -> str:
    return (
        "frame.index = frame.index.astype(str)" if label is None else f"frame[{label!r}] = frame[{label!r}].astype(str)"
    )


def dtype_kwarg(label: Any) -> str:
    """Return the hint for a source that is read with keyword arguments of pandas."""
    return "" if label is None else f"to read it as text say kwargs: {{dtype: {{{label}: str}}}}"


def table_from_frame(frame: pandas.DataFrame, as_text: AsText = _astype) -> pa.Table:
    """Return the frame as an Arrow table; the frame is not changed.

    Raise `InvalidInput` naming the column that Arrow has no type for, with the hint that `as_text` gives for it.
    """
    import pandas

    frame = _with_plain_attrs(frame)
    index, labels = frame.index, frame.columns
    is_default = isinstance(index, pandas.RangeIndex) and (index.start, index.step, index.name) == (0, 1, None)
    is_kept = _arrow_keeps(labels)
    if not is_kept:
        frame = frame.set_axis(_stored_names([_plain_label(label) for label in labels]), axis=1)
    frame = _with_plain_values(frame, as_text)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None if is_default else True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _bad_column(frame, error) from error
    return normal_schema(table if is_kept else _with_labels(table, labels))


def _with_plain_attrs(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the frame with attrs that JSON can hold; pandas would drop all of them because of one that it cannot."""
    if not frame.attrs:
        return frame
    kept, left_out = plain_attrs(frame.attrs)
    for each in left_out:
        warnings.warn(each, stacklevel=3)
    frame = frame.copy(deep=False)
    frame.attrs = kept  # type: ignore[assignment]
    return frame


def _arrow_keeps(columns: Any) -> bool:
    """Return whether pyarrow restores these labels: unique, and all text, all numbers, all times, or levels."""
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
        f"the column label {quoted(label)} is a {type(label).__name__}; labels that occur twice or have several types "
        "must be text, numbers, booleans or None",
        hint="rename the columns",
    )


def _stored_names(labels: Sequence[Any]) -> list[str]:
    """Return a unique name for each column: its label as text, with a number if that name is taken."""
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
    """Write the true labels into the description, from which readers rename the columns."""
    description = pandas_metadata(table.schema)
    # The columns of the index follow in the description.
    for entry, label in zip(description["columns"], labels, strict=False):
        entry["name"] = _plain_label(label)
    kind, dtype = _LEVEL_TYPES.get(labels.inferred_type, ("mixed", "object"))
    description["column_indexes"] = [{**_LEVEL, "name": labels.name, "pandas_type": kind, "numpy_type": dtype}]
    return _described(table, description)


def _with_plain_values(frame: pandas.DataFrame, as_text: AsText) -> pandas.DataFrame:
    """Return the frame with Python objects from which Arrow infers the one type that holds them exactly.

    This covers columns, categories and the index. Raise `InvalidInput` if there is no such type.
    """
    import pandas

    changed = {}
    for position, dtype in enumerate(frame.dtypes):
        if dtype.kind == "O":
            label = frame.columns[position]
            with _hinted(label, as_text):
                column = _plain_column(frame.iloc[:, position], f"column {quoted(label)}")
            if column is not None:
                changed[position] = pandas.Series(column, index=frame.index, dtype=column.dtype)
    with _hinted(None, as_text):
        index = _plain_index(frame.index, "the index")
    if not changed and index is None:
        return frame
    frame = frame.copy(deep=False)
    for position, values in changed.items():
        frame.isetitem(position, values)
    if index is not None:
        frame.index = index
    return frame


@contextmanager
def _hinted(label: Any, as_text: AsText) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        column = {} if label is None else {"column": str(label)}
        raise InvalidInput(str(error), hint=as_text(label), **column) from error


def _plain_column(column: pandas.Series, place: str) -> Any:
    """Return the values that replace a column's; None if they stay."""
    import pandas

    if isinstance(column.dtype, pandas.CategoricalDtype):
        if isinstance(column.cat.categories.dtype, (pandas.PeriodDtype, pandas.IntervalDtype)):
            return _decoded(column.array)
        categories = _plain_categories(column.cat.categories, column, place)
        return None if categories is None else column.cat.rename_categories(categories).array
    return None if column.dtype != object else _plain_objects(column.tolist(), place)


def _decoded(values: Any) -> Any:
    """Return categories of periods or intervals as these: in a dictionary, Arrow has only their numbers."""
    return values.categories.array.take(values.codes, allow_fill=True)


def _plain_objects(values: list[Any], place: str, counted: str = "row") -> Any:
    """Return a pandas array with the values as Arrow should see them; None if they stay."""
    import numpy
    import pandas

    found = ValueKinds(place, of_frame=True, counted=counted).see(values)
    if found is values or not isinstance(found, list):
        return None if found is values else found
    array = numpy.empty(len(found), object)
    for at, value in enumerate(found):  # one by one: numpy would make a matrix of lists of one length
        array[at] = value
    return pandas.arrays.NumpyExtensionArray(array)


def _plain_categories(categories: Any, values: Any, place: str) -> Any:
    """Return new categories as an index; an error names the rows of `values`, which hold them."""
    import pandas

    if categories.dtype != object:
        return None
    try:
        found = _plain_objects(categories.tolist(), place, "category")
    except InvalidInput:
        # This error names a row, the one above a category, which nobody counts.
        _plain_objects(list(values), place)
        raise
    if found is None:
        return None
    return pandas.Index(found, dtype=object if found.dtype == object else None, name=categories.name)


def _plain_index(index: Any, place: str) -> Any:
    import pandas

    if isinstance(index, pandas.MultiIndex):
        used = index.remove_unused_levels()
        found = {
            level: values
            for level, each in enumerate(used.levels)
            if (values := _plain_level(used, level, each, place)) is not None
        }
        return used.set_levels(list(found.values()), level=list(found)) if found else None
    if isinstance(index, pandas.CategoricalIndex):
        if isinstance(index.categories.dtype, (pandas.PeriodDtype, pandas.IntervalDtype)):
            return pandas.Index(_decoded(index.array), name=index.name)
        categories = _plain_categories(index.categories, index, place)
        return None if categories is None else index.rename_categories(categories)
    return _plain_categories(index, index, place)


def _plain_level(index: Any, level: int, values: Any, place: str) -> Any:
    """Return new values of a level; None if they stay.

    Beside missing ones, pandas makes floats of integers, so large ones get a nullable dtype.
    """
    lacks_some = values.dtype in ("int64", "uint64") and len(values) and -1 in index.codes[level]
    if lacks_some and max(int(values.max()), -int(values.min())) > _EXACT:
        return values.astype("Int64" if values.dtype == "int64" else "UInt64")
    return _plain_categories(values, index.get_level_values(level), place)


def _bad_column(frame: pandas.DataFrame, error: Exception) -> InvalidInput:
    """Find the column that Arrow rejects, and return the error that says what is in it."""
    for position, label in enumerate(frame.columns):
        column = frame.iloc[:, position]
        try:
            pa.Array.from_pandas(column)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as reason:
            if column.dtype.kind == "c":
                return InvalidInput(f"column {quoted(label)} holds complex numbers, which Parquet has no type for")
            return InvalidInput(f"column {quoted(label)} ({column.dtype}): {reason}", column=str(label))
    return InvalidInput(str(error))


def table_from_arrow(table: pa.Table) -> pa.Table:
    """Return an Arrow table with its description in normal form; duplicate names get a number and keep their labels."""
    names = table.column_names
    if len(set(names)) == len(names):
        return normal_schema(table)
    stored = table.rename_columns(_stored_names(names)).replace_schema_metadata(_others(table))
    return _described(stored, _description(stored.column_names, names, {}))


def normal_schema(table: pa.Table) -> pa.Table:
    """Return the table with a description of its frame that depends only on types and labels, or none."""
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
    """Return an Arrow table described as a frame whose columns have these dtypes, where their types imply others."""
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
