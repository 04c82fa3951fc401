"""Convert Arrow to pandas: frames that may be written to, with the index and dtypes that they were stored with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import InvalidInput, exhausted
from datapkg.format.texts import quoted
from datapkg.reading.tables import arrow_reader, statistics
from datapkg.reading.tables.arrow_reader import index_columns
from datapkg.reading.tables.exact_integers import exact_dtype, integers_beside_nulls, is_rounded
from datapkg.reading.tables.row_filters import Filters
from datapkg.reading.tables.row_selection import Picks
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.reading.tables.zoned_categories import restore_zones
from datapkg.tables.nested_types import convertible, without_empty_chunks
from datapkg.tables.pandas_metadata import ORIGIN_KEY, pandas_metadata

_BAD_METADATA = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, RecursionError, SyntaxError),
    *(TypeError, ValueError, pa.ArrowException),
)

# Each column of a long table keeps the memory that it was read into; in a short one, pandas consolidates columns of one
# type, which is faster to use. pandas warns of frames in a hundred pieces.
_LONG, _MANY_COLUMNS = 65_536, 90

# The dtypes that pandas gives booleans and integers with nulls, by the kinds of their dtypes.
_DTYPES_WITH_NULLS: dict[str, Any] = {"b": object, "i": "float64", "u": "float64"}
_EXACT_DTYPES: dict[str, Any] = {"i": "Int64", "u": "UInt64"}  # if floats would round the integers

_BACKENDS = (None, "pyarrow", "numpy_nullable")


@dataclass(frozen=True)
class Form:
    """How a frame is made: `frozen` ones may share memory and are read-only; `dtype_backend` is that of pandas."""

    frozen: bool = False
    dtype_backend: str | None = None

    def __post_init__(self) -> None:
        if self.dtype_backend not in _BACKENDS:
            raise InvalidInput(
                f"dtype_backend is None, 'pyarrow' or 'numpy_nullable', got {quoted(self.dtype_backend)}"
            )

    @property
    def own(self) -> bool:
        """Whether the frame may not share memory with a cached copy: it could be written to, or outlive the copy."""
        return not self.frozen and self.dtype_backend != "pyarrow"


_FRESH = Form()


def read(
    table: StoredTable,
    columns: Sequence[str] | None = None,
    filters: Filters = None,
    *,
    rows: slice | None = None,
    form: Form | None = None,
) -> pd.DataFrame:
    """Return a table as a DataFrame with its index: all of it, or some columns, and of the rows those that pass."""
    form = form or Form()
    question = arrow_reader.ask(table, columns, filters, index=True, long_text=form.dtype_backend is None, own=form.own)
    found = arrow_reader.sliced(question, rows)
    places = None if rows is None else range(table.node.rows)[rows]
    return numbered(question, found, range(len(found)) if question.condition is not None else places, form)


def read_column(table: StoredTable, name: str) -> pd.Series | pd.DataFrame:
    """Return one column as a Series with the index; a DataFrame if more than one column has the name."""
    frame = read(table, [name])
    if frame.shape[1] == 0:  # it is the index
        question = arrow_reader.ask(table, [name], long_text=True, own=True)
        frame = numbered(question, arrow_reader.read(question).replace_schema_metadata(None), None)
    return frame.iloc[:, 0] if frame.shape[1] == 1 else frame


def read_rows(table: StoredTable, picks: Picks) -> pd.DataFrame:
    """Return the rows at these positions, which are ascending, with all columns."""
    question = arrow_reader.ask(table, index=True, long_text=True, own=True)
    return numbered(question, arrow_reader.read(question, picks), picks)


def frames_of(question: arrow_reader.Question, batches: Iterator[pa.RecordBatch]) -> Iterator[pd.DataFrame]:
    """Yield a frame for each batch, its rows labelled as those of one frame."""
    start = 0
    for batch in batches:
        yield numbered(question, pa.Table.from_batches([batch]), range(start, start + len(batch)))
        start += len(batch)


def numbered(
    question: arrow_reader.Question, found: pa.Table, places: Picks | None, form: Form | None = None
) -> pd.DataFrame:
    """Return the frame of what was read, with its origin in `attrs`; the Arrow table is consumed.

    Its rows have their labels in the whole frame, where `places` are their positions (None: all rows). Rows that passed
    a condition are numbered from 0.
    """
    start, step, name = _range(question.schema) if question.condition is None else (0, 1, None)
    form = form or Form()
    schema = found.schema  # `to_pandas` consumes the table
    frame = to_pandas(found, form)
    if not len(frame) and question.table.node.rows and form.dtype_backend is None:
        frame = _with_dtypes_of_nulls(question, schema, frame)
    if places is not None and not index_columns(question.schema):
        if isinstance(places, range):  # a long range is not expanded
            first, last = start + step * places.start, start + step * places.stop
            frame.index = pd.RangeIndex(first, last, step * places.step, name=name)
        else:
            frame.index = pd.Index(start + step * np.asarray(places, "int64"), name=name)
    source = question.table.source
    frame.attrs[ORIGIN_KEY] = {"package": source.ref.package, "hash": source.hash, "path": question.table.node.path}
    return frame


def _with_dtypes_of_nulls(question: arrow_reader.Question, schema: pa.Schema, empty: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without rows in the dtypes of the whole one: nulls turn integers into floats, for example."""
    index = index_columns(schema)
    shown = [name for name in schema.names if name not in index]
    plain = {name for name, kind in zip(shown, empty.dtypes, strict=True) if _changes_with_nulls(kind)}
    plain |= {name for name in index if len(index) == 1 and _changes_with_nulls(empty.index.dtype)}
    found = statistics.column_statistics(question.table, sorted(plain)) if plain else {}
    with_nulls = {name for name, each in found.items() if each.nulls}
    for at, name in enumerate(shown):
        if name in with_nulls and _changes_with_nulls(empty.dtypes.iloc[at]):
            kind = empty.dtypes.iloc[at]
            if is_rounded(found[name].least, found[name].greatest):
                empty.isetitem(at, pd.Series([], dtype=_EXACT_DTYPES[kind.kind]).array)
            else:
                empty.isetitem(at, np.empty(0, _DTYPES_WITH_NULLS[kind.kind]))
    for name in with_nulls & set(index):
        rounded = is_rounded(found[name].least, found[name].greatest)
        kinds = _EXACT_DTYPES if rounded else _DTYPES_WITH_NULLS
        empty.index = empty.index.astype(kinds[empty.index.dtype.kind])
    return empty


