"""Infer the type of an SQLite column from its values, and where they leave a choice, from its declaration.

| values | declared | type |
|---|---|---|
| integers | | int64 |
| 0 and 1 | BOOL… | bool |
| integers, fractions | | double; refused where an integer is beyond 2^53 |
| text | | string |
| text, all days of the calendar as ISO has them | DATE | date32 |
| text, all `2024-01-02 03:04:05` or with `T`, to microseconds | DATETIME…, TIMESTAMP… | timestamp |
| blobs | | binary |
| text beside numbers | | string, with a warning |
| text beside blobs | | binary, with a warning |
| numbers beside blobs | | refused |
| none | INT…, BOOL…, REAL…, TEXT…, BLOB, DATE, … | what it declares, else null |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datapkg.building.readers.source_file import report
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

_EXACT = 2**53  # beyond it, a float does not represent every integer
# Columns in one query, which has several terms for each: SQLite allows 2,000 terms.
_AT_ONCE = 100
# The steps of SQLite's virtual machine between two reports, and the rows by which the steps of all are estimated.
_STEPS, _FEW_ROWS = 1_000, 5_000
_DAY, _MOMENT = pa.date32(), pa.timestamp("us")
# The modifier makes SQLite normalize the date: the 30th of February becomes another day. Python's dates begin with the
# year 1, and only SQLite has an hour 24.
_IS_DAY = "substr({c}, 1, 4) >= '0001' AND {c} = date({c}, '+0 days')"
_IS_MOMENT = (
    "substr({c}, 1, 4) >= '0001' AND substr({c}, 1, 10) = date(substr({c}, 1, 10), '+0 days')"
    " AND substr({c}, 11, 1) IN (' ', 'T') AND substr({c}, 12, 2) < '24'"
    " AND substr({c}, 12, 8) = time(substr({c}, 12, 8)) AND (length({c}) = 19"
    " OR (substr({c}, 20, 1) = '.' AND length({c}) BETWEEN 21 AND 26 AND substr({c}, 21) NOT GLOB '*[^0-9]*'))"
)
# Prefixes of declared types, with the type for a column whose values agree.
_DECLARED: tuple[tuple[tuple[str, ...], pa.DataType], ...] = (
    (("BOOL",), pa.bool_()),
    (("DATETIME", "TIMESTAMP"), _MOMENT),
    (("DATE",), _DAY),
    (("BLOB",), pa.binary()),
    (("REAL", "DOUBLE", "FLOAT", "NUMERIC", "DECIMAL"), pa.float64()),
)


@dataclass(frozen=True)
class SqliteColumn:
    """A column, its type, and the number of missing values."""

    name: str
    type: pa.DataType
    nulls: int

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return values from SQLite in the type of the column."""
        if self.type == pa.string():
            return pa.array(
                [each if each is None or isinstance(each, str) else repr(each) for each in values], self.type
            )
        if self.type == pa.binary():
            return pa.array([each.encode() if isinstance(each, str) else each for each in values], self.type)
        if self.type == pa.bool_():
            return pa.array([each if each is None else bool(each) for each in values], self.type)
        if self.type in (_DAY, _MOMENT):
            return pa.array(values, pa.string()).cast(self.type)
        return pa.array(values, self.type)


@dataclass(frozen=True)
class _KindCounts:
    """How many values of each kind a column has; the lowest and highest integer; how many texts are dates or times."""

    rows: int
    integers: int
    reals: int
    texts: int
    blobs: int
    lowest: int
    highest: int
    days: int
    moments: int

    @property
    def nulls(self) -> int:
        """Return the number of missing values."""
        return self.rows - self.integers - self.reals - self.texts - self.blobs


def infer_types(
    database: sqlite3.Connection, table: str, source: str, warn: Callable[[str], None]
) -> tuple[list[SqliteColumn], pa.Schema, int]:
    """Return the columns of a table or view, their schema with the dtypes for pandas, and the number of rows.

    Types are inferred from all rows. `source` is the table's name in a query. Raise `InvalidInput` for columns whose
    values fit no type.
    """
    declared = _declared(database, table, source)
    found = _count(database, source, declared)
    columns = [
        SqliteColumn(name, _settled(name, words, counts, table, warn), counts.nulls)
        for (name, words), counts in zip(declared, found, strict=True)
    ]
    return columns, _schema(columns), found[0].rows


def _declared(database: sqlite3.Connection, table: str, source: str) -> list[tuple[str, str]]:
    """Return the columns of `SELECT *`, each with its declared type in upper case."""
    names = [each[0] for each in database.execute(f"SELECT * FROM {source} LIMIT 0").description]
    found = database.execute("SELECT name, type FROM pragma_table_xinfo(?, 'main')", (table,))
    words = {name: (kind or "").strip().upper() for name, kind in found}
    return [(name, words.get(name, "")) for name in names]


