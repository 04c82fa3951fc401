"""`datapkg check` prints every check with its outcome and stores nothing; `show` displays checks afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

import datapkg
from datapkg.home import Home
from tests.building.builds import write
from tests.cli.conftest import Run

BUILD_FILE = """\
contents:
  sales:
    file: sales.csv
    checks: [filled, {column: shop, foreign_key: shops.id}, small, {sql: amount >= 0, severity: warn}]
  shops: {file: shops.csv}
  other: {file: other.csv}
checks:
  filled: {columns: [id], not_null: true}
  small: {column: amount, max: 10, severity: warn}
"""
GOOD = {"sales.csv": "id,shop,amount\n1,a,5\n2,b,20\n", "shops.csv": "id\na\nb\n", "other.csv": "x\n1\n"}


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    return write(tmp_path / "sales", {**GOOD, "build.yml": BUILD_FILE})


def test_every_check_with_its_outcome(run: Run, sales: Path) -> None:
    ended = run("check", str(sales))
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "ok      sales  filled",
        "ok      sales  foreign_key",
        "warned  sales  small",
        "        sales.amount: 1 of 2 rows is above 10; row 2: 20",
        "ok      sales  sql",
        "4 checks: 3 ok, 1 warned",
    ]
    assert run("ls").out.startswith("nothing is installed here")


def test_failure_sets_the_exit_code(run: Run, sales: Path) -> None:
    write(sales, {"sales.csv": "id,shop,amount\n1,a,-5\n,x,2\n"})
    ended = run("check", str(sales / "build.yml"), "--json")
    assert ended.code == 5
    assert (ended.json["ok"], ended.json["warned"], ended.json["failed"]) == (1, 1, 2)
    first, _, _, last = ended.json["checks"]
    assert first["place"].endswith("build.yml:8: checks")
    assert (first["outcome"], first["wrong"]) == ("failed", 1)
    assert first["found"] == [{"kind": "not_null", "column": "id", "rows": 1, "samples": [[2, ""]]}]
    assert last["lines"] == ["sales: 1 of 2 rows violates `amount >= 0`; row 1: amount: -5"]
    assert (ended.error["code"], ended.error["message"]) == ("build_failed", "2 of 4 checks failed")
    assert "failed  sales  filled\n        sales.id: 1 of 2 rows is missing; row 2\n" in run("check", str(sales)).out


def test_nothing_is_stored(run: Run, sales: Path) -> None:
    assert run("check", str(sales)).code == 0
    home = Home()
    assert list(home.store.objects) == []
    assert not list(home.store.tmp.glob("*"))
    assert not home.users()


def test_only_what_is_needed_is_read(run: Run, sales: Path) -> None:
    write(sales, {"other.csv": 'x\n"unclosed\n', "shops.csv": "id\na\nb\n"})
    assert run("check", str(sales)).code == 0
    write(sales, {"shops.csv": '"unclosed'})
    ended = run("check", str(sales))
    assert (ended.code, "'shops.csv' cannot be read as csv" in ended.err) == (5, True)


def test_default_is_the_working_directory(run: Run, sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sales)
    assert run("check").out.endswith("4 checks: 3 ok, 1 warned\n")


def test_nothing_to_check(run: Run, tmp_path: Path) -> None:
    ended = run("check", str(write(tmp_path / "plain", GOOD)))
    assert (ended.code, ended.out) == (0, "0 checks: 0 ok\n")
    assert run("check", str(tmp_path / "nowhere")).code == 3


def test_from_python(sales: Path) -> None:
    found = datapkg.check(sales)
    assert (found.count("ok"), found.count("failed")) == (3, 0)
    assert [each["outcome"] for each in found.results] == ["ok", "ok", "warned", "ok"]


def test_show_displays_checks(run: Run, sales: Path) -> None:
    assert run("build", "me/sales", str(sales)).code == 0
    assert "\nchecks: 3 ok, 1 warned\n  warned  sales  small  1 of 2 rows\n" in run("show", "me/sales").out
    shown = run("show", "me/sales", "--json").json["checks"]
    assert shown[2].pop("definition").startswith("{columns: [")
    assert shown[2] == {"path": "sales", "check": "small", "outcome": "warned", "rows": 2, "wrong": 1}
    assert len(run("show", "me/sales/sales", "--json").json["checks"]) == 4
    assert run("show", "me/sales/other", "--json").json["checks"] == []
    assert "checks:" not in run("show", "me/sales/other").out


def test_show_displays_checks_added_later(run: Run, sales: Path) -> None:
    write(sales, {"build.yml": BUILD_FILE.replace("small, ", "")})
    before = run("build", "me/sales", str(sales), "--json").json["hash"]
    write(sales, {"build.yml": BUILD_FILE})
    assert run("build", "me/sales", str(sales), "--json").json["hash"] == before
    assert len(run("show", "me/sales", "--json").json["checks"]) == 4
