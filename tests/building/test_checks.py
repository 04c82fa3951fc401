"""Checks on tables: what passes, which rows fail, and what a build reports and records."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.building.checks import value_hashes
from datapkg.building.checks.run import run_checks
from datapkg.building.pipeline import BuildOutput
from datapkg.building.spec.model import Check, NodeSpec, ValueSource
from datapkg.errors import CheckFailed, NodeNotFound
from tests.building.builds import Bench, write

SAMPLES = Path(__file__).parent.parent.parent / "sample_packages"
D, DT = datetime.date, datetime.datetime


def findings(values: Any, rules: dict[str, Any], columns: tuple[str, ...] | None = ("x",)) -> list[str]:
    """Return the findings of these rules on a table or a column `x`, each as `column: rows: message [row numbers]`."""
    table = values if isinstance(values, dict | pa.Table | pandas.DataFrame) else {"x": values}
    bench = Bench()
    tables = table if isinstance(table, dict) and "t" in table else {"t": table}
    built = bench.build({name: each if not isinstance(each, dict) else pa.table(each) for name, each in tables.items()})
    spec = NodeSpec("t", ValueSource(None), checks=(Check("c", rules, columns),))
    (result,) = run_checks([spec], built.manifest, bench.objects)
    assert result.outcome == ("failed" if result.findings else "ok")
    return [
        f"{each.column}: {each.rows}: {each.text} {[row for row, _ in each.samples]}" if each.rows else each.text
        for each in result.findings
    ]


def rows(values: Any, rules: dict[str, Any]) -> list[int]:
    """Return the numbers of the first rows that break the rules."""
    found = findings(values, rules)
    assert len(found) <= 1
    assert not found or "[" in found[0], found
    return json.loads(found[0][found[0].rindex("[") :]) if found else []


TEXTS = ["a", "b", None, "b", "c"]
NAN = float("nan")
BERLIN = pa.timestamp("ms", "Europe/Berlin")


@pytest.mark.parametrize(
    ("values", "rules", "expected"),
    [
        ([1, None, 3], {"not_null": True}, [2]),
        (pa.array([1.0, NAN, None]), {"not_null": True}, [2, 3]),
        ([1, 2, 1, 1, None, None], {"unique": True}, [3, 4]),
        (TEXTS, {"unique": True}, [4]),
        ([0.0, -0.0, NAN, NAN], {"unique": True}, [2]),
        ([True, False, True], {"unique": True}, [3]),
        ([D(2000, 1, 1), D(2000, 1, 2), D(2000, 1, 1)], {"unique": True}, [3]),
        ([b"x", b"y", b"x"], {"unique": True}, [3]),
        ([decimal.Decimal("1.10"), decimal.Decimal("1.1")], {"unique": True}, [2]),
        (pa.array([1, 1, 2], pa.uint64()), {"unique": True}, [2]),
        (pa.array([1, 1, 2], pa.time32("ms")), {"unique": True}, [2]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), {"unique": True}, [3]),
        ([1, 5, None, -2], {"min": 0}, [4]),
        ([1, 5, None, -2], {"max": 4}, [2]),
        ([1, 5, None, -2], {"min": 1.5}, [1, 4]),
        ([1, 5, None, -2], {"between": (1, 5)}, [4]),
        (pa.array([1, 2**64 - 1], pa.uint64()), {"max": 2**63}, [2]),
        (pa.array([1, 2], pa.uint64()), {"min": -1}, []),
        (pa.array([1, 2], pa.int8()), {"max": 300}, []),
        (pa.array([0.1, 0.2], pa.float32()), {"max": 0.1}, [2]),
        (pa.array(np.array([0.5, 2.5], np.float16)), {"max": 1}, [2]),
        ([2**62 + 1, 2**62], {"max": 2**62}, [1]),
        ([decimal.Decimal("1.10"), decimal.Decimal("1.20")], {"max": 1.15}, [2]),
        ([D(2000, 1, 1), D(2001, 1, 1)], {"max": D(2000, 6, 1)}, [2]),
        ([D(2000, 1, 1), D(2001, 1, 1)], {"max": "2000-06-01"}, [2]),
        ([D(2000, 1, 1), D(2001, 1, 1)], {"min": DT(2000, 1, 1, 1)}, [1]),
        ([DT(2000, 1, 1, 12), DT(2001, 1, 1)], {"max": D(2000, 6, 1)}, [2]),
        ([DT(2000, 1, 1, 12), DT(3001, 1, 1)], {"max": "3000-01-01 00:00"}, [2]),
        (pa.array([DT(2000, 1, 1), DT(2000, 1, 2)], BERLIN), {"max": D(2000, 1, 1)}, [2]),
        (pa.array([DT(2000, 1, 1)], BERLIN), {"min": DT(2000, 1, 1, 1, tzinfo=datetime.UTC)}, [1]),
        ([datetime.time(12), datetime.time(13)], {"max": "12:30"}, [2]),
        (TEXTS, {"max": "b"}, [5]),
        (["ab", "abc", None, "b\n", "b"], {"regex": "a?b"}, [2, 4]),
        (pa.array(["ab", "x"]).dictionary_encode(), {"regex": "ab|c"}, [2]),
        (TEXTS, {"isin": ["a", "b"]}, [5]),
        ([1, 2, 3], {"isin": [1, 2.0]}, [3]),
        ([1.5, NAN, 2.5], {"isin": [1.5]}, [3]),
        ([-0.0, 0.0, 1.0], {"isin": [0]}, [3]),
        ([-0.0, 0.0, 1.0], {"isin": [-0.0]}, [3]),
        ([2**53 + 1, 2**53], {"isin": [2.0**53]}, [1]),
        ([2**53 + 1, 2**53], {"max": 2.0**53}, [1]),
        ([-(2**53) - 1, 2**53], {"min": -(2.0**53)}, [1]),
        (pa.array([1_700_000_000_000_000_000, None, 0, -(2**63)], pa.timestamp("ms")), {"max": D(2024, 1, 1)}, [1]),
        (pa.array([1_700_000_000_000_000_000, None, 0, -(2**63)], pa.timestamp("ms")), {"min": D(1900, 1, 1)}, [4]),
        ([True, False], {"isin": [True]}, [2]),
        ([decimal.Decimal("1.10"), decimal.Decimal("1.20")], {"isin": [1.1]}, [2]),
        ([D(2000, 1, 1), D(2001, 1, 1)], {"isin": [D(2000, 1, 1)]}, [2]),
        ([1, 2, None, 2, 1, 3], {"monotonic": "increasing"}, [5]),
        ([1, 2, None, 2, 3], {"monotonic": "strictly increasing"}, [4]),
        ([3, NAN, 2, 4.0], {"monotonic": "decreasing"}, [4]),
        (["b", "a", "a"], {"monotonic": "strictly decreasing"}, [3]),
        (pa.array([None, None]), {"min": 0, "unique": True, "regex": "a", "isin": [1]}, []),
        (pa.array([None, None]), {"not_null": True}, [1, 2]),
        (pa.array([], pa.int64()), {"min": 0, "unique": True, "monotonic": "increasing", "isin": [1]}, []),
    ],
)
def test_rows_that_break_a_rule(values: Any, rules: dict[str, Any], expected: list[int]) -> None:
    assert rows(values, rules) == expected


@pytest.mark.parametrize(
    ("values", "rules", "columns", "expected"),
    [
        ([1], {"regex": "a"}, ("x",), "a regular expression is for text, and this is int64"),
        ([1], {"min": "a"}, ("x",), "'a' cannot be compared with int64"),
        (["a"], {"max": 1}, ("x",), "1 cannot be compared with string"),
        ([True], {"max": 1}, ("x",), "1 cannot be compared with bool"),
        ([D(2000, 1, 1)], {"min": "soon"}, ("x",), "'soon' cannot be compared with date32"),
        ([DT(2000, 1, 1)], {"min": DT(2000, 1, 1, tzinfo=datetime.UTC)}, ("x",), "a time with a time zone"),
        ([[1]], {"unique": True}, ("x",), "cannot be told apart"),
        ([[1]], {"monotonic": "increasing"}, ("x",), "values of type list<int64> have no order"),
        ([1], {"regex": "a"}, None, "`regex` fits none of the columns; there are 'x'"),
        ([1], {"min": 0}, ("y", "x"), "there is no such column; there are 'x'"),
        ([1, 2], {"row_count": (3, 3)}, None, "has 2 rows, expected 3"),
        ([1, 2], {"row_count": (3, None)}, None, "has 2 rows, expected 3 or more"),
        ([1, 2], {"row_count": (0, 1)}, None, "has 2 rows, expected 0 to 1"),
        ([1, 2], {"type": ("str", "float")}, ("x",), "is int64, expected str or float"),
        ([1, 2], {"foreign_key": "u.y"}, ("x",), "there is no column 'u.y' in this package; there are the tables 't'"),
        ([1, 2], {"foreign_key": "t.y"}, ("x",), "there is no column 't.y' in this package; there are 't.x'"),
    ],
)
def test_rules_that_cannot_hold(
    values: Any, rules: dict[str, Any], columns: tuple[str, ...] | None, expected: str
) -> None:
    (found,) = findings(values, rules, columns)
    assert expected in found


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([1], "int"),
        (pa.array([1], pa.uint8()), "number"),
        ([1.5], "float"),
        ([1.5], "double"),
        (["a"], "str"),
        ([True], "bool"),
        ([D(2000, 1, 1)], "date"),
        ([DT(2000, 1, 1)], "datetime"),
        ([DT(2000, 1, 1)], "timestamp[us]"),
        ([datetime.time(1)], "time"),
        ([datetime.timedelta(1)], "duration"),
        ([decimal.Decimal("1.5")], "decimal"),
        (pa.array(["a"]).dictionary_encode(), "category"),
        ([b"a"], "binary"),
        ([[1]], "list"),
    ],
)
def test_types(values: Any, types: str) -> None:
    assert findings(values, {"type": (types,)}) == []
    assert findings(values, {"type": ("null",)}) != []


def test_check_without_columns_applies_to_columns_of_fitting_types() -> None:
    table = pa.table({"a": [1, -1], "b": ["x", "y"], "c": [-0.5, 1.0]})
    assert findings(table, {"min": 0}, None) == ["a: 1: below 0 [2]", "c: 1: below 0 [1]"]
    assert findings(table, {"not_null": True}, None) == []


def test_duplicate_columns_are_checked_under_their_new_names() -> None:
    table = pa.table([pa.array([1, 2]), pa.array([3, -4]), pa.array([-5, 6])], names=["x", "y.z", "x"])
    assert findings(table, {"min": 0}) == []
    assert findings(table, {"min": 0}, ("x.1",)) == ["x.1: 1: below 0 [1]"]
    assert findings(table, {"min": 0}, ("y.z",)) == ["y.z: 1: below 0 [2]"]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (["a", None, "z"], ["a", "b"], [3]),
        ([1.0, NAN, 7.0], [1, 2], [3]),
        (pa.array([1, 9], pa.int8()), pa.array([1], pa.uint64()), [2]),
        (pa.array(["a", "q"]).dictionary_encode(), ["a"], [2]),
        ([D(2000, 1, 1), D(2001, 1, 1)], [D(2000, 1, 1)], [2]),
        ([1, 2], pa.array([None], pa.int64()), [1, 2]),
        (pa.array([2**64 - 1, 1], pa.uint64()), [-1, 1], [1]),
        ([-1, 1, None], pa.array([2**64 - 1, 1], pa.uint64()), [1]),
        ([2**53 + 1, 2**53, 2**63 - 1], [2.0**53, 2.0**63], [1, 3]),
        ([2.0**53, 2.0**63, 2.0**53 + 2], [2**53 + 1, 2**63 - 1, 2**53 + 2], [1, 2]),
        (pa.array([2**64 - 1, 2**63], pa.uint64()), [2.0**64, 2.0**63], [1]),
        ([decimal.Decimal("1.50"), decimal.Decimal("1.25")], [decimal.Decimal("1.5")], [2]),
        ([decimal.Decimal("0"), decimal.Decimal("-3")], [decimal.Decimal("0.00"), decimal.Decimal("-3.0")], []),
    ],
)
def test_foreign_keys(mine: Any, theirs: Any, expected: list[int]) -> None:
    assert rows({"t": {"x": mine}, "u": {"k.v": theirs}}, {"foreign_key": "u.k.v"}) == expected


def test_foreign_keys_of_other_types() -> None:
    (found,) = findings({"t": {"x": [1]}, "u": {"k": ["1"]}}, {"foreign_key": "u.k"})
    assert "int64 cannot be compared with string, the type of u.k" in found


def test_checks_across_many_pieces_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 200_000
    frame = pandas.DataFrame({"x": np.arange(count), "t": [f"t{row}" for row in range(count)]})
    frame.loc[[70_000, 150_000], "x"] = -1
    frame.loc[199_999, "t"] = "t5"
    assert findings(frame, {"min": 0}) == ["x: 2: below 0 [70001, 150001]"]
    assert findings(frame, {"unique": True}, ("x", "t")) == [
        "x: 1: equal to an earlier one [150001]",
        "t: 1: equal to an earlier one [200000]",
    ]
    assert findings(frame, {"monotonic": "increasing"}) == ["x: 2: below the value before [70001, 150001]"]
    monkeypatch.setattr(value_hashes, "LOOKED_AT", 0)
    assert findings(frame, {"unique": True}, ("t",)) == ["t: 1: equal to an earlier one [200000]"]


def test_texts_with_equal_hashes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pandas.util, "hash_array", lambda values: np.array([len(each) for each in values], dtype=np.uint64)
    )
    assert rows(["a", "b", "cc", "b", "dd"], {"unique": True}) == [4]


# ---- checks in a build


def build(folder: Path, text: str, bench: Bench | None = None, **options: Any) -> BuildOutput:
    files: dict[str, str | bytes] = {
        "a.csv": "x,t\n1,a\n2,\n30,c\n",
        "b.csv": "x\n-5\n",
        "c.txt": "",
        "build.yml": text,
    }
    return (bench or Bench()).build(write(folder, files), **options)


TWO = """contents:
  a: {file: a.csv, checks: [small, {column: t, not_null: true}]}
  g:
    checks: [small]
    b: {file: b.csv, checks: {positive: {column: x, min: 0, severity: warn}}}
    c: {file: c.txt}
