"""Arrow caches on the command line: create, list, delete."""

from __future__ import annotations

from pathlib import Path

import datapkg
from datapkg.home import Home
from tests.cli.conftest import Run


def build(run: Run, iris: Path, package: str = "me/flowers") -> None:
    assert run("build", package, str(iris)).code == 0


def test_package_is_cached_listed_and_freed(run: Run, iris: Path) -> None:
    build(run, iris)
    ended = run("cache", "warm", "me/flowers")
    assert ended.code == 0
    assert "flowers  2 rows" in ended.out
    assert "1 table of me/flowers made warm" in ended.out
    assert "datapkg cache rm me/flowers" in ended.out
    again = run("cache", "warm", "me/flowers/flowers", "--json").json
    assert [(each["path"], each["rows"], each["made"]) for each in again["tables"]] == [("flowers", 2, False)]
    assert "me/flowers/flowers" in run("cache", "ls").out
    listed = run("cache", "ls", "--json").json
    assert [each["path"] for each in listed["copies"]] == ["flowers"]
    assert listed["copies"][0]["whole"]
    assert listed["size_bytes"] == again["size_bytes"] > 0
    tried = run("cache", "rm", "--dry-run", "--json").json
    assert (len(tried["removed"]), tried["dry_run"]) == (1, True)
    assert len(run("cache", "ls", "--json").json["copies"]) == 1
    assert "freed" in run("cache", "rm", "me/flowers").out
    assert run("cache", "ls", "--json").json == {"copies": [], "size_bytes": 0}
    assert "datapkg cache warm USER/NAME" in run("cache", "ls").out
    assert datapkg.load("me/flowers")["flowers"]().shape == (2, 2)  # type: ignore[operator]


def test_only_the_named_cache_is_freed(run: Run, iris: Path) -> None:
    build(run, iris)
    (iris / "other.csv").write_text("a\n1\n")
    build(run, iris, "me/more")
    for package in ("me/flowers", "me/more"):
        assert run("cache", "warm", package).code == 0
    assert len(run("cache", "ls", "--json").json["copies"]) == 2
    assert [each["path"] for each in run("cache", "rm", "me/more/other", "--json").json["removed"]] == ["other"]
    assert [each["path"] for each in run("cache", "ls", "--json").json["copies"]] == ["flowers"]
    assert run("rm", "me/flowers").code == 0
    assert run("cache", "ls", "--json").json["copies"] == []


def test_stale_caches_are_shown(run: Run, iris: Path) -> None:
    build(run, iris)
    assert run("cache", "warm", "me/flowers").code == 0
    (copy,) = (Home().cache / "warm").glob("*.arrow")
    copy.chmod(0o600)
    copy.write_bytes(b"")
    assert "stale" in run("cache", "ls").out
    assert run("cache", "warm", "me/flowers", "--json").json["tables"][0]["made"]
    assert "stale" not in run("cache", "ls").out


def test_package_without_a_table_is_rejected(run: Run, iris: Path) -> None:
    build(run, iris)
    assert run("cache", "warm", "me/flowers/README.md", "--json").error["code"] == "invalid"
    assert run("cache", "warm", "me/flowers/nothing", "--json").error["code"] == "not_found"
    assert run("cache", "warm", "me/gone", "--json").error["code"] == "not_found"
    assert run("cache", "rm", "me/gone", "--json").json["removed"] == []
    assert run("cache", "rm", "me/gone").out == "no table of me/gone is warm\n"
