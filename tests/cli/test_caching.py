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
    listed = run("cache", "ls", "--json").json
    assert (listed["copies"], listed["size_bytes"]) == ([], 0)
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


def test_states_are_listed_with_what_keeps_them(run: Run, iris: Path) -> None:
    for number in range(4):
        (iris / "flowers.csv").write_text(f"petal\n{number}\n")
        build(run, iris)
    states = run("cache", "ls", "--json").json["states"]
    assert [each["kept_by"] for each in states] == [["build", "current"], ["build"], [], []]
    assert {each["is_pushed"] for each in states} == {False}
    oldest = f"me/flowers@sha256:{states[3]['hash']}"
    assert run("cache", "keep", oldest, "--json").json == {
        "package": "me/flowers",
        "hash": states[3]["hash"],
        "kept": True,
    }
    assert run("gc", "--keep", "0", "--yes", "--json").json["states"][0]["hash"] == states[2]["hash"]
    assert run("show", oldest).code == 0
    assert "cache keep (never pushed)" in run("cache", "ls").out
    assert run("cache", "keep", oldest, "--remove").code == 0
    assert len(run("gc", "--keep", "0", "--yes", "--json").json["states"]) == 1
    ended = run("show", oldest)
    assert (ended.code, "its space was freed; it was never pushed" in ended.err) == (3, True)
    assert run("verify").code == 0
    assert run("cache", "keep", "me/flowers/flowers").code == 2


def test_sizes_are_logical_and_unique(run: Run, iris: Path) -> None:
    (iris / "large.bin").write_bytes(bytes(100_000))
    for number in range(2):
        (iris / "flowers.csv").write_text(f"petal\n{number}\n")
        build(run, iris)
    build(run, iris / "large.bin", "me/same")
    used = run("cache", "du", "--json").json
    flowers, same = used["packages"]
    assert (flowers["package"], flowers["states"], same["states"]) == ("me/flowers", 2, 1)
    assert 200_000 < flowers["bytes_logical"] < 220_000
    assert 0 < flowers["bytes_unique"] < 20_000
    assert same["bytes_unique"] < 1_000 < 100_000 < same["bytes_logical"]
    assert used["bytes_shared"] == 100_000
    assert used["bytes_stored"] == 100_000 + flowers["bytes_unique"] + same["bytes_unique"]
    assert "me/flowers" in run("cache", "du").out
