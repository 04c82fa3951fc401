"""No type of an earlier build persists for any kind of source: files, queries, functions."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.building.rebuild_bench import RebuildBench, make_blocks_small

ROWS = 150

KINDS: dict[str, Callable[[int], Any]] = {
    "integer": lambda row: row,
    "integer or none": lambda row: None if row % 3 == 0 else row,
    "one float": lambda row: 0.5 if row == 140 else row,
    "float": lambda row: row / 8,
    "boolean": lambda row: row % 2 == 0,
    "boolean or none": lambda row: None if row % 3 == 0 else row % 2 == 0,
    "text": lambda row: f"t{row}",
    "date": lambda row: f"2024-01-{row % 28 + 1:02}",
    "none": lambda row: None,
    "unsigned": lambda row: 2**63 + row,
}
NESTED: dict[str, Callable[[int], Any]] = {
    "list": lambda row: [row] * (row % 3),
    "list of floats": lambda row: [row / 8],
    "record": lambda row: {"x": row},
    "record with more": lambda row: {"x": row, "y": "z"},
}

Values = list[Any]


def as_jsonl(folder: Path, values: Values) -> None:
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"id": row, "n": each}) + "\n" for row, each in enumerate(values))
    )


def as_json(folder: Path, values: Values) -> None:
    (folder / "a.json").write_text(json.dumps([{"id": row, "n": each} for row, each in enumerate(values)]))


def as_gzip(folder: Path, values: Values) -> None:
    text = "".join(f"{row},{'' if each is None else each},{'p' * 20}\n" for row, each in enumerate(values))
    (folder / "a.csv.gz").write_bytes(gzip.compress(f"id,n,text\n{text}".encode()))


def as_sqlite(folder: Path, values: Values) -> None:
    path = folder / "a.db"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, n)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)",
            [(row, str(each) if isinstance(each, int) and each >= 2**63 else each) for row, each in enumerate(values)],
        )
        connection.commit()


def as_excel(folder: Path, values: Values) -> None:
    pd.DataFrame({"n": pd.Series(values, dtype=object)}).to_excel(folder / "a.xlsx", index_label="id")


FUNCTION = """
import pandas
def keys(path, m):
    return pandas.DataFrame({"keys": [repr(list(m))]})
def frame(path):
    return pandas.read_json(path, lines=True)
def file(path):
    to = path.with_name(".made.csv")
    frame(path).to_csv(to, index=False)
    return to
"""

# The function that writes each source, and its keywords in the build file.
SOURCES: dict[str, tuple[Callable[[Path, Values], None], str]] = {
    "jsonl": (as_jsonl, "file: a.jsonl"),
    "json": (as_json, "file: a.json"),
    "gzip": (as_gzip, "file: a.csv.gz"),
    "sqlite": (as_sqlite, "file: a.db, table: t"),
    "sql": (as_sqlite, "sql: select * from t order by id, connection: DB"),
    "excel": (as_excel, "file: a.xlsx"),
    "frame of a function": (as_jsonl, "python: 'make:frame', file: a.jsonl"),
    "file of a function": (as_jsonl, "python: 'make:file', file: a.jsonl"),
}


def rebuild(bench: RebuildBench, source: str, seed: int, edits: int) -> None:
    dice = random.Random(seed)
    write, bench.words = SOURCES[source]
    bench.url = f"sqlite:///{bench.folder / 'a.db'}"
    (bench.folder / "make.py").write_text(FUNCTION)
    kinds = KINDS | NESTED if "json" in source else KINDS
    values: Values = []
    for _ in range(edits):
        kind = kinds[dice.choice(list(kinds))]
        first = dice.choice([0, 0, 0, 100]) if values else 0
        values = [*values[:first], *(kind(row) for row in range(first, ROWS + dice.randrange(2)))]
        write(bench.folder, values)
        bench.check()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RebuildBench:
    make_blocks_small(monkeypatch)
    return RebuildBench(tmp_path / "data")


@pytest.mark.parametrize("source", SOURCES)
def test_rebuilds(bench: RebuildBench, source: str) -> None:
    rebuild(bench, source, 1, 3)


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        ("file: a.csv", "header: null, dtype: {a: str, b: str}", "header: null, dtype: {b: str, a: str}"),
        ("file: a.csv", "header: null, dtype: {0: str}", "header: null, dtype: {'0': str}"),
        ("file: a.csv", "na_values: [.inf]", "na_values: ['inf']"),
        ("python: 'make:keys', file: a.csv", "m: {a: 1, b: 2}", "m: {b: 2, a: 1}"),
        ("python: 'make:keys', file: a.csv", "m: {1: 2}", "m: {'1': 2, c: 3}"),
        ("python: 'make:keys', file: a.csv", "m: {'1': 2}", "m: {1: 2, c: 3}"),
    ],
)
def test_kwargs_that_differ_in_order_or_key_type(bench: RebuildBench, words: str, first: str, second: str) -> None:
    (bench.folder / "make.py").write_text(FUNCTION)
    bench.path.write_text("1,inf\n3,4\n")
    bench.words = words
    for kwargs in (first, second, first):
        bench.check(kwargs=kwargs)


@pytest.mark.big
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("source", SOURCES)
def test_many_rebuilds(bench: RebuildBench, source: str, seed: int) -> None:
    rebuild(bench, source, 10 + seed, 15)