def _count(database: sqlite3.Connection, source: str, declared: list[tuple[str, str]]) -> list[_KindCounts]:
    found: list[_KindCounts] = []
    for start in range(0, len(declared), _AT_ONCE):
        some = declared[start : start + _AT_ONCE]
        # By number, because names may be duplicated in a view.
        names = [f"c{start + at}" for at in range(len(some))]
        listed = ", ".join(f"c{at}" for at in range(len(declared)))
        terms = [term for name, (_, words) in zip(names, some, strict=True) for term in _terms(name, words)]
        query = f"WITH t({listed}) AS (SELECT * FROM {source}) SELECT count(*), {', '.join(terms)} FROM t"
        with _steps_reported(database, query, source):
            rows, *numbers = database.execute(query).fetchone()
        width = len(terms) // len(some)
        found += [
            _KindCounts(rows, *(each or 0 for each in numbers[at : at + width])) for at in range(0, len(numbers), width)
        ]
    return found


@contextmanager
def _steps_reported(database: sqlite3.Connection, query: str, source: str) -> Iterator[None]:
    """Report the share of a query that aggregates all rows: SQLite counts steps, of which each row takes as many.

    A first query of few rows shows how many.
    """
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if whole:
            report(steps / whole)

    whole = 0.0
    database.set_progress_handler(step, _STEPS)
    try:
        few = query.replace(f"FROM {source})", f"FROM {source} LIMIT {_FEW_ROWS})")
        read = database.execute(few).fetchone()[0]
        if read == _FEW_ROWS:
            rows = database.execute(f"SELECT count(*) FROM {source}").fetchone()[0]
            whole, steps = steps * rows / read, 0
        yield
    finally:
        database.set_progress_handler(None, _STEPS)


def _terms(name: str, words: str) -> list[str]:
    kinds = [f"sum(typeof({name}) = '{kind}')" for kind in ("integer", "real", "text", "blob")]
    bounds = [f"{pick}(CASE WHEN typeof({name}) = 'integer' THEN {name} END)" for pick in ("min", "max")]
    wanted = _wish(words)
    days = f"sum(typeof({name}) = 'text' AND {_IS_DAY.format(c=name)})" if wanted == _DAY else "0"
    moments = f"sum(typeof({name}) = 'text' AND {_IS_MOMENT.format(c=name)})" if wanted == _MOMENT else "0"
    return [*kinds, *bounds, days, moments]


def _wish(words: str) -> pa.DataType | None:
    return next((kind for starts, kind in _DECLARED if words.startswith(starts)), None)


def _settled(name: str, words: str, counts: _KindCounts, table: str, warn: Callable[[str], None]) -> pa.DataType:
    numbers, place = counts.integers + counts.reals, f"{quoted(table)}, column {quoted(name)}"
    if not numbers and not counts.texts and not counts.blobs:
        return _of_nothing(words)
    if counts.blobs and numbers:
        raise InvalidInput(
            f"column {quoted(name)} holds numbers beside blobs", hint="a `sql` source can cast it", column=name
        )
    if counts.blobs:
        if counts.texts:
            warn(f"{place}: {counts.texts:,} texts beside blobs are taken as their UTF-8 bytes")
        return pa.binary()
    if counts.texts:
        if numbers:
            warn(f"{place}: {numbers:,} numbers beside {counts.texts:,} texts are taken as text")
            return pa.string()
        return _DAY if counts.days == counts.texts else _MOMENT if counts.moments == counts.texts else pa.string()
    return _of_numbers(name, words, counts)


def _of_numbers(name: str, words: str, counts: _KindCounts) -> pa.DataType:
    if not counts.reals:
        is_truth = _wish(words) == pa.bool_() and counts.lowest >= 0 and counts.highest <= 1
        return pa.bool_() if is_truth else pa.int64()
    biggest = max(counts.highest, -counts.lowest)
    if counts.integers and biggest > _EXACT:
        what = f"fractions beside the integer {biggest}, which a float does not hold exactly"
        raise InvalidInput(f"column {quoted(name)} holds {what}", hint="a `sql` source can cast it", column=name)
    return pa.float64()


def _of_nothing(words: str) -> pa.DataType:
    """Return the type of a column without values from its declaration, by SQLite's affinity rules."""
    wish = _wish(words)
    if wish is not None:
        return wish
    if "INT" in words:
        return pa.int64()
    return pa.string() if any(each in words for each in ("CHAR", "CLOB", "TEXT")) else pa.null()


def _schema(columns: list[SqliteColumn]) -> pa.Schema:
    from datapkg.building.readers.batches import described
    from datapkg.tables.frame_to_arrow import table_from_arrow

    schema = pa.schema([(each.name, each.type) for each in columns])
    if len(set(schema.names)) < len(schema.names):
        return table_from_arrow(schema.empty_table()).schema
    return described(schema, {each.name: each.nulls for each in columns})