def _changes_with_nulls(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and kind.kind in _DTYPES_WITH_NULLS


def _range(schema: pa.Schema) -> tuple[int, int, Any]:
    """Return start, step and name of the range that is a frame's index."""
    described = pandas_metadata(schema).get("index_columns")
    first = described[0] if isinstance(described, list) and described else None
    if isinstance(first, dict) and first.get("kind") == "range":
        start, step = first.get("start"), first.get("step")
        if isinstance(start, int) and isinstance(step, int) and step:
            return start, step, first.get("name")
    return 0, 1, None


def concatenate(tables: list[StoredTable]) -> pd.DataFrame | None:
    """Return tables concatenated, as one DataFrame; None for no tables.

    Columns are matched by name, and numbers of several types become the wider one. Raise `InvalidInput` if names
    differ, or types that have nothing in common.
    """
    for table in tables[1:]:
        names = [{name for name, _ in each.node.columns} for each in (tables[0], table)]
        if names[0] != names[1]:
            raise _not_joined(tables[0], table, f"only one of them has {_listed(names[0] ^ names[1])}")
    parts = [arrow_reader.read(arrow_reader.ask(table)) for table in tables]
    if not parts:
        return None
    if all(part.schema.equals(parts[0].schema) for part in parts):
        return to_pandas(pa.concat_tables([each.replace_schema_metadata(parts[0].schema.metadata) for each in parts]))
    bare = [part.replace_schema_metadata(None) for part in parts]
    for table, part in zip(tables[1:], bare[1:], strict=True):
        try:
            pa.unify_schemas([bare[0].schema, part.schema], promote_options="permissive")
        except (pa.ArrowException, TypeError) as error:
            raise _not_joined(tables[0], table, str(error)) from error
    _check_kinds(tables, bare)
    try:
        return to_pandas(pa.concat_tables(bare, promote_options="permissive"))
    except pa.ArrowException as error:
        raise exhausted(error) or _not_joined(tables[0], tables[-1], str(error)) from error


def _check_kinds(tables: list[StoredTable], parts: list[pa.Table]) -> None:
    """Raise `InvalidInput` for kinds that Arrow joins with other values: text becomes bytes, decimals become floats."""
    # The first of columns that share a name.
    types_by_name = [{field.name: field.type for field in reversed(list(part.schema))} for part in parts]
    for name in dict.fromkeys(parts[0].column_names):
        kinds = [each[name] for each in types_by_name]
        for is_one, is_other, what in _APART:
            ones = [table for table, kind in zip(tables, kinds, strict=True) if is_one(kind)]
            others = [table for table, kind in zip(tables, kinds, strict=True) if is_other(kind)]
            if ones and others:
                raise _not_joined(ones[0], others[0], f"column {quoted(name)} holds {what}")


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


_APART = ((_is_text, _is_bytes, "text and bytes"), (types.is_decimal, types.is_floating, "decimals and floats"))


def _not_joined(one: StoredTable, other: StoredTable, why: str) -> InvalidInput:
    return InvalidInput(
        f"{one.source.ref.package}: {one.node.path!r} and {other.node.path!r} cannot be concatenated: {why}"
    )


def _listed(names: set[str]) -> str:
    return ", ".join(map(quoted, sorted(names)[:20]))


def to_pandas(table: pa.Table, form: Form = _FRESH) -> pd.DataFrame:
    """Return a DataFrame that shares no memory, unless `form` allows it; the Arrow table is consumed.

    Raise `InvalidInput` for values that pandas cannot hold, such as times of day with nanoseconds.
    """
    try:
        return _frame(table, form)
    except InvalidInput:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:
        message = f"pandas cannot hold these values in its own types: {error}"
        hint = 'node(dtype_backend="pyarrow"), or node.arrow()'
        raise exhausted(error, "making a DataFrame") or InvalidInput(message, hint=hint) from error


def _frame(table: pa.Table, form: Form) -> pd.DataFrame:
    if table.schema.metadata and not _metadata_fit(table.schema):
        table = table.replace_schema_metadata(None)
    if form.dtype_backend is not None:
        backed: pd.DataFrame = table.to_pandas(types_mapper=_types_mapper(form.dtype_backend))
        return backed
    table = without_empty_chunks(convertible(table))
    schema, whole, levels = table.schema, integers_beside_nulls(table), _extension_levels(table)
    if form.frozen:
        frame = _with_levels(_with_whole(table.to_pandas(split_blocks=True), whole), levels)
        return _read_only(restore_zones(frame, schema))
    apart = len(table) >= _LONG and table.num_columns <= _MANY_COLUMNS
    memory = _memory(table) if apart else {}
    frame = _with_whole(table.to_pandas(self_destruct=True, split_blocks=apart), whole)
    frame = restore_zones(_with_levels(frame, levels), schema)
    for at, kind in enumerate(frame.dtypes):
        # Arrow's memory is read-only.
        if isinstance(kind, pd.CategoricalDtype) or (apart and isinstance(kind, pd.DatetimeTZDtype)):
            frame.isetitem(at, frame.iloc[:, at].array.copy())
        elif memory and isinstance(kind, np.dtype):
            own = memory.get(frame.iloc[:, at].to_numpy().ctypes.data)
            if own is not None:
                values: Any = own.view(kind)
                frame.isetitem(at, pd.Series(values, index=frame.index, copy=False))  # type: ignore[arg-type]
    return frame


def _with_whole(frame: pd.DataFrame, whole: dict[int, Any]) -> pd.DataFrame:
    for at, column in whole.items():
        # A dtype of the metadata, such as `int64[pyarrow]`, holds nulls by itself.
        if isinstance(frame.dtypes.iloc[at], np.dtype):
            frame.isetitem(at, column)
    return frame


def _extension_levels(table: pa.Table) -> dict[str, Any]:
    """Return the index levels that have a dtype of pandas' own, such as `Int64`, by stored name.

    pyarrow gives these dtypes only to columns: in the index it makes floats of integers beside nulls, and rounds large
    ones, of numpy's dtypes too. Metadata that do not fit the table give {}.
    """
    names = index_columns(table.schema)
    if not names:
        return {}
    try:
        described = pandas_metadata(table.schema)["columns"]
        dtypes = {each["field_name"]: str(each["numpy_type"]) for each in described}
        kinds = {name: _extension_dtype(dtypes.get(name, "")) or exact_dtype(table.column(name)) for name in names}
        found = {name: kind and kind.__from_arrow__(table.column(name)) for name, kind in kinds.items()}
    except _BAD_METADATA:
        return {}
    return found if any(level is not None for level in found.values()) else {}


def _extension_dtype(name: str) -> Any:
    """Return the extension dtype of a name, for integers, floats, booleans, text and types of Arrow; else None."""
    if not name.startswith(("Int", "UInt", "Float", "boolean", "string")) and not name.endswith("[pyarrow]"):
        return None
    try:
        return pd.api.types.pandas_dtype(name)
    except (TypeError, NotImplementedError):  # unknown to this version of pandas
        return None


def _with_levels(frame: pd.DataFrame, levels: dict[str, Any]) -> pd.DataFrame:
    """Return the frame with the levels of `_extension_levels` instead of those that pyarrow made; None keeps one."""
    if len(levels) != frame.index.nlevels:
        return frame
    names = frame.index.names
    arrays = [
        frame.index.get_level_values(at) if level is None else pd.Index(level)
        for at, level in enumerate(levels.values())
    ]
    one = arrays[0].rename(names[0])
    frame.index = one if len(arrays) == 1 else pd.MultiIndex.from_arrays(arrays, names=names)
    return frame


def _read_only(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with numpy columns that refuse to be written to, whether or not their memory is shared."""
    for at, kind in enumerate(frame.dtypes):
        if isinstance(kind, np.dtype):
            values = frame.iloc[:, at].to_numpy()
            values.flags.writeable = False
            frame.isetitem(at, pd.Series(values, index=frame.index, copy=False))  # type: ignore[arg-type]
    return frame


def _types_mapper(dtype_backend: str) -> Any:
    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    numbers = {
        getattr(pa, f"{sign}int{bits}")(): getattr(pd, f"{kind}Int{bits}Dtype")()
        for sign, kind in (("", ""), ("u", "U"))
        for bits in (8, 16, 32, 64)
    }
    text = {kind: pd.StringDtype() for kind in (pa.string(), pa.large_string(), pa.string_view())}
    others = {pa.bool_(): pd.BooleanDtype(), pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype()}
    return {**numbers, **text, **others}.get


def _memory(table: pa.Table) -> dict[int, Any]:
    """Return the values of the columns that pandas uses in place, by their address.

    The arrays that pandas makes of them are read-only; these may be written to, and nobody else has them.
    """
    found = {}
    for column in table.columns:
        kind = column.type
        if column.num_chunks == 1 and not column.null_count and types.is_primitive(kind) and not types.is_boolean(kind):
            chunk, width = column.chunk(0), kind.bit_width // 8
            values = np.frombuffer(chunk.buffers()[1], f"V{width}", len(chunk), chunk.offset * width)
            found[values.ctypes.data] = values if values.flags.writeable else values.copy()
    return found


def _metadata_fit(schema: pa.Schema) -> bool:
    """Return whether pandas can use its own metadata, which other writers get wrong."""
    try:
        schema.empty_table().to_pandas()
    except _BAD_METADATA:
        return False
    return True
