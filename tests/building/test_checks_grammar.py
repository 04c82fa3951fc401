"""The grammar of `checks`: which checks a node gets, and every mistake with its line."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from datapkg.building.checks.rules import RULES
from datapkg.building.spec.model import Check
from datapkg.building.spec.parser import read_build_file
from datapkg.building.spec.rule_schema import KINDS
from datapkg.errors import InvalidBuildFile
from tests.building.builds import write

NAMED = "checks:\n  there: {column: x, not_null: true}\n  small: {column: x, max: 9}\n"


def read(folder: Path, contents: str, named: str = NAMED) -> dict[str, tuple[Check, ...]]:
    """Return the checks of each node."""
    write(folder, {"a.csv": "x\n1\n", "b.csv": "x\n1\n", "c.txt": "", "build.yml": f"{contents}{named}"})
    return {node.path: node.checks for node in read_build_file(folder / "build.yml").nodes}


def asked(folder: Path, text: str, named: str = NAMED) -> dict[str, Check]:
    """Return the checks of a node with `checks: text`, by name."""
    (checks,) = read(folder, f"contents:\n  a: {{file: a.csv, checks: {text}}}\n", named).values()
    return {check.name: check for check in checks}


def problems(folder: Path, contents: str, named: str = NAMED) -> list[str]:
    with pytest.raises(InvalidBuildFile) as caught:
        read(folder, contents, named)
    return [f"{place}: {what}".removeprefix(f"{folder / 'build.yml'}:") for place, what in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[there, small]", ["there", "small"]),
        ("there", ["there"]),
        ("'there, small'", ["there", "small"]),
        ("there small", ["there", "small"]),
        ("{there: , small: }", ["there", "small"]),
        ("[{column: x, min: 0, max: 5}, there]", ["min, max", "there"]),
        ("[{column: x, min: 0}, {column: x, min: 1}]", ["min", "min"]),
        ("{mine: {column: x, min: 0}}", ["mine"]),
        ("[]", []),
        ("", []),
    ],
)
def test_forms_of_checks(tmp_path: Path, text: str, names: list[str]) -> None:
    (checks,) = read(tmp_path, f"contents:\n  a: {{file: a.csv, checks: {text}}}\n").values()
    assert [check.name for check in checks] == names


def test_034_inline_definition_overrides_the_named_one(tmp_path: Path) -> None:
    check = asked(tmp_path, "{small: {column: x, min: 3, severity: warn}}")["small"]
    assert (check.rules, check.severity) == ({"min": 3}, "warn")


def test_arguments(tmp_path: Path) -> None:
    named = """checks:
  all:
    columns: [x, no, 1.10]
    not_null: true
    unique: yes
    type: [int, "timestamp[ms]", integer]
    min: 0
    max: 2024-01-02
    between: [a, b]
    regex: 123
    enum: [no, yes]
    monotonic: strictly decreasing
    foreign_key: g/a.x
    row_count: {min: 1}
  off: {column: x, not_null: false, monotonic: no, row_count: 5}
"""
    check = asked(tmp_path, "[all]", named)["all"]
    assert check.columns == ("x", "no", "1.10")
    assert check.rules == {
        "not_null": True,
        "unique": True,
        "type": ("int", "timestamp[ms]", "int"),
        "min": 0,
        "max": datetime.date(2024, 1, 2),
        "between": ("a", "b"),
        "regex": "123",
        "isin": [False, True],
        "monotonic": "strictly decreasing",
        "foreign_key": "g/a.x",
        "row_count": (1, None),
    }
    assert asked(tmp_path, "[off]", named)["off"].rules == {"row_count": (5, 5)}
    assert check.place.endswith("build.yml:5: checks")


def test_every_kind_has_a_rule() -> None:
    assert RULES.keys() | {"type", "row_count", "sql", "python"} == KINDS.keys()


def test_checks_of_groups_are_inherited_and_nodes_add_to_them(tmp_path: Path) -> None:
    contents = """contents:
  g:
    checks: [there]
    a: {file: a.csv, checks: [small]}
    b: {file: b.csv, checks: {there: {column: x, min: 0}}}
    c: {file: c.txt}
    deep:
      checks: {small: {column: x, max: 3}}
      a: {file: a.csv}
      p: {package: u/p}
      "[b]*.csv": {checks: [small]}
"""
    found = {path: {each.name: each.rules for each in checks} for path, checks in read(tmp_path, contents).items()}
    there, small = {"not_null": True}, {"max": 3}
    assert found == {
        "g/a": {"there": there, "small": {"max": 9}},
        "g/b": {"there": {"min": 0}},
        "g/c": {},
        "g/deep/a": {"there": there, "small": small},
        "g/deep/p": {"there": there, "small": small},
        "g/deep/b": {"there": there, "small": small},
    }


def test_checks_is_a_node_if_and_only_if_it_has_a_source(tmp_path: Path) -> None:
    contents = """contents:
  g: {checks: {file: a.csv}}
  h: {checks: {package: u/p}, file: {package: u/p}}
  i: {checks: {files: {column: x, min: 0}}, a: {file: a.csv}}
