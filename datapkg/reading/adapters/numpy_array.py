"""A table as a numpy array: two-dimensional if all columns are numbers, else one record a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.errors import InvalidInput, WrongType
from datapkg.format.texts import quoted
from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.exact_integers import is_rounded

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def convert(table: TableLike, columns: Sequence[str] | None = None, filters: Any = None) -> np.ndarray[Any, Any]:
    """Return rows by columns in the one type that holds all numbers; else an array of records with named fields.

    A pandas index is not a column here, unless it is asked for. A null is NaN among numbers and NaT among times; in
    other columns, and beside integers that floats would round, it is None.
    """
    found = _read(table, columns, filters)
    if all(map(is_number, found.schema.types)) and found.num_columns:
        return _matrix(table, found)
    names = found.column_names
    fields = [_field(table, name, column) for name, column in zip(names, found.columns, strict=True)]
    if len(set(names)) < len(names):
        raise InvalidInput(
            f"{table.__stored__.place}: records need names that differ, and columns are called {quoted(names)}"
        )
    records = np.empty(len(found), [(name, field.dtype) for name, field in zip(names, fields, strict=True)])
    for name, field in zip(names, fields, strict=True):
        records[name] = field
    return records


def matrix(table: TableLike, dtype: Any, copy: bool | None) -> np.ndarray[Any, Any]:
    """Return what `np.asarray(node)` gives: rows by columns; raise `WrongType` if a column is not of numbers."""
    if copy is False:
        raise InvalidInput(
            f"{table.__stored__.place}: the array of a table is always a copy: copy=False is not possible"
        )
    kind = arrow_reader.schema(table.__stored__)
    index = arrow_reader.index_columns(kind)
    names = [field.name for field in kind if not is_number(field.type) and field.name not in index]
    if names:
        columns = ", ".join(map(quoted, names[:20]))
        raise WrongType(
            f"{table.__stored__.place} is not an array of numbers: its columns {columns} are of other types; choose "
            f"columns with node[[…]], load it with node(), or take records with node.numpy()",
            columns=names,
        )
    return _matrix(table, _read(table, None, None), dtype)


def values(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return the numbers of a column, which may be written to; integers with nulls become floats with NaN."""
    found: np.ndarray[Any, Any] = column.to_numpy()
    if found.dtype == object:  # booleans with nulls
        found = found.astype(float)
    return found if found.flags.writeable else found.copy()


def is_number(kind: pa.DataType) -> bool:
    """Return whether a type is integer, float or boolean."""
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _read(table: TableLike, columns: Sequence[str] | None, filters: Any) -> pa.Table:
    return table.arrow(_columns(table) if columns is None else columns, filters)


def _columns(table: TableLike) -> list[str]:
    kind = arrow_reader.schema(table.__stored__)
    index = arrow_reader.index_columns(kind)
    return list(dict.fromkeys(name for name in kind.names if name not in index))


def _matrix(table: TableLike, read: pa.Table, dtype: Any = None) -> np.ndarray[Any, Any]:
    """Return rows by columns in a dtype, or in numpy's common one; raise `WrongType` if that one rounds integers."""
    columns = [values(column) for column in read.columns]
    kind = np.dtype(dtype) if dtype is not None else np.result_type(*columns) if columns else np.dtype(float)
    if dtype is None and kind.kind == "f":
        for name, column in zip(read.column_names, read.columns, strict=True):
            check_exact(table, name, column)
    found = np.empty((len(read), len(columns)), kind)
    for at, column in enumerate(columns):
        found[:, at] = column
    return found


def check_exact(table: TableLike, name: str, column: pa.ChunkedArray) -> None:
    """Raise `WrongType` for a column with integers that floats would round."""
    if _is_rounded(column):
        what = f"column {quoted(name)} holds integers above 2^53, which an array of floats rounds"
        raise WrongType(f"{table.__stored__.place}: {what}; choose columns with node[[…]], or load it with node()")


def _is_rounded(column: pa.ChunkedArray) -> bool:
    if not (types.is_int64(column.type) or types.is_uint64(column.type)):
        return False
    return is_rounded(*pc.min_max(column).as_py().values())


def _field(table: TableLike, name: str, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if types.is_dictionary(column.type):  # pyarrow makes the last category of a null
        column = column.cast(column.type.value_type)
    if column.null_count and _is_rounded(column):
        return np.array(column.to_pylist(), object)
    try:
        if types.is_nested(column.type):
            # Integers beside nulls stay integers, as in a DataFrame.
            found: np.ndarray[Any, Any] = column.to_pandas(integer_object_nulls=True).to_numpy()
            return found
        return values(column) if is_number(column.type) else column.to_numpy()
    except pa.ArrowException as error:
        what = f"numpy cannot hold the values of column {quoted(name)}, so choose other columns"
        raise WrongType(f"{table.__stored__.place}: {what}: {error}") from error
