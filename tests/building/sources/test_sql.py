"""Query results of PostgreSQL and SQLite have the expected types, and no error reveals the connection URL."""

from __future__ import annotations

import datetime
import decimal
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import datapkg
from datapkg.building.sources.sql import query
from datapkg.building.spec.model import SqlSource
from datapkg.errors import DatapkgError, InvalidInput, MissingDependency, TransformFailed, Unreachable
from tests.building.builds import write
from tests.conftest import find_program
from tests.postgres import postgres

DT = datetime.datetime
PASSWORD = "s3cr3t-pass"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    program = find_program("initdb")
    assert program is not None
    with postgres(Path(program).parent, PASSWORD) as address:
        yield address


def ask(text: str, url: str, **kwargs: Any) -> pa.Table:
    stream = query(SqlSource(text, "DB"), url, kwargs)
    first, second = (
        pa.concat_tables([stream.schema.empty_table(), *(part.table for part in stream.parts())]) for _ in range(2)
    )
    assert (first.schema, repr(first.to_pylist())) == (second.schema, repr(second.to_pylist()))
    return first


VALUES: list[tuple[str, str, Any]] = [
    ("1::int2", "int16", 1),
    ("2::int4", "int32", 2),
    ("null::int8", "int64", None),
    ("1.5::float4", "float", 1.5),
    ("'NaN'::float8", "double", "nan"),
    ("1.10::numeric(10, 2)", "decimal128(10, 2)", decimal.Decimal("1.10")),
    ("1.123::numeric", "decimal128(4, 3)", decimal.Decimal("1.123")),
    ("true", "bool", True),
    ("'é'::text", "string", "é"),
    ("'a'::char(3)", "string", "a  "),
    ("''::varchar", "string", ""),
    (r"'\x00ff'::bytea", "binary", b"\0\xff"),
    ("date '2024-01-02'", "date32[day]", datetime.date(2024, 1, 2)),
    ("timestamp '2024-01-02 03:04:05.123456'", "timestamp[us]", DT(2024, 1, 2, 3, 4, 5, 123456)),
    (
        "timestamptz '2024-01-02 03:04:05+02'",
        "timestamp[us, tz=UTC]",
        datetime.datetime(2024, 1, 2, 1, 4, 5, tzinfo=datetime.UTC),
    ),
    ("time '01:02:03'", "time64[us]", datetime.time(1, 2, 3)),
    ("interval '1 day'", "duration[us]", datetime.timedelta(days=1)),
    ('\'{"b": [1, null], "a": "é"}\'::json', "string", '{"b": [1, null], "a": "é"}'),
    ("'5'::jsonb", "string", "5"),
    ("array[1, null]", "list<item: int64>", [1, None]),
    ("array['a']", "list<item: string>", ["a"]),
    ("'6f1d9a3e-0000-0000-0000-000000000001'::uuid", "string", "6f1d9a3e-0000-0000-0000-000000000001"),
    ("inet '10.0.0.1'", "string", "10.0.0.1"),
    ("'100%% :x %s'", "string", "100%% :x %s"),
    ("null", "string", None),
]


@pytest.mark.needs("initdb")
class TestPostgreSQL:
    def test_types_and_values(self, url: str) -> None:
        table = ask(f"select {', '.join(f'{each} as c{at}' for at, (each, *_) in enumerate(VALUES))}", url)
        assert [str(each) for each in table.schema.types] == [kind for _, kind, _ in VALUES]
        found = [value if value == value else "nan" for value in table.to_pylist()[0].values()]
        assert found == [value for *_, value in VALUES]

    def test_rows_beyond_a_batch(self, url: str) -> None:
        table = ask("select i, case when i % 2 = 0 then i end as j from generate_series(1, 25000) i", url)
        frame = table.to_pandas()
        assert frame["i"].tolist() == list(range(1, 25001))
        assert [str(each) for each in frame.dtypes] == ["int32", "Int32"]
        assert frame["j"].head(2).tolist() == [frame["j"][0], 2]

    def test_types_are_inferred_from_all_rows(self, url: str) -> None:
        text = (
            "select case when i = 20000 then 1e30::numeric when i > 5 then 0.125 end n from generate_series(1, 20000) i"
        )
        table = ask(text, url)
        assert str(table.schema.types[0]) == "decimal128(34, 3)"
        assert table["n"][-1].as_py() == decimal.Decimal("1e30")

    def test_empty_result_and_duplicate_column_names(self, url: str) -> None:
        table = ask("select 1 a, now() b where false", url)
        assert (len(table), [str(each) for each in table.schema.types]) == (0, ["int32", "timestamp[us, tz=UTC]"])
        assert ask("select 1 a, 2 a", url).to_pandas().columns.tolist() == ["a", "a"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("create table made (a int)", 'syntax error at or near "create"'),
            ("insert into made values (1)", "syntax error"),
            ("with x as (insert into made values (1) returning *) select * from x", "made"),
            ("select nextval('counter')", "read-only transaction"),
            ("select 1; drop table made", "cannot insert multiple commands"),
            ("copy (select 1) to '/tmp/made'", "syntax error"),
            ("select 1 / 0", "division by zero"),
            ("select 1 / (i - 20000) from generate_series(1, 20000) i", "division by zero"),
            ("select timestamp 'infinity'", "timestamp too large"),
        ],
    )
    def test_unsupported_statements(self, url: str, text: str, message: str) -> None:
        make_sequence(url)
        error = failure(text, url)
        assert isinstance(error, TransformFailed)
        assert message in str(error)
        assert "DECLARE" not in str(error)

    def test_values_without_a_common_type(self, url: str) -> None:
        with pytest.raises(InvalidInput, match="column 'a' holds NaN, which a decimal cannot be") as caught:
            ask("select 'NaN'::numeric a", url)
        assert caught.value.hint == "write in the query: CAST(a AS double precision)"

    def test_errors_do_not_reveal_the_url(self, url: str) -> None:
        for text, address in (
            ("select 1", url.replace(PASSWORD, "wrong%40pass")),
            ("select 1", url.replace("/postgres?", "/no_such_place?")),
            ("select 1", url.replace("alice", "mallory")),
            (f"select '{PASSWORD}'::int", url),
            ("select current_user::int", url),
        ):
            error = failure(text, address)
            everything = "".join(traceback.format_exception(error)) + repr(error.to_wire())
            for secret in (PASSWORD, "wrong@pass", "wrong%40pass", "alice", "mallory", "no_such_place", "datapkg-pg-"):
                assert secret not in everything.replace(f"'{text}'", "")