"""
    found = {path: [check.name for check in checks] for path, checks in read(tmp_path, contents).items()}
    assert found == {"g/checks": [], "h/checks": [], "h/file": [], "i/a": ["files"]}


def test_033_error_for_unknown_checks_lists_the_known_ones(tmp_path: Path) -> None:
    assert problems(tmp_path, "contents:\n  a: {file: a.csv, checks: [smal, there]}\n") == [
        "2: contents.a.checks: unknown check 'smal'; did you mean 'small'? there are there, small"
    ]
    assert problems(tmp_path, "contents:\n  a: {file: a.csv, checks: x}\n", "") == [
        "2: contents.a.checks: unknown check 'x'; none is defined in `checks` at the top"
    ]


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    named = """checks:
  a: {colum: x, min: 0}
  b: {column: x, sql: }
  c: {column: x, python: "f:g"}
  d: {column: x}
  e: {unique: true}
  f: {column: x, columns: [y], min: 0}
  g: {columns: [], min: 0}
  h: {column: x, min: 0, severity: warning}
  i: 5
  j: {column: x, isin: [1], enum: [1]}
  k: {}
"""
    assert problems(tmp_path, "contents: {}\n", named) == [
        "3: checks.a.colum: unknown key 'colum'; did you mean 'column'?",
        "4: checks.b.sql: expected an SQL expression that each row fulfils, or a query that finds no row, got nothing",
        "5: checks.c.python: there is no file 'f.py'",
        f"6: checks.d: has no rule; there are {', '.join(KINDS)}",
        "7: checks.e: `unique` needs `column` or `columns`",
        "8: checks.f: has both `column` and `columns`",
        "9: checks.g.columns: expected the name of a column, or a list of names",
        "10: checks.h.severity: expected error or warn, got 'warning'",
        "11: checks.i: expected a check such as {column: …, min: 0}, got a scalar",
        "12: checks.j: `enum` and `isin` are the same",
        f"13: checks.k: has no rule; there are {', '.join(KINDS)}",
    ]


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("not_null: 1", "expected true, got '1'"),
        ("unique: [x]", "expected one value, got a list"),
        ("min: ", "expected a number, a date or text, got nothing"),
        ("min: true", "expected a number, a date or text, got 'true'"),
        ("max: .nan", "expected a number, a date or text, got '.nan'"),
        ("max: 2024-13-45", "looks like a timestamp but is not one"),
        ("between: 5", "expected [lowest, highest], got '5'"),
        ("between: [5, 1]", "5 is above 1"),
        ("between: [5, a]", "5 and a are of two kinds"),
        ("between: [2024-01-02, 2024-01-01T00:00:00]", "is above"),
        ("regex: '('", "'(' is not a regular expression: missing ): ("),
        ("regex: 'a)(b'", "is not a regular expression: unexpected )"),
        ("regex: '(?=x)'", "is not a regular expression: invalid perl operator: (?="),
        ("isin: []", "expected a list of the values that are allowed, got an empty list"),
        ("enum: a", "expected a list of the values that are allowed, got 'a'"),
        ("enum: 'lambda x: x in y'", "expected a list of the values that are allowed"),
        ("isin: [a, ~]", "a missing value is not one of the values"),
        ("isin: [NO, SE]", "expected values of one kind, got False (boolean) and 'SE' (text); quote what is text"),
        (
            "monotonic: up",
            "expected increasing, decreasing, strictly increasing, strictly decreasing or true, got 'up'",
        ),
        ("foreign_key: x", "expected node.column, got 'x'"),
        ("foreign_key: {a: b}", "expected node.column, got a mapping"),
        ("row_count: -1", "expected a number of rows, got '-1'"),
        ("row_count: {least: 1}", "expected a number of rows, or {min: …, max: …}"),
        ("row_count: {min: 5, max: 1}", "5 is above 1"),
        ("type: flot", "unknown type 'flot'; did you mean 'float'? there are int, float,"),
        ("type: []", "expected the name of a type, got an empty list"),
    ],
)
def test_wrong_arguments(tmp_path: Path, rule: str, what: str) -> None:
    (found,) = problems(tmp_path, "contents: {}\n", f"checks:\n  c: {{column: x, {rule}}}\n")
    assert found.startswith(f"3: checks.c.{rule.split(':')[0]}: ")
    assert what in found


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ("{file: c.txt, checks: [there]}", "2: contents.a.checks: checks are for tables, and transform id gives none"),
        (
            "{file: a.csv, checks: {column: x, min: 0}}",
            "2: contents.a.checks: expected names of checks, got `column`; write a check without a name in a list",
        ),
        (
            "{file: a.csv, checks: [[there]]}",
            "2: contents.a.checks[0]: expected a check such as {column: …, min: 0}, got a list",
        ),
        ("{file: a.csv, checks: [{sql: [x]}]}", "2: contents.a.checks[0].sql: expected an SQL expression"),
        ("{file: a.csv, transform: idd, checks: [there]}", "2: contents.a.transform: unknown transform 'idd'"),
    ],
)
def test_mistakes_of_a_node(tmp_path: Path, node: str, what: str) -> None:
    found: list[Any] = problems(tmp_path, f"contents:\n  a: {node}\n")
    assert found[0].startswith(what)
    assert {each.split(":")[0] for each in found} == {"2"}


def test_checks_of_a_glob_need_tables(tmp_path: Path) -> None:
    assert problems(tmp_path, "contents:\n  '*.txt': {checks: [there]}\n") == [
        "2: contents.*.txt.checks: checks are for tables, and transform id gives none"
    ]
    found = read(tmp_path, "contents:\n  '?.*': {checks: [there]}\n")
    assert {path: len(checks) for path, checks in found.items()} == {"a": 1, "b": 1, "c.txt": 0}
