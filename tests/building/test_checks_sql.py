"""SQL checks: rows that violate an expression or are returned by a query; DuckDB can read only the one table."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapkg.building.checks import columns as pieces
from datapkg.errors import CheckFailed, InvalidBuildFile, MissingDependency
from tests.building.builds import Bench, write
from tests.building.test_checks import findings

TABLE = pa.table({"a": [1, 2, None, -4, 5], "b": [2, 1, 3, None, 6], "t": ["x", "y", "x", "it's", None]})


def found(expression: str, columns: tuple[str, ...] | None = None, table: Any = TABLE) -> list[str]:
    return findings(table, {"sql": expression}, columns)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("a < b", "1: `a < b` [2]"),
        ("a > 0", "1: `a > 0` [4]"),
        ("A > 0 -- a comment", "1: `A > 0 -- a comment` [4]"),
        ("a IS NOT NULL AND b IS NOT NULL", "2: `a IS NOT NULL AND b IS NOT NULL` [3, 4]"),
        ("t IN ('x', 'y')", "1: `t IN ('x', 'y')` [4]"),
        ("a * 2 = a + a", ""),
        ("NULL", ""),
        ("true", ""),
        ("1 = 0", "5: `1 = 0` [1, 2, 3, 4, 5]"),
        ("a IN (SELECT b FROM this) OR a < 0 OR a = 5", ""),
        ("a >= (SELECT min(a) FROM this)", ""),
    ],
)
def test_rows_that_violate_an_expression(expression: str, rows: str) -> None:
    assert found(expression) == ([f": {rows}"] if rows else [])


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.dictionary(pa.int8(), pa.float64())])
@pytest.mark.parametrize(
    ("expression", "rows"),
    [("x > 0", [3]), ("x < 5", []), ("x = x", []), ("x is not null", [2, 4]), ("isnan(x)", [1, 3])],
)
def test_nan_is_null(kind: pa.DataType, expression: str, rows: list[int]) -> None:
    values = np.array([1, np.nan, -1, 0], "float16")
    mask = np.array([False, False, False, True])
    if isinstance(kind, pa.DictionaryType):
        column: Any = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None], pa.int8()), values[:3].astype(float))
    else:
        column = pa.array(values.astype(kind.to_pandas_dtype()), kind, mask=mask)
    lines = found(expression, table=pa.table({"x": column}))
    assert lines == ([f": {len(rows)}: `{expression}` {rows}"] if rows else [])


def test_displayed_columns_of_a_row(tmp_path: Path) -> None:
    message = failure(tmp_path, "{sql: a < b}")
    assert message == "Data check failed: sql: t: 2 of 3 rows violate `a < b`; row 2: a: 5, b: 4, row 3: a: 7, b: 6"
    message = failure(tmp_path, "{sql: a < b, column: t}")
    assert message.endswith("row 2: t: 'y', row 3: t: 'z'")


def test_query_must_return_no_rows(tmp_path: Path) -> None:
    assert found("SELECT t FROM this GROUP BY t HAVING count(*) > 2") == []
    assert found(" with x as (select t, count(*) n from this group by t) from x where n > 1") == [
        "`with x as (select t, count(*) n from this group by t) from x…` finds 1 row, expected none: (t: 'x', n: 2)"
    ]
    assert found("from this select a order by a nulls last") == [
        "`from this select a order by a nulls last` finds 5 rows, expected none: "
        "(a: -4), (a: 1), (a: 2), (a: 5), (a: missing)"
    ]


def failure(folder: Path, check: str) -> str:
    write(folder, {"t.csv": "a,b,t\n1,2,x\n5,4,y\n7,6,z\n"})
    write(folder, {"build.yml": f"contents:\n  t:\n    file: t.csv\n    checks: [{check}]\n"})
    with pytest.raises(CheckFailed) as caught:
        Bench().build(folder)
    return str(caught.value)


def test_columns_of_any_name_and_type() -> None:
    table = pa.table(
        {
            'a "b"': [1, 2],
            "row number": [7, 8],
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "half": pa.array(np.array([0.5, 2.5], np.float16)),
            "day": [datetime.date(2024, 1, 2), datetime.date(2025, 1, 2)],
            "when": pa.array([0, 10**6], pa.timestamp("us", "UTC")),
            "list": [[1], [2, 3]],
            "in": [{"x": 1}, {"x": 2}],
            "bytes": [b"a", b"b"],
            "nothing": pa.nulls(2),
        }
    )
    for expression in (
        '"a ""b""" < 2',
        "category = 'x'",
        "half < 1",
        "day < DATE '2025-01-01'",
        "\"when\" < TIMESTAMPTZ '1970-01-01 00:00:01+00'",
        "len(list) = 1",
        '"in".x = 1',
        "bytes = 'a'::BLOB",
        '"row number" = 7',
    ):
        (line,) = found(expression, None, table)
        assert line.endswith("[2]"), expression
    assert found("nothing > 1", None, table) == []


