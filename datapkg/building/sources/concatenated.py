"""Concatenate the tables of many files, in types that hold all of them, with partition values as columns.

Folders such as `year=2024` add a column `year` to their files, as Hive, Spark, pandas and DuckDB write them. A column's
type is widened only where every value is kept exactly; nothing is guessed, and two files with incompatible columns are
named in the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.building.readers.batches import described
from datapkg.building.readers.common_type import widened
from datapkg.building.spec.model import FileSource
from datapkg.errors import DatapkgError, InvalidInput, exhausted
from datapkg.format.texts import quoted
from datapkg.tables.extension_types import without_inner_extensions
from datapkg.tables.frame_to_arrow import table_from_arrow
from datapkg.tables.pandas_metadata import PANDAS_KEY
from datapkg.tables.table_stream import RestartRead, TablePart, TableStream

# Hive's folder name for rows without a value.
_NULL = "__HIVE_DEFAULT_PARTITION__"
# Limit for the tables of small files that are kept in memory from reading their types until their rows are needed.
_KEPT_BYTES = 256 << 20

Values = dict[str, str | None]
# Return the table or table stream of a file; it is read again at each call.
Reader = Callable[[FileSource], Any]


def partition_values(file: FileSource) -> Values:
    """Return the partition values in the folders of a file's path, outermost first: `year=2024/month=01/a.csv`."""
    pairs = (each.partition("=") for each in file.shown.split("/")[:-1])
    found = ((unquote(name), unquote(value)) for name, equals, value in pairs if name and equals)
    return {name: None if value == _NULL else value for name, value in found}


class Concatenated:
    """The `TableStream` of many files; of each file, one part is in memory at a time.

    `read` raises errors that name the file; `warn` receives the differences that were reconciled.
    """

    def __init__(self, files: Sequence[FileSource], read: Reader, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._files = [_ConcatenatedFile(each, partition_values(each), read) for each in files]
        _check_partitions(self._files)
        self._partitions = _partition_fields(self._files)
        room = _KEPT_BYTES
        for each in self._files:
            room -= each.open(room)
        self.schema: pa.Schema = self._joined()

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows in order; if one has another type, raise `RestartRead` once the types of all are known."""
        for number, each in enumerate(self._files):
            try:
                for table in each.tables():
                    yield TablePart(self._fitting(table, each), share=number / len(self._files))
            except RestartRead:
                # After one file restarted, the types of all later files are settled at once, so that there is only one
                # restart.
                for other in self._files[number + 1 :]:
                    other.settle()
                self.schema = self._joined()
                raise
        for line in self._notes():
            self._warn(line)

    def _joined(self) -> pa.Schema:
        """Return the columns of all files in order of first appearance, then those of the partitions."""
        fields: dict[str, tuple[pa.DataType, _ConcatenatedFile]] = {}
        for each in self._files:
            for field in each.schema:
                kind, first = fields.get(field.name, (pa.null(), each))
                try:
                    fields[field.name] = widened(kind, _values_type(field.type)), first
                except TypeError as error:
                    raise _unlike(first, each, field.name, str(error)) from error
        schema = pa.schema([(name, kind) for name, (kind, _) in fields.items()])
        for field in self._partitions:
            schema = schema.append(field) if field.name not in fields else schema
        return self._described(schema)

    def _described(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema with pandas metadata: the files' own if it is equal in all, else what nulls require."""
        first = self._files[0].schema
        is_one = all(each.schema.equals(first, check_metadata=True) for each in self._files)
        if is_one and first.metadata and not any(types.is_dictionary(kind) for kind in first.types):
            return schema.with_metadata(first.metadata)
        nulls = dict.fromkeys([*self._missing(), *self._nullable()], 1)
        return described(schema, nulls) if nulls else table_from_arrow(schema.empty_table()).schema

    def _nullable(self) -> list[str]:
        """Return columns that a file declares as nullable integers or booleans."""
        return [name for each in self._files for name in each.nullable]

    def _missing(self) -> dict[str, list[_ConcatenatedFile]]:
        """Return, by column, the files that lack a column that others have."""
        names = dict.fromkeys(name for each in self._files for name in each.schema.names)
        having = [(each, set(each.schema.names)) for each in self._files]
        found = {name: [each for each, has in having if name not in has] for name in names}
        return {name: files for name, files in found.items() if files and name not in self._files[0].values}

    def _notes(self) -> Iterator[str]:
        for name, files in self._missing().items():
            some = f"{len(files):,} of {len(self._files):,} files, the first is {files[0].shown}"
            yield f"column {quoted(name)} is missing in {some}; it is null there"
        having = [{field.name: field.type for field in each.schema} for each in self._files]
        for name, kind in zip(self.schema.names, self.schema.types, strict=True):
            found = {each[name] for each in having if name in each} - {pa.null()}
            if any(types.is_dictionary(each) for each in found):
                yield f"column {quoted(name)}: categories of several files are kept as values"
            elif len(found) > 1:
                yield f"column {quoted(name)} is {kind} here; in the files it is {', '.join(sorted(map(str, found)))}"

    def _fitting(self, table: pa.Table, file: _ConcatenatedFile) -> pa.Table:
        """Return rows of a file with the columns and types of the whole table."""
        columns = []
        names = set(table.column_names)
        for field in self.schema:
            if field.name in names:
                column = _as(table.column(field.name), field, file)
                if field.name in file.values:
                    _check_same(column, field.name, file)
            elif field.name in file.values:
                value = _value(file.values[field.name], field.type)
                column = pa.repeat(pa.scalar(value, field.type), len(table))
            else:
                column = pa.nulls(len(table), field.type)
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=self.schema)


