"""`sql` checks: evaluate an expression for each row, or a query that must return no row, with DuckDB.

DuckDB sees only this table, as `this`: no file, network, extension or variable of this process; its settings are
locked. The rows are streamed in bounded memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.checks.columns import CheckedColumn, Unfit, plain
from datapkg.building.checks.finding import SAMPLE_ROWS, Finding, short
from datapkg.building.checks.sql_text import is_query
from datapkg.errors import MissingDependency
from datapkg.format.texts import quoted

TABLE = "this"
_SETTINGS = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "512MB",
    "temp_directory": "",  # nothing is written to disk: queries that need more memory fail
    "threads": "1",  # so that rows keep their order
}
# Forms that may refer to a column without naming it: `*`, `COLUMNS(…)`, `#1`, a doubled quote in a name.
_ALL = re.compile(r"(^|[(,.])\s*\*|\bselect\s+\*|\bcolumns\b|#|\"\"", re.IGNORECASE)
_AT_ONCE = 1_000
_SHOWN_COLUMNS, _SHOWN_CHARS = 5, 60


def find(text: str, columns: Sequence[CheckedColumn], chosen: Sequence[CheckedColumn]) -> list[Finding]:
    """Return the findings of the expression or query; the values of the `chosen` columns are shown for violating rows.

    Raise `Unfit` if DuckDB rejects the text, `MissingDependency` if it is not installed.
    """
    duckdb = _duckdb()
    used = list(columns) if is_query(text) else [each for each in columns if _may_use(text, each)]
    used += [each for each in chosen if each not in used]
    _check_names(text, used)
    rows = _ArrowRows(columns[0], used)
    with duckdb.connect(":memory:", config=_SETTINGS) as connection:
        connection.execute("SET lock_configuration = true")
        connection.register(TABLE, rows)
        try:
            if is_query(text):
                return _by_query(connection, text)
            return _by_expression(connection, text, rows.number, chosen or used)
        except duckdb.Error as error:
            raise Unfit(_reason(error)) from error


def _check_names(text: str, used: Sequence[CheckedColumn]) -> None:
    """Raise `Unfit` for names in the text that differ in case alone: DuckDB finds the first of them for each."""
    known: dict[str, str] = {}
    for column in used:
        other = known.setdefault(column.name.lower(), column.name)
        word = rf"(?<!\w){re.escape(column.name)}(?!\w)"
        if other != column.name and re.search(word, text, re.IGNORECASE):
            names = f"{quoted(other)} and {quoted(column.name)}"
            raise Unfit(f"SQL ignores case, and cannot tell apart the columns {names}; rename one of them")


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        line = "pip install duckdb"
        raise MissingDependency(
            f"`sql` checks are made by duckdb, which is not installed; type: {line}", hint=line
        ) from error
    return duckdb


def _may_use(text: str, column: CheckedColumn) -> bool:
    """Return whether an expression may use a column; a false positive is harmless."""
    return _ALL.search(text) is not None or column.name.lower() in text.lower()


def _by_expression(connection: Any, text: str, number: str, shown: Sequence[CheckedColumn]) -> list[Finding]:
    # On lines of its own, since the text may end with a comment (`--`).
    condition = f"(\n{text}\n)"
    kinds = [str(each) for each in _query(connection, f"SELECT {condition} FROM {TABLE} LIMIT 0").types]
    if len(kinds) > 1 or kinds[0] not in ("BOOLEAN", '"NULL"', "NULL"):
        raise Unfit(f"it gives {' and '.join(kinds[:3])}, and true or false is expected")
    names = [each.name for each in shown[:_SHOWN_COLUMNS]]
    listed = ", ".join(map(_quoted, [number, *names]))
    found = Finding("sql", "", f"`{_cut(text)}`", verb=("violates", "violate"))
    for row in _fetched(_query(connection, f"SELECT {listed} FROM {TABLE} WHERE NOT {condition}")):
        found.rows += 1
        if len(found.samples) < SAMPLE_ROWS:
            found.samples.append((row[0], _line(names, row[1:])))
    return [found] if found.rows else []


def _by_query(connection: Any, text: str) -> list[Finding]:
    relation = _query(connection, text)
    names = relation.columns
    samples: list[str] = []
    rows = 0
    for row in _fetched(relation):
        rows += 1
        if len(samples) < SAMPLE_ROWS:
            samples.append(f"({_line(names[:_SHOWN_COLUMNS], row)})")
    if not rows:
        return []
    more = " …" if rows > len(samples) else ""
    sentence = f"`{_cut(text)}` finds {rows:,} row{'s' if rows > 1 else ''}, expected none: {', '.join(samples)}{more}"
    return [Finding("sql", "", sentence)]


def _query(connection: Any, text: str) -> Any:
    """Return the relation of a single query; raise `Unfit` for any other statement."""
    statements = connection.extract_statements(text)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise Unfit("it is not one expression, nor one query")
    return connection.sql(text)


def _fetched(relation: Any) -> Iterator[tuple[Any, ...]]:
    """Yield rows as Python values, through Arrow: DuckDB itself needs another library for times with a zone."""
    for batch in relation.to_arrow_reader(_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


@dataclass(frozen=True)
class _ArrowRows:
    """The rows of a table as an Arrow stream for DuckDB; `number` is the name of the column of row numbers."""

    first: CheckedColumn
    used: list[CheckedColumn]

    @property
    def number(self) -> str:
        """Return the name of the column of row numbers, which differs from all used columns."""
        name, taken = "row number", {each.name.lower() for each in self.used}
        while name in taken:
            name += "_"
        return name

    @property
    def schema(self) -> pa.Schema:
        """Return the schema: the row numbers, then the used columns."""
        fields = [(each.name, _known(each.kind)) for each in self.used]
        return pa.schema([(self.number, pa.int64()), *fields])

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        # At least one column is read, to get the number of rows.
        columns = self.used or [self.first]
        tables, node, schema, start = self.first.tables, self.first.node, self.schema, self.first.first_row
        for values in tables.pieces(node, [each.index for each in columns]):
            numbers = pa.array(range(start, start + len(values[0])), pa.int64())
            start += len(numbers)
            arrays = [numbers, *(values if self.used else [])]
            known = [plain(each).cast(field.type) for each, field in zip(arrays, schema, strict=True)]
            yield pa.record_batch(list(map(_nan_as_null, known)), schema)


def _known(kind: pa.DataType) -> pa.DataType:
    """Return a type that DuckDB supports."""
    return pa.float32() if types.is_float16(kind) else kind


def _nan_as_null(values: pa.Array) -> pa.Array:
    """Return floats with null for NaN, as both are missing for checks; for DuckDB, NaN is above all numbers."""
    import pyarrow.compute as pc

    if not types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _line(names: list[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{name}: {short(value) or 'missing'}" for name, value in zip(names, values, strict=False))


def _cut(text: str) -> str:
    plain_text = " ".join(text.split())
    return plain_text if len(plain_text) <= _SHOWN_CHARS else plain_text[:_SHOWN_CHARS] + "…"


def _reason(error: Exception) -> str:
    """Return DuckDB's message without the excerpt of the query."""
    return " ".join(re.split(r"\n\s*LINE \d+:", str(error))[0].split())[:300]