def test_names_that_differ_in_case_are_not_mixed_up() -> None:
    table = pa.table({"A": [1], "a": [-1], "bat": [1]})
    (found,) = findings(table, {"sql": "a > 0"}, None)
    assert "cannot tell apart the columns 'A' and 'a'; rename one of them" in found
    assert findings(table, {"sql": "bat > 0"}, None) == []


def test_rows_stream_and_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 1_000)
    table = pa.table({"x": range(100_000), "y": ["text"] * 100_000})
    assert found("x < 99998", None, table) == [": 2: `x < 99998` [99999, 100000]"]
    assert found("x % 10000 <> 1", None, table) == [": 10: `x % 10000 <> 1` [2, 10002, 20002, 30002, 40002]"]
    assert found("x < 5", None, pa.table({"x": pa.array([], pa.int64())})) == []


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("no_such > 1", "Binder Error: Referenced column"),
        ("a", "it gives BIGINT"),
        ("a >", "Parser Error"),
        ("COLUMNS(['a', 'b']) < 6", "it gives BOOLEAN and BOOLEAN"),
        ("sum(a) > 1", "aggregate"),
        ("a < sum(a) OVER ()", "window"),
        ("SELECT 1; SELECT 2", "not one expression, nor one query"),
        ("true); COPY this TO '{file}'; SELECT (true", "not one expression, nor one query"),
        ("true); ATTACH '{file}' AS x; SELECT (true", "not one expression, nor one query"),
        ("true) FROM this; SET memory_limit = '9GB'; SELECT (true", "not one expression, nor one query"),
        ("a IN (SELECT content FROM read_text('/etc/passwd'))", "disabled by configuration"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM glob('/*')", "disabled by configuration"),
        ("SELECT * FROM read_parquet('http://127.0.0.1:9/x')", "disabled|Missing"),
        ("FROM query('COPY this TO ''{file}''')", "Parser Error|Expected"),
        ("SELECT * FROM secret", "does not exist"),
        ("getenv('HOME') = ''", "does not exist"),
        ("WITH x AS (SELECT 1) INSERT INTO this VALUES (1)", "not one expression|Parser"),
        ("SELECT len(list(hash(range))) FROM range(100000000)", "Out of Memory"),
    ],
)
def test_forbidden_expressions(tmp_path: Path, expression: str, reason: str) -> None:
    secret = pa.table({"x": [1]})
    target = tmp_path / "out"
    (line,) = found(expression.replace("{file}", str(target)))
    assert line.startswith("`sql` cannot be checked: ")
    assert any(each in line for each in reason.split("|")), line
    assert "LINE 1" not in line
    assert not target.exists()
    assert len(secret)


@pytest.mark.parametrize(
    "statement",
    ["INSTALL httpfs", "LOAD httpfs", "SET threads = 2", "PRAGMA database_list", "CALL pragma_version()", "RESET ALL"],
)
def test_statements_are_not_expressions(statement: str) -> None:
    (line,) = found(statement)
    assert line.startswith("`sql` cannot be checked: ")


def test_missing_duckdb_error_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingDependency, match="pip install duckdb"):
        found("a > 1")


@pytest.mark.parametrize("value", ["", "[a]", "{a: b}", "~", "x" * 10_001])
def test_invalid_sql(tmp_path: Path, value: str) -> None:
    write(tmp_path, {"t.csv": "a\n1\n"})
    write(tmp_path, {"build.yml": f"contents:\n  t:\n    file: t.csv\n    checks: [{{sql: {value}}}]\n"})
    with pytest.raises(InvalidBuildFile, match=r"build.yml:4: contents.t.checks\[0\].sql: "):
        Bench().build(tmp_path)
