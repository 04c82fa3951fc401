"""`log --graph` draws states as `git log --graph` draws commits."""

from __future__ import annotations

from typing import Any

import pytest

from datapkg.cli.log_graph import graph_lines, state_rows
from tests.cli.conftest import Person

GRAPHS = {
    "one line": ("c:b b:a a", "* c|* b|* a"),
    "a fork": ("d:b c:b b:a a", r"* d|@ * c|@/|* b|* a"),
    "a merge": ("m:c,d d:b c:b b", r"* m|@\|@ * d|* @ c|@/|* b"),
    "three lanes": ("f:a e:b d:c,a c:b b:a a", r"* f|@ * e|@ @ * d|@_@/@|@ @ * c|@ @/|@ * b|@/|* a"),
    "a parent that is not listed": ("c:x b:y", "* c|@ * b"),
    "a new lane beyond another": ("e:a d:b,c c:a b:a a", r"* e|@ * d|@ @\|@ @ * c|@_@/|@ * b|@/|* a"),
    "a lane that is used again": ("d:a c b:a a", "* d|@ * c|@ * b|@/|* a"),
}


@pytest.mark.parametrize(("states", "drawn"), GRAPHS.values(), ids=GRAPHS)
def test_lines(states: str, drawn: str) -> None:
    """Draw states such as `child:parent,parent`; in `drawn`, lines are divided by `|` and `@` is a lane."""
    rows = [
        (name, each.split(",") if each else []) for name, _, each in (text.partition(":") for text in states.split())
    ]
    found = [f"{text}{'' if number is None else f' {rows[number][0]}'}" for text, number in graph_lines(rows)]
    assert [line.replace("|", "@") for line in found] == drawn.split("|")


def entry(event: str, hash: str, *parents: str) -> dict[str, Any]:
    return {"event": event, "hash": hash, "parents": [{"hash": each} for each in parents]}


def test_a_state_has_one_row_for_its_events() -> None:
    entries = [
        entry("install", "b"),
        entry("push", "b", "x", "a"),
        entry("build", "c", "b"),
        entry("build", "b", "a"),
        entry("push", "a"),
    ]
    rows = state_rows(entries)
    assert [(row.hash, row.parents, [each["event"] for each in row.entries]) for row in rows] == [
        ("c", ("b",), ["build"]),
        ("b", ("x", "a"), ["install", "push", "build"]),
        ("a", (), ["push"]),
    ]


def test_a_state_that_was_pushed_again_has_two_rows() -> None:
    rows = state_rows([entry("push", "a", "b"), entry("push", "b", "a"), entry("push", "a", "x")])
    assert [(row.hash, row.parents) for row in rows] == [("a", ("b",)), ("b", ("a",)), ("a", ("x",))]


def test_builds_forced_and_based_pushes(ada: Person, tmp_path: Any) -> None:
    package, path = f"{ada.name}/numbers", tmp_path / "n.csv"

    def build(text: str) -> str:
        path.write_text(f"n\n{text}\n")
        hash: str = ada("build", package, str(path), "--json").json["hash"]
        return hash

    def pushed(*options: str) -> None:
        ended = ada("push", package, *options)
        assert ended.code == 0, ended.err

    first = build("1")
    pushed("-m", "one")
    second = build("2")
    pushed("-m", "two")
    assert ada("install", f"{package}@sha256:{first}").code == 0
    third = build("3")
    pushed("--force", "-m", "three")
    local = build("4")
    entries = ada("log", package, "--remote", "--json").json["log"]
    assert [(each["message"], each["parent"], each["parents"]) for each in entries] == [
        ("three", {"hash": second}, [{"hash": first}]),
        ("two", {"hash": first}, [{"hash": first}]),
        ("one", None, []),
    ]
    assert all(each["bytes_logical"] > 0 for each in entries)
    lines = ada("log", package, "--graph").out.splitlines()
    shown = [(local, "build"), (third, "build, push"), (second, "build, push"), (first, "build, push, install")]
    for line, (state, events) in zip([line for line in lines if "*" in line], shown, strict=True):
        assert state[:8] in line
        assert f"  {events}  " in line
    assert [line[:4].rstrip() for line in lines] == ["*", "*", "| *", "|/", "*"]
    assert ada("log", package, "--graph", "--changes").code == 2
