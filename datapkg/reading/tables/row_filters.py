"""Check what is asked of a table's columns and rows: names that exist, and conditions that fit the types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.format.suggestions import advice
from datapkg.format.texts import quoted
from datapkg.reading.tables import number_filters
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.value_kinds import ValueKinds

Filters: TypeAlias = Any
"""A list of (column, operator, value), which all hold; a list of such lists, one of which holds; or an Expression."""

Term: TypeAlias = tuple[str, str, Any]

_IN = ("in", "not in")
_FLOATS = ("half", "float", "double")
_EXACT = 2**53  # beside floats, pyarrow refuses integers beyond it
_EXAMPLES = ("2024-01-01", "1", "12:00:00")


def known(table: StoredTable, columns: Sequence[str]) -> list[str]:
    """Return the names of columns, each once; raise `NodeNotFound` for one that the table does not have."""
    if isinstance(columns, str):
        raise InvalidInput(f"columns is a list of names; for one column write [{quoted(columns)}]")
    if not isinstance(columns, Iterable):
        raise InvalidInput(f"columns is a list of names, got {quoted(columns)}")
    names = {name for name, _ in table.node.columns}
    for name in columns:
        if name not in names:
            raise no_column(table, name)
    return list(dict.fromkeys(columns))


def no_column(table: StoredTable, name: object) -> NodeNotFound:
    """Return the error for a column that a table does not have; it names close ones."""
    near = advice(str(name), [each for each, _ in table.node.columns])
    return NodeNotFound(f"{table.place} has no column {quoted(name)}{near}")


def plain(table: StoredTable, filters: Filters) -> Filters:
    """Return filters whose lists have values of one type: some mixtures crash the process in pyarrow.

    Raise `InvalidInput` for a list with values of several kinds. What is not a list of conditions is returned
    unchanged.
    """
    if not isinstance(filters, list):
        return filters
    return [plain(table, each) if isinstance(each, list) else _plain_term(table, each) for each in filters]


def _plain_term(table: StoredTable, term: Any) -> Any:
    if not isinstance(term, tuple) or len(term) != 3 or not isinstance(term[0], str):
        return term
    name, operator, values = term
    kind = dict(table.node.columns).get(name, "")
    if operator not in _IN:
        return number_filters.exact(term, kind)
    is_array = isinstance(values, np.ndarray) and values.dtype.kind in "Of"
    if not is_array and not isinstance(values, list | tuple | set | frozenset):
        return term
    exact = number_filters.exact((name, operator, list(values)), kind)[2]
    if isinstance(exact, pa.Array):
        return name, operator, exact
    place = f"{table.place}: the filter of column {quoted(name)}"
    found = ValueKinds(place, of_frame=True, counted="value").see(exact)
    return name, operator, _with_both_zeros(found) if kind in _FLOATS and isinstance(found, list) else found


def _with_both_zeros(values: list[Any]) -> list[Any]:
    """Return numbers with 0.0 and -0.0 if they have one of them: these are equal, but two values for Arrow's `isin`."""
    numbers = [each for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    if 0 not in numbers or any(isinstance(each, int) and abs(each) > _EXACT for each in numbers):
        return values
    return [*values, 0.0, -0.0]


def condition(table: StoredTable, filters: Filters) -> pc.Expression | None:
    """Return filters as an expression of pyarrow; raise `NodeNotFound`, `InvalidInput`."""
    if filters is None or isinstance(filters, pc.Expression):
        return filters
    try:
        if not filters:
            return None
        terms = [(name, operator, value) for name, operator, value in _flat(filters)]
        known(table, [name for name, _, _ in terms])
        for term in terms:
            _check_value(table, term)
        return pq.filters_to_expression(filters)
    except OverflowError as error:
        raise InvalidInput(
            f"{table.place}: the filters {quoted(filters)} have an integer of more than 64 bits"
        ) from error
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        is_one = isinstance(filters, tuple) and len(filters) == 3 and isinstance(filters[0], str)
        hint = f"filters=[{filters!r:.200}]" if is_one else 'filters=[("column", ">", 1)]'
        message = f"filters is a list of (column, operator, value), got {quoted(filters)}; write: {hint}"
        raise InvalidInput(message, hint=hint) from error


def _flat(filters: Any) -> Iterator[Any]:
    for each in filters:
        if isinstance(each, list):
            yield from each
        else:
            yield each


def _check_value(table: StoredTable, term: Term) -> None:
    """Raise `InvalidInput` for a value that no column can be compared with."""
    name, operator, value = term
    place = f"{table.place}: the filter {_written(term)}"
    if operator in _IN and (isinstance(value, str | bytes) or not isinstance(value, Iterable)):
        line = f"filters=[{_written((name, operator, [value]))}]"
        raise InvalidInput(f"{place} needs a list of values; write: {line}", hint=line)
    if value is None:
        line = f"filters=pyarrow.compute.field({name!r}).{'is_valid' if operator == '!=' else 'is_null'}()"
        raise InvalidInput(f"{place} matches no row, since nothing is equal to None; write: {line}", hint=line)


def check_types(table: StoredTable, filters: Filters, schema: pa.Schema) -> None:
    """Raise `InvalidInput` for a value that does not fit the type of its column; expressions pass."""
    if filters is None or isinstance(filters, pc.Expression):
        return
    for term in _flat(filters):
        name, type = term[0], schema.field(schema.names.index(term[0])).type
        try:
            row = pa.table({name: pa.nulls(1, type)})
        except pa.ArrowException:  # Arrow has no null of this type
            continue
        try:
            row.filter(pq.filters_to_expression([term]))
        except pa.ArrowException as error:
            raise _wrong_type(table, term, type) from error


def _wrong_type(table: StoredTable, term: Term, type: pa.DataType) -> InvalidInput:
    name, operator, value = term
    values = value if operator in _IN else [value]
    place = f"{table.place}: column {quoted(name)} is of type {dict(table.node.columns)[name]}"
    if pa.types.is_nested(type):
        return InvalidInput(f"{place}, which filters cannot test; load the table, then select its rows")
    kinds = ", ".join(dict.fromkeys(each.__class__.__name__ for each in values))
    fitting = [_cast(each, type) for each in values]
    some = fitting if None not in fitting else [each for each in (_cast(one, type) for one in _EXAMPLES) if each][:1]
    new = f"[{', '.join(map(str, some))}]" if operator in _IN else "".join(map(str, some))
    line = f"filters=[({name!r}, {operator!r}, {new})]" if some else ""
    message = f"{place}, and the filter compares it with {value!r:.80} ({kinds})"
    return InvalidInput(f"{message}; write: {line}" if line else message, hint=line)


def _cast(value: object, type: pa.DataType) -> str | None:
    """Return the literal of a value in a type, if it means the same, or None."""
    import pandas as pd

    try:
        if not pa.types.is_timestamp(type):
            found = pa.array([str(value)]).cast(type)[0].as_py()
            return None if isinstance(value, int) and isinstance(found, float) and found != value else repr(found)
        if not isinstance(value, str | date):
            return None
        moment = pd.Timestamp(value)
        return f"pandas.{moment.tz_convert(type.tz) if moment.tz else moment.tz_localize(type.tz)!r}"
    except (pa.ArrowException, ValueError):
        return None


def _written(term: Term) -> str:
    return f"({', '.join(f'{each!r:.80}' for each in term)})"


def columns_of(condition: pc.Expression, schema: pa.Schema) -> list[str]:
    """Return the names of the columns that an expression uses.

    pyarrow does not list them, but an expression that fails without a column needs it. One that counts columns needs
    all.
    """
    text = str(condition)
    if "FieldPath(" in text:
        return list(schema.names)
    empty = schema.remove_metadata().empty_table()
    # Other names than identifiers may be written in another way there.
    maybe = (name for name in dict.fromkeys(schema.names) if name in text or not name.isidentifier())
    return [name for name in maybe if not _holds_without(name, condition, empty)]


def _holds_without(name: str, condition: pc.Expression, empty: pa.Table) -> bool:
    kept = [at for at, each in enumerate(empty.column_names) if each != name]
    try:
        empty.select(kept).filter(condition)
    except (pa.ArrowException, KeyError):
        return False
    return True


def unfit(table: StoredTable, condition: pc.Expression, error: Exception) -> InvalidInput:
    """Return the error for a condition that does not fit the types of its columns."""
    text = str(condition)
    types = ", ".join(f"{quoted(name)} {type}" for name, type in table.node.columns if name in text)
    place = table.place
    return InvalidInput(f"{place}: the filters {quoted(condition)} do not fit its columns ({types}): {error}")
