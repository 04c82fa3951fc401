"""From Arrow to pandas: frames that are fresh, may be written to, and are as they were when they were stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import InvalidInput
from datapkg.format.manifest import TableNode
from datapkg.format.names import shown
from datapkg.reading import parquet
from datapkg.reading.filtering import Filters
from datapkg.reading.parquet import index_columns
from datapkg.reading.source import Source

_BAD_METADATA = (
    *(ArithmeticError, AttributeError, LookupError, NotImplementedError, SyntaxError, TypeError, ValueError),
    pa.ArrowException,
)

# Of a long table each column keeps the memory that it was read into; of a short one pandas lays columns of a type
# together, as it likes them best. It warns of frames in a hundred pieces.
_LONG, _MANY_COLUMNS = 65_536, 90


def read(
    source: Source, table: TableNode, columns: Sequence[str] | None = None, filters: Filters = None
) -> pd.DataFrame:
    """A table as a DataFrame, with the index it had; see `parquet.read`."""
    return to_pandas(parquet.read(source, table, columns, filters, index=True))


def read_column(source: Source, table: TableNode, name: str) -> pd.Series | pd.DataFrame:
    """One column as a Series, the index being read too; a DataFrame where more than one has the name."""
    frame = read(source, table, [name])
    if frame.shape[1] == 0:  # it is the index
        frame = to_pandas(parquet.read(source, table, [name]).replace_schema_metadata(None))
    return frame.iloc[:, 0] if frame.shape[1] == 1 else frame


def concatenate(source: Source, tables: list[TableNode]) -> pd.DataFrame | None:
    """Tables one below the other, as one DataFrame; None for no table.

    Columns are matched by name, and numbers of several types become the wider one. Raises `InvalidInput` where names
    differ, or types that have nothing in common.
    """
    for table in tables[1:]:
        names = [{name for name, _ in each.columns} for each in (tables[0], table)]
        if names[0] != names[1]:
            raise _not_joined(source, tables[0], table, f"only one of them has {_listed(names[0] ^ names[1])}")
    parts = [parquet.read(source, table) for table in tables]
    if not parts:
        return None
    if all(part.schema.equals(parts[0].schema) for part in parts):
        return to_pandas(pa.concat_tables([each.replace_schema_metadata(parts[0].schema.metadata) for each in parts]))
    bare = [part.replace_schema_metadata(None) for part in parts]
    for table, part in zip(tables[1:], bare[1:], strict=True):
        try:
            pa.unify_schemas([bare[0].schema, part.schema], promote_options="permissive")
        except (pa.ArrowException, TypeError) as error:
            raise _not_joined(source, tables[0], table, str(error)) from error
    try:
        return to_pandas(pa.concat_tables(bare, promote_options="permissive"))
    except pa.ArrowException as error:
        raise _not_joined(source, tables[0], tables[-1], str(error)) from error


def _not_joined(source: Source, one: TableNode, other: TableNode, why: str) -> InvalidInput:
    return InvalidInput(
        f"{source.ref.package}: {one.path!r} and {other.path!r} cannot be put one below the other: {why}"
    )


def _listed(names: set[str]) -> str:
    return ", ".join(map(shown, sorted(names)[:20]))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A DataFrame that shares no memory with anything; takes the Arrow table apart on the way."""
    if table.schema.metadata and not _metadata_fit(table.schema):
        table = table.replace_schema_metadata(None)
    whole = _nested_integers(table)
    apart = len(table) >= _LONG and table.num_columns <= _MANY_COLUMNS
    memory = _memory(table) if apart else {}
    frame: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=apart)
    for at, column in whole.items():
        frame.isetitem(at, column.array)
    for at, kind in enumerate(frame.dtypes):
        # What lies in Arrow's memory may not be written to.
        if isinstance(kind, pd.CategoricalDtype) or (apart and isinstance(kind, pd.DatetimeTZDtype)):
            frame.isetitem(at, frame.iloc[:, at].array.copy())
        elif memory and isinstance(kind, np.dtype):
            own = memory.get(frame.iloc[:, at].to_numpy().ctypes.data)
            if own is not None:
                values: Any = own.view(kind)
                frame.isetitem(at, pd.Series(values, index=frame.index, copy=False))  # type: ignore[arg-type]
    return frame


def _memory(table: pa.Table) -> dict[int, Any]:
    """The values of the columns that pandas takes as they lie in memory, by their address.

    The arrays that pandas makes of them may not be written to; these may, and nobody else has them.
    """
    found = {}
    for column in table.columns:
        kind = column.type
        if column.num_chunks == 1 and not column.null_count and types.is_primitive(kind) and not types.is_boolean(kind):
            chunk, width = column.chunk(0), kind.bit_width // 8
            values = np.frombuffer(chunk.buffers()[1], f"V{width}", len(chunk), chunk.offset * width)
            found[values.ctypes.data] = values if values.flags.writeable else values.copy()
    return found


def _nested_integers(table: pa.Table) -> dict[int, pd.Series]:
    """Columns in which integers stand beside nulls below the surface, by their place in the frame.

    Arrow would make floats of these, and of those beyond 2^53 others.
    """
    index = index_columns(table.schema)
    shown = [at for at, name in enumerate(table.schema.names) if name not in index]
    return {
        place: table.column(at).to_pandas(integer_object_nulls=True)
        for place, at in enumerate(shown)
        if types.is_nested(table.schema.types[at]) and any(_has_null_integers(each) for each in table.column(at).chunks)
    }


def _has_null_integers(array: pa.Array, is_inner: bool = False) -> bool:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _has_null_integers(array.storage, is_inner)
    if types.is_struct(kind):
        return any(_has_null_integers(array.field(at), True) for at in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_map(kind):
        return any(_has_null_integers(each, True) for each in _children(array))
    return is_inner and types.is_integer(kind) and array.null_count > 0


def _children(array: pa.Array) -> list[pa.Array]:
    return [array.keys, array.items] if types.is_map(array.type) else [array.values]


def _metadata_fit(schema: pa.Schema) -> bool:
    """Whether pandas can make sense of its own metadata, which other writers get wrong."""
    try:
        schema.empty_table().to_pandas()
    except _BAD_METADATA:
        return False
    return True
