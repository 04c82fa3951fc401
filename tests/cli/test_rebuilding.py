"""Real rebuilds: what is read, what is reported, and what `status` lists as changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from datapkg.format.names import Ref
from datapkg.home import Home
from tests.cli.conftest import Run

# A recorded file time is trusted only if the file was a little older when it was recorded.
SETTLED_S = 0.06


@pytest.fixture
def sales(tmp_path: Path, run: Run) -> Path:
    """Write a folder with two tables and a file, and build me/sales from it."""
    folder = tmp_path / "sales"
    (folder / "raw").mkdir(parents=True)
    (folder / "may.csv").write_text("day,sum\n1,10\n2,20\n")
    (folder / "june.csv").write_text("day,sum\n1,11\n2,21\n")
    (folder / "raw" / "note.txt").write_text("hello\n")
    time.sleep(SETTLED_S)
    assert run("build", "me/sales", str(folder)).code == 0
    return folder


def events() -> int:
    return len(list(Home().store.refs.log(Ref("me", "sales"))))


def explained(run: Run, folder: Path, *options: str) -> dict[str, str]:
    reasons: dict[str, str] = run("build", "me/sales", str(folder), "--explain", "--json", *options).json["explain"]
    return reasons


def test_no_changes(run: Run, sales: Path) -> None:
    again = run("build", "me/sales", str(sales), "--json").json
    assert again["nodes"] == {"built": 0, "reused": 3}
    assert events() == 1
    assert set(explained(run, sales).values()) == {"unchanged: size and times of the file are the same"}
    assert run("status", "me/sales", "-q").out == ""
    assert "nothing changed" in run("status", "me/sales").out


def test_lines_to_type_next_name_the_registry(run: Run, sales: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    line = f"install it  datapkg install me/sales --registry {registry}\n"
    assert line in run("build", "me/sales", str(sales), "--push", "--registry", registry).out
    assert line in run("edit", "me/sales", "--move", "may", "spring/may", "--registry", registry).out
    assert line in run("append", "me/sales", str(sales / "may.csv"), "--registry", registry).out
    shown = run("show", "me/sales", "--remote", "--registry", registry).out
    assert line in shown
    assert f'", registry="{registry}")\n' in shown
    assert run(*line.split()[3:]).code == 0


def test_one_changed_file(run: Run, sales: Path) -> None:
    before = run("show", "me/sales", "--json").json["hash"]
    (sales / "may.csv").write_text("day,sum\n1,10\n2,99\n")
    assert explained(run, sales)["may"] == "read: the file changed"
    assert run("show", "me/sales", "--json").json["hash"] != before
    assert run("build", "me/sales", str(sales), "--json").json["nodes"] == {"built": 0, "reused": 3}
    assert "99" in run("cat", "me/sales/may").out


def test_edit_of_equal_size_and_time_is_detected(run: Run, sales: Path) -> None:
    path = sales / "may.csv"
    for number in range(10, 30):
        status = path.stat()
        path.write_text(f"day,sum\n1,{number}\n2,20\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert run("build", "me/sales", str(sales)).code == 0
        assert f"1,{number}" in run("cat", "me/sales/may").out


def test_touched_file_is_hashed_but_not_parsed(run: Run, sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(sales / "may.csv")
    reasons = explained(run, sales)
    assert reasons["may"] == "unchanged: the file was touched, its bytes are the same"
    assert reasons["june"] == "unchanged: size and times of the file are the same"


def test_known_bytes_under_another_name_are_reused(run: Run, sales: Path) -> None:
    (sales / "may.csv").write_bytes((sales / "june.csv").read_bytes())
    (sales / "raw" / "may.csv").write_bytes((sales / "june.csv").read_bytes())
    ended = run("build", "me/sales", str(sales), "--explain", "--json").json
    assert ended["explain"]["may"] == ended["explain"]["raw/may"] == "known: an earlier build read the same bytes"
    assert ended["nodes"] == {"built": 0, "reused": 4}


def test_changed_options_are_named(run: Run, sales: Path) -> None:
    lines = "contents:\n  may: {file: may.csv, kwargs: {nrows: 1}}\n  june: {file: june.csv, transform: id}\n"
    (sales / "build.yml").write_text(lines)
    reasons = explained(run, sales)
    assert reasons["may"] == "read: kwargs.nrows not set → 1"
    assert reasons["june"] == "read: transform csv → id"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (
            "{dtype: {day: str, sum: str}}",
            "{dtype: {sum: str, day: str}}",
            "kwargs.dtype {'day': 'str', 'sum': 'str'} → ",
        ),
        ("{nrows: 1, skiprows: 0}", "{skiprows: 0, nrows: 1}", "the order of kwargs, or the type of a value, changed"),
        (
            "{header: 0, dtype: {0: str}}",
            "{header: 0, dtype: {'0': str}}",
            "the order of kwargs, or the type of a value",
        ),
        ("{nrows: 1}", "{nrows: 1, encoding: utf-8}", "kwargs.encoding not set → utf-8"),
    ],
)
def test_status_detects_the_same_kwargs_changes_as_a_build(
    run: Run, sales: Path, first: str, second: str, reason: str
) -> None:
    """The result is equal in each case, so `status` lists the change until the next build."""
    for kwargs in (first, second):
        (sales / "build.yml").write_text(f"contents:\n  may: {{file: may.csv, kwargs: {kwargs}}}\n")
        if kwargs == second:
            assert run("status", "me/sales", "--json").json["packages"][0]["changed"] == ["may"]
        reasons = explained(run, sales)
        assert run("status", "me/sales", "--json").json["packages"][0]["changed"] == []
    assert reasons["may"].startswith(f"read: {reason}")


def test_force_reads_all(run: Run, sales: Path) -> None:
    ended = run("build", "me/sales", str(sales), "--force", "--explain")
    assert "0 nodes built, 3 reused (3 read again: the same data)" in ended.out
    assert [line.partition(": ")[2] for line in ended.out.splitlines() if ": read" in line] == ["read: --force"] * 3
    (sales / "may.csv").write_text("day,sum\n1,10\n")
    assert "1 node built, 2 reused (2 read again: the same data)" in run("build", "me/sales", str(sales), "--force").out


def test_result_does_not_depend_on_the_index(run: Run, sales: Path) -> None:
    before = run("show", "me/sales", "--json").json["hash"]
    for path in Home().cache.glob("index.db*"):
        path.unlink()
    assert run("build", "me/sales", str(sales), "--json").json["hash"] == before


def test_corrupt_index_is_a_miss(run: Run, sales: Path) -> None:
    (Home().cache / "index.db").write_bytes(os.urandom(8192))
    assert run("build", "me/sales", str(sales), "--json").json["nodes"]["reused"] == 3


def test_missing_objects_are_built_again(run: Run, sales: Path) -> None:
    for pack in (Home().store.folder / "packs").iterdir():
        pack.unlink()
    assert run("build", "me/sales", str(sales)).code == 0
    assert run("verify").code == 0
    assert "10" in run("cat", "me/sales/may").out


def test_dry_run_stores_nothing(run: Run, sales: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in Home().data.rglob("*") if "cache" not in path.parts}
    (sales / "may.csv").write_text("day,sum\n7,7\n")
    tried = run("build", "me/sales", str(sales), "--dry-run")
    assert tried.out.startswith("would build me/sales@sha256:")
    after = {path: path.stat().st_mtime_ns for path in Home().data.rglob("*") if "cache" not in path.parts}
    assert before.keys() == after.keys()
    assert "10" in run("cat", "me/sales/may").out
    made = run("build", "me/sales", str(sales), "-q").out
    assert tried.out.startswith(f"would build {made.strip()}")


def test_checks_run_in_a_dry_run(run: Run, sales: Path) -> None:
    (sales / "build.yml").write_text("contents: {may: {file: may.csv, checks: {small: {column: sum, max: 9}}}}\n")
    ended = run("build", "me/sales", str(sales), "--dry-run")
    assert ended.code == 5
    assert "Data check failed: small" in ended.err


def test_nodes_built_before_a_failure_are_reused(run: Run, sales: Path) -> None:
    (sales / "july.csv").write_text("a\n1\n")
    (sales / "may.csv").write_text('day,sum\n1,"2\n')
    (sales / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    time.sleep(SETTLED_S)
    ended = run("build", "me/sales", str(sales))
    assert ended.code == 5
    assert "2 sources cannot be built" in ended.err
    assert "may.csv" in ended.err
    assert "broken.parquet" in ended.err
    (sales / "broken.parquet").unlink()
    (sales / "may.csv").write_text("day,sum\n1,2\n")
    reasons = explained(run, sales)
    assert reasons["july"] == "known: an earlier build read the same bytes"
    assert reasons["may"] == "read: the file changed"


class TestStatus:
    def test_all_kinds_of_changes(self, run: Run, sales: Path) -> None:
        (sales / "may.csv").write_text("day,sum\n9,9\n")
        (sales / "june.csv").rename(sales / "juni.csv")
        (sales / "raw" / "note.txt").unlink()
        (sales / "new.bin").write_bytes(b"new")
        found = run("status", "me/sales", "--json").json["packages"][0]
        assert (found["added"], found["changed"], found["removed"]) == (["new.bin"], ["may"], ["raw/note.txt"])
        assert found["renamed"] == [["june", "juni"]]
        text = run("status", "me/sales").out
        assert "  changed  may\n" in text
        assert "  renamed  june → juni\n" in text
        assert f"datapkg build me/sales {sales}" in text

    def test_all_packages_built_from_the_working_directory(
        self, run: Run, sales: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(sales.parent)
        assert [each["package"] for each in run("status", "--json").json["packages"]] == ["me/sales"]
        monkeypatch.chdir("/")
        elsewhere = sales.parent / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        ended = run("status")
        assert ended.code == 3
        assert "no package was built from this folder" in ended.err

    def test_package_never_built(self, run: Run) -> None:
        ended = run("status", "me/nothing")
        assert ended.code == 3
        assert "datapkg build me/nothing PATH" in ended.err