class _ConcatenatedFile:
    """One of the files; the types of text files are known only after all of it was read."""

    def __init__(self, source: FileSource, values: Values, read: Reader) -> None:
        self._source, self.values, self._read = source, values, read
        self.shown = quoted(source.shown)
        self.schema = pa.schema([])
        self.nullable: list[str] = []
        self._stream: TableStream | None = None
        self._table: pa.Table | None = None

    def open(self, room: int) -> int:
        """Open the file to get its types as far as known; return the bytes of its table if that is kept in memory.

        A table of more than `room` bytes is read again when its rows are needed.
        """
        value = self._value()
        self._take(value.schema)
        if not isinstance(value, pa.Table):
            self._stream = value
        elif value.nbytes <= room:
            self._table = value
            return value.nbytes
        return 0

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows in the types of `schema`; raise `RestartRead` if reading changed the schema."""
        if self._stream is None:
            yield self._value() if self._table is None else self._table
            return
        try:
            for part in self._stream.parts():
                yield part.table
        except RestartRead:
            self._take(self._stream.schema)
            raise
        except DatapkgError as error:
            raise exhausted(error) or InvalidInput(f"{self.shown}: {error}", hint=error.hint) from error
        except Exception as error:
            raise exhausted(error) or InvalidInput(f"{self.shown}: {error}") from error

    def settle(self) -> None:
        """Read the whole file to determine its types."""
        try:
            for _ in self.tables() if self._stream is not None else ():
                pass
        except RestartRead:
            pass

    def _value(self) -> Any:
        value = self._read(self._source)
        if isinstance(value, pa.Table):
            return without_inner_extensions(value)
        if not isinstance(value, TableStream):
            what = "several tables; choose one with `sheet` or `table`" if isinstance(value, dict) else "no table"
            raise InvalidInput(f"{self.shown} gives {what}")
        return value

    def _take(self, schema: pa.Schema) -> None:
        if len(set(schema.names)) < len(schema.names):
            raise InvalidInput(f"{self.shown} has two columns of one name")
        self.schema = schema
        self.nullable = described_as_nullable(schema)


def described_as_nullable(schema: pa.Schema) -> list[str]:
    """Return the integer and boolean columns whose dtype in the pandas metadata is nullable."""
    description = (schema.metadata or {}).get(PANDAS_KEY)
    columns = json.loads(description).get("columns", []) if description else []
    dtypes = {each.get("field_name"): str(each.get("numpy_type")) for each in columns}
    return [
        field.name
        for field in schema
        if (types.is_integer(field.type) or types.is_boolean(field.type))
        and dtypes.get(field.name, "").startswith(("Int", "UInt", "boolean"))
    ]


def _check_partitions(files: Sequence[_ConcatenatedFile]) -> None:
    for each in files[1:]:
        if list(each.values) != list(files[0].values):
            had = [", ".join(file.values) or "none" for file in (files[0], each)]
            raise InvalidInput(
                f"{files[0].shown} and {each.shown} are in folders of different partitions: {had[0]}, and {had[1]}"
            )


def _partition_fields(files: Sequence[_ConcatenatedFile]) -> list[pa.Field]:
    """Return the partition columns: integers if all values are written as integers, else text."""
    fields = []
    for name in files[0].values:
        values = [value for each in files if (value := each.values[name]) is not None]
        fields.append(pa.field(name, pa.int64() if values and all(map(_is_whole, values)) else pa.string()))
    return fields


def _is_whole(text: str) -> bool:
    """Return whether a text is the canonical form of an int64; `01` is not."""
    # Fewer than 19 digits fit into 64 bits, whatever they are.
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(text)) == text


def _value(text: str | None, kind: pa.DataType) -> Any:
    return int(text) if text is not None and types.is_integer(kind) else text


def _values_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if types.is_dictionary(kind) else kind


def _as(column: pa.ChunkedArray, field: pa.Field, file: _ConcatenatedFile) -> pa.ChunkedArray:
    """Return the column cast to a wider type; raise `InvalidInput` if a value would change."""
    try:
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column if column.type == field.type else column.cast(field.type)
    except pa.ArrowException as error:
        what = f"{column.type} does not fit into {field.type} exactly"
        where = f"{file.shown}: column {quoted(field.name)}"
        raise exhausted(error) or InvalidInput(f"{where}: {what}: {error}") from error


def _check_same(column: pa.ChunkedArray, name: str, file: _ConcatenatedFile) -> None:
    """Raise `InvalidInput` if a file's column differs from the value in its folder's name."""
    value = file.values[name]
    same = pc.is_null(column) if value is None else pc.equal(column.cast(pa.string()), value)
    if not pc.all(same, skip_nulls=False, min_count=0).as_py():
        raise InvalidInput(
            f"{file.shown}: column {quoted(name)} is not {quoted(str(value))} everywhere, as its folder says"
        )


def _unlike(one: _ConcatenatedFile, other: _ConcatenatedFile, name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{one.shown} and {other.shown} do not make one table: column {quoted(name)} is {why}",
        hint="give both the same type, such as by kwargs: {dtype: {…}}, or name them as two nodes",
    )