def make_sequence(url: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("create sequence if not exists counter")


def failure(text: str, url: str) -> DatapkgError:
    with pytest.raises(DatapkgError) as caught:
        ask(text, url)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.needs("initdb")
def test_build_record_does_not_contain_the_url(url: str, tmp_path: Path, own_home: Path, monkeypatch: Any) -> None:
    write(tmp_path, {"build.yml": 'contents:\n  t: {sql: "select 1 as a, null::int8 as b", connection: SALES_DB}\n'})
    monkeypatch.setenv("SALES_DB", url)
    frame = datapkg.build("me/sales", tmp_path).t()
    assert (frame["a"].tolist(), frame["b"].isna().tolist(), str(frame["b"].dtype)) == ([1], [True], "Int64")
    kept = [each for each in own_home.rglob("*") if each.is_file()]
    assert kept
    assert not [each for each in kept if PASSWORD.encode() in each.read_bytes() or b"alice" in each.read_bytes()]
    monkeypatch.setenv("SALES_DB", url.replace(PASSWORD, "wrong-pass"))
    with pytest.raises(Unreachable) as caught:
        datapkg.build("me/sales", tmp_path)
    assert "wrong-pass" not in "".join(traceback.format_exception(caught.value))


class TestSQLite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> str:
        with sqlite3.connect(tmp_path / "a b.db") as database:
            database.executescript("create table t (a, b, c); insert into t values (1, 'x', 1), (null, null, 2.5)")
        database.close()
        return f"sqlite:///{tmp_path / 'a b.db'}"

    def test_types_come_from_the_values(self, database: str) -> None:
        table = ask("select * from t", database)
        assert [str(each) for each in table.schema.types] == ["int64", "string", "double"]
        assert str(table.to_pandas()["a"].dtype) == "Int64"

    def test_queries_cannot_write(self, database: str, tmp_path: Path) -> None:
        assert "readonly database" in str(failure("insert into t values (1, 2, 3)", database))
        assert "unable to open" in str(failure("select 1", f"sqlite:///{tmp_path / 'none.db'}"))
        assert not (tmp_path / "none.db").exists()

    def test_statements_without_a_result(self, database: str) -> None:
        with pytest.raises(InvalidInput, match=r"several types: int \(row 1\), str \(row 2\)") as caught:
            ask("select 1 a union all select 'x'", database)
        assert caught.value.hint == "write in the query: CAST(a AS text)"
        with pytest.raises(InvalidInput, match=r"several types: int \(row 2\), str \(row 1\)"):
            ask("select 'x' a union all select 1", database)
        with pytest.raises(InvalidInput, match="takes no kwargs"):
            ask("select 1", database, index="a")
        with pytest.raises(InvalidInput, match="gives no rows"):
            ask("pragma query_only = on", database)


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("not an address s3cr3t", InvalidInput, "the address of the database cannot be read"),
        ("", InvalidInput, "the address of the database cannot be read"),
        ("postgresql://bob:s3cr3t@127.0.0.1:1/db", Unreachable, "the database cannot be reached: "),
        ("nowhere://bob:s3cr3t@127.0.0.1:1/db", MissingDependency, "for databases of 'nowhere'"),
        ("oracle://bob:s3cr3t@127.0.0.1:1/db", MissingDependency, "is not installed; type: pip install"),
    ],
)
def test_unreachable_databases(url: str, kind: type[DatapkgError], message: str) -> None:
    error = failure("select 1", url)
    assert isinstance(error, kind)
    assert message in str(error)
    everything = "".join(traceback.format_exception(error)) + repr(error.to_wire())
    assert not [each for each in ("s3cr3t", "bob", "127.0.0.1") if each in everything]


def test_missing_sqlalchemy_error_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingDependency, match="pip install sqlalchemy"):
        ask("select 1", "sqlite://")


def test_temporary_file_is_deleted_with_the_stream() -> None:
    stream = query(SqlSource("select 1 a", "DB"), "sqlite://", {})
    spool = stream.read.args[0]
    del stream
    assert spool.closed