checks:
  small: {column: x, max: 9}
"""


def test_037_all_failures_of_all_nodes_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        build(tmp_path, TWO.replace("severity: warn", "severity: error"))
    assert str(caught.value).splitlines() == [
        "Data check failed: small: a.x: 1 of 3 rows is above 9; row 3: 30",
        "Data check failed: not_null: a.t: 1 of 3 rows is missing; row 2",
        "Data check failed: positive: g/b.x: 1 of 1 rows is below 0; row 1: -5",
    ]
    assert caught.value.exit_code == 5
    first = caught.value.detail["checks"][0]
    assert first.pop("place").endswith("build.yml:8: checks")
    assert first == {
        "path": "a",
        "check": "small",
        "outcome": "failed",
        "rows": 3,
        "wrong": 1,
        "found": [{"kind": "max", "column": "x", "rows": 1, "samples": [[3, "30"]]}],
    }
    json.dumps(caught.value.to_wire())


def test_warnings_and_the_record(tmp_path: Path) -> None:
    text = TWO.replace("max: 9", "max: 30").replace("not_null: true}", "not_null: true, severity: warn}")
    built = build(tmp_path, text)
    assert built.warnings == [
        "Data check: not_null: a.t: 1 of 3 rows is missing; row 2",
        "Data check: positive: g/b.x: 1 of 1 rows is below 0; row 1: -5",
    ]
    assert built.record["checks"] == [
        {"path": "a", "check": "small", "outcome": "ok", "rows": 3, "rule": 0},
        {"path": "a", "check": "not_null", "outcome": "warned", "rows": 3, "wrong": 1, "rule": 1},
        {"path": "g/b", "check": "small", "outcome": "ok", "rows": 1, "rule": 0},
        {"path": "g/b", "check": "positive", "outcome": "warned", "rows": 1, "wrong": 1, "rule": 2},
    ]
    assert len(built.record["rules"]) == 3


def test_checks_do_not_change_the_package(tmp_path: Path) -> None:
    plain = build(tmp_path, "contents: {a: {file: a.csv}}\n")
    checked = build(tmp_path, "contents: {a: {file: a.csv, checks: [{row_count: 3}]}}\n")
    assert checked.manifest == plain.manifest
    assert "checks" not in plain.record


def test_tables_with_kept_bytes_reused_or_from_another_package_are_checked(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(["a", "b", "a"]).dictionary_encode(), "n": range(3)})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=2)
    bench = Bench()
    before = bench.packages["u/p"] = build(tmp_path, "contents: {p: {file: p.parquet}}\n", bench).manifest
    for source in ("file: p.parquet", "package: u/p", "package: u/p/p"):
        text = f"contents:\n  p: {{{source}, checks: [{{column: x, unique: true}}]}}\n"
        with pytest.raises(CheckFailed, match=r"p\.x: 1 of 3 rows is equal to an earlier one; row 3: 'a'"):
            build(tmp_path, text, bench, previous=before)


def test_long_lists_of_failures_are_truncated(tmp_path: Path) -> None:
    columns = ",".join(f"c{number}" for number in range(60))
    write(tmp_path, {"w.csv": f"{columns}\n{','.join('1' * 60)}\n"})
    with pytest.raises(CheckFailed) as caught:
        build(tmp_path, "contents:\n  w: {file: w.csv, checks: [{min: 2}]}\n")
    assert str(caught.value).splitlines()[-1] == "… and 10 more"


def test_iris_of_the_product_page() -> None:
    bench = Bench()
    built = bench.build(SAMPLES / "iris")
    assert built.record["checks"] == [
        {"path": "measurements", "check": name, "outcome": "ok", "rows": 150, "rule": rule}
        for rule, name in enumerate(("no_nulls", "ranges"))
    ]


def test_checks_of_a_node_that_was_not_built_are_skipped() -> None:
    bench = Bench()
    built = bench.build({"w": np.ones(3)})
    spec = NodeSpec("elsewhere", ValueSource(None), checks=(Check("c", {"min": 0}),))
    assert run_checks([spec], built.manifest, bench.objects) == []
    with pytest.raises(NodeNotFound):
        built.manifest.below("elsewhere")
