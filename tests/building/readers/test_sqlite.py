"""Each table of a SQLite database gets the types of its values, and only its rows determine its content."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from pathlib import Path
from typing import Any

import pandas
import pytest

from datapkg.building.pipeline import BuildOutput
from datapkg.building.readers import batches
from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write

DT = datetime.datetime


def database(path: Path, script: str) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def build(path: Path, table: str = "") -> tuple[Bench, BuildOutput]:
    """Build a database as the node `d`, or one table of it."""
    words = f", table: {table}" if table else ""
    write(path.parent, {"build.yml": f'contents:\n  d: {{file: "{path.name}", transform: sqlite{words}}}\n'})
    bench = Bench()
    return bench, bench.build(path.parent)


def column(folder: Path, declared: str, *values: str) -> tuple[str, list[Any], list[str]]:
    """Return type and values of a column with this declaration and these values, and the warnings."""
    rows = "".join(f"insert into t values ({each});" for each in values)
    bench, built = build(database(folder / "a.db", f"create table t (x {declared}); {rows}"), "t")
    table = bench.table(built, "d")
    return str(table.schema.types[0]), table["x"].to_pylist(), built.warnings


SCRIPT = """
create table sales (id integer primary key, shop text, amount real);
insert into sales values (2, 'b', null), (1, 'é', 9.5);
create table "odd ""name"" x" ("a ""b" int, "" text);
insert into "odd ""name"" x" values (null, 'x'), (7, null);
create table keys (k text primary key, v blob) without rowid;
insert into keys values ('b', x'00ff'), ('a', null);
create table empty (a int, b varchar(3), c);
create view dear as select id, amount, amount as id from sales where amount > 5;
create virtual table words using fts5(word);
insert into words values ('hello');
create index by_shop on sales (shop, id, amount);
"""


def test_each_table_is_a_node(tmp_path: Path) -> None:
    bench = Bench()
    built = bench.build(database(tmp_path / "my.sqlite3", SCRIPT))
    tables = ["empty", "keys", 'odd "name" x', "sales"]
    assert kinds(built) == {f"my/{each}": "table" for each in tables}
    assert bench.table(built, "my/sales").to_pylist() == [
        {"id": 1, "shop": "é", "amount": 9.5},
        {"id": 2, "shop": "b", "amount": None},
    ]
    assert bench.table(built, "my/keys").to_pylist() == [{"k": "a", "v": None}, {"k": "b", "v": b"\0\xff"}]
    odd = bench.frame(built, 'my/odd "name" x')
    assert odd.columns.tolist() == ['a "b', ""]
    assert str(odd['a "b'].dtype) == "Int64"
    assert [str(each) for each in bench.table(built, "my/empty").schema.types] == ["int64", "string", "null"]
    assert built.warnings == ["my.sqlite3: left out, since they are virtual tables: 'words'; `table` names one"]


def test_one_table_or_view(tmp_path: Path) -> None:
    path = database(tmp_path / "a b?.db", SCRIPT)
    bench, built = build(path, "SALES")
    assert kinds(built) == {"d": "table"}
    assert len(bench.table(built, "d")) == 2
    bench, built = build(path, "dear")
    frame = bench.frame(built, "d")
    assert (frame.columns.tolist(), frame.values.tolist()) == (["id", "amount", "id:1"], [[1.0, 9.5, 9.5]])
    bench, built = build(path, "words")
    assert bench.table(built, "d").to_pylist() == [{"word": "hello"}]


@pytest.mark.parametrize(
    ("declared", "values", "kind", "found"),
    [
        ("", ["1", "null", "9223372036854775807"], "int64", [1, None, 2**63 - 1]),
        ("text", ["1", "'x'"], "string", ["1", "x"]),
        ("int", ["'1'", "2"], "int64", [1, 2]),
        ("", ["1", "2.5"], "double", [1.0, 2.5]),
        ("real", ["1", "9e999"], "double", [1.0, float("inf")]),
        ("decimal(10, 2)", ["1.5", "2"], "double", [1.5, 2.0]),
        ("boolean", ["1", "0", "null"], "bool", [True, False, None]),
        ("boolean", ["1", "2"], "int64", [1, 2]),
        ("blob", ["x'00'", "null"], "binary", [b"\0", None]),
        ("date", ["'2024-02-29'", "null"], "date32[day]", [datetime.date(2024, 2, 29), None]),
        ("date", ["'2024-02-30'"], "string", ["2024-02-30"]),
        ("timestamp", ["'2023-02-29 00:00:00'"], "string", ["2023-02-29 00:00:00"]),
        ("date", ["'2024-02-29'", "'soon'"], "string", ["2024-02-29", "soon"]),
        ("text", ["'2024-02-29'"], "string", ["2024-02-29"]),
        ("date", ["20240229"], "int64", [20240229]),
        ("datetime", ["'2024-01-02 03:04:05'"], "timestamp[us]", [DT(2024, 1, 2, 3, 4, 5)]),
        ("timestamp", ["'2024-01-02T03:04:05.25'"], "timestamp[us]", [DT(2024, 1, 2, 3, 4, 5, 250_000)]),
        ("timestamp", ["'2024-01-02T03:04:05Z'"], "string", ["2024-01-02T03:04:05Z"]),
        ("timestamp", ["'2024-01-02 25:04:05'"], "string", ["2024-01-02 25:04:05"]),
        ("timestamp", ["'2024-01-02 24:00:00'"], "string", ["2024-01-02 24:00:00"]),
        ("timestamp", ["'0000-01-02 03:04:05'"], "string", ["0000-01-02 03:04:05"]),
        ("timestamp", ["'0001-01-01 00:00:00'"], "timestamp[us]", [DT(1, 1, 1)]),
        ("date", ["'0000-01-02'"], "string", ["0000-01-02"]),
        (
            "date",
            ["'0001-01-01'", "'9999-12-31'"],
            "date32[day]",
            [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
        ),
        ("datetime", ["'2024-01-02'"], "string", ["2024-01-02"]),
        ("datetime", [], "timestamp[us]", []),
        ("boolean", ["null"], "bool", [None]),
        ("double precision", [], "double", []),
        ("nonsense", [], "null", []),
    ],
)
def test_types(tmp_path: Path, declared: str, values: list[str], kind: str, found: list[Any]) -> None:
    assert column(tmp_path, declared, *values) == (kind, found, [])


@pytest.mark.parametrize(
    ("values", "kind", "found", "warned"),
    [
        (["1", "2.5", "'x'"], "string", ["1", "2.5", "x"], "2 numbers beside 1 texts are taken as text"),
        (["0.1 + 0.2", "''"], "string", ["0.30000000000000004", ""], "1 numbers beside 1 texts"),
        (["x'ff'", "'é'"], "binary", [b"\xff", "é".encode()], "1 texts beside blobs are taken as their UTF-8 bytes"),
    ],
)
def test_values_of_several_types(tmp_path: Path, values: list[str], kind: str, found: list[Any], warned: str) -> None:
    *got, (warning,) = column(tmp_path, "", *values)
    assert got == [kind, found]
    assert f"'t', column 'x': {warned}" in warning


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["1", "x'00'"], "column 'x' holds numbers beside blobs"),
        (["9007199254740993", "0.5"], "fractions beside the integer 9007199254740993"),
        (["-9007199254740993", "0.5"], "fractions beside the integer 9007199254740993"),
        (["cast(x'ff' as text)"], "Could not decode to UTF-8"),
    ],
)
def test_values_without_a_common_type_are_rejected(tmp_path: Path, values: list[str], reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason):
        column(tmp_path, "", *values)


def test_types_do_not_depend_on_row_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 100)
    path = database(
        tmp_path / "a.db",
        "create table t as with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)"
        " select i, case when i = 4999 then 0.5 else i end as x, case when i < 4000 then null else i end as y from n",
    )
    bench, built = build(path, "t")
    frame = bench.frame(built, "d")
    assert [str(each) for each in frame.dtypes] == ["int64", "float64", "Int64"]
    assert frame["i"].tolist() == list(range(1, 5001))
    assert frame["x"][4998] == 0.5
    assert frame["y"].isna().sum() == 3999


def test_many_columns(tmp_path: Path) -> None:
    names = ", ".join(f"c{at}" for at in range(1500))
    path = database(tmp_path / "a.db", f"create table t ({names}); insert into t (c0, c1499) values (1, 'x')")
    bench, built = build(path, "t")
    (row,) = bench.table(built, "d").to_pylist()
    assert (len(row), row["c0"], row["c1499"], row["c700"]) == (1500, 1, "x", None)


def test_write_ahead_log_beside_it_is_not_read(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "pragma journal_mode = wal; create table t (x); insert into t values (1)")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("insert into t values (2)")
        bench, built = build(path)
        assert bench.table(built, "d/t").to_pylist() == [{"x": 1}]
        assert ["a.db-wal beside it is not read" in each for each in built.warnings] == [True]
        before = sorted(each.name for each in tmp_path.iterdir())
        build(path)
        assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_database_with_an_unfinished_change_is_rejected(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "create table t (x); insert into t values (1)")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma cache_size = 1")
        writer.execute("begin")
        writer.execute(f"insert into t values {', '.join(['(1)'] * 9999)}")
        with pytest.raises(TransformFailed, match=r"a\.db-journal beside it shows that a change is in progress"):
            build(path)
        writer.execute("rollback")
    assert kinds(build(path)[1]) == {"d/t": "table"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("sale", "there is no table or view 'sale'; did you mean 'sales'? there are 'dear' (view), 'empty', 'keys'"),
        ("sqlite_schema", "there is no table or view 'sqlite_schema'"),
        ("words_data", "there is no table or view 'words_data'"),
    ],
)
def test_missing_tables(tmp_path: Path, table: str, reason: str) -> None:
    with pytest.raises(TransformFailed) as caught:
        build(database(tmp_path / "a.db", SCRIPT), table)
    assert reason in str(caught.value)


def test_file_that_is_not_a_database(tmp_path: Path) -> None:
    write(tmp_path, {"a.db": b"Berkeley", "b.sqlite": b"", "c.sqlite3": b"SQLite format 3\0" + b"x" * 5000})
    bench = Bench()
    assert kinds(bench.build(tmp_path / "a.db")) == {"a.db": "file"}
    assert kinds(bench.build(tmp_path / "b.sqlite")) == {"b.sqlite": "file"}
    with pytest.raises(TransformFailed, match="file is not a database"):
        bench.build(tmp_path / "c.sqlite3")
    with pytest.raises(TransformFailed, match="it is not an SQLite database"):
        build(tmp_path / "a.db")
    with pytest.raises(TransformFailed, match="there is no table in it, only 'v' "):
        build(database(tmp_path / "d.db", "create view v as select 1 as x"))


def test_corrupt_database(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "create table t (x); insert into t values (zeroblob(20000)), (1)")
    body = bytearray(path.read_bytes())
    body[4096:8192] = b"\xff" * 4096
    path.write_bytes(body)
    with pytest.raises(TransformFailed, match="malformed"):
        build(path)


def test_table_name_that_is_not_a_valid_node_name(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", 'create table "a/b" (x); insert into "a/b" values (1)')
    with pytest.raises(TransformFailed, match="'a/b' cannot be the name of a node"):
        build(path)
    bench, built = build(path, "a/b")
    assert bench.table(built, "d").to_pylist() == [{"x": 1}]


def test_schema_runs_no_code(tmp_path: Path) -> None:
    """Views can name functions registered by another program; none is called for an untrusted file."""
    path = database(
        tmp_path / "a.db",
        "create table t (x); insert into t values (1); create view v as select load_extension('x') from t;"
        "create view w as select * from pragma_table_list;",
    )
    for view in ("v", "w"):
        with pytest.raises(TransformFailed, match=r"not authorized|no such function|unsafe use"):
            build(path, view)


def test_indexes_do_not_change_the_content_hash(tmp_path: Path) -> None:
    rows = "insert into t values (2, 'a'), (1, 'b'), (3, 'a')"
    plain = database(tmp_path / "a.db", f"create table t (x, y); {rows}")
    indexed = database(tmp_path / "b.db", f"create table t (x, y); create index i on t (y, x); {rows}")
    first, second = (bench.table(built, "d") for bench, built in (build(plain, "t"), build(indexed, "t")))
    assert first.equals(second)
    pandas.testing.assert_frame_equal(first.to_pandas(), pandas.DataFrame({"x": [2, 1, 3], "y": ["a", "b", "a"]}))
