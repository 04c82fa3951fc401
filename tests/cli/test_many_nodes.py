"""Commands on a package of many nodes print the first ones, and take no longer than a build that changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_rebuilding import SETTLED_S


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    """Write a folder of 1,010 files, and build me/many from it."""
    folder = tmp_path / "many"
    (folder / "raw").mkdir(parents=True)
    for number in range(1_010):
        (folder / "raw" / f"{number:04}.txt").write_text("x")
    time.sleep(SETTLED_S)
    assert run("build", "me/many", str(folder)).code == 0
    return folder


def test_show_lists_the_first_nodes_and_counts_the_others(run: Run, folder: Path) -> None:
    text = run("show", "me/many").out
    assert "\n  1,010 nodes, 1.0 kB\n" in text
    assert "\n… and 10 more nodes; --json has all\n" in text
    assert ("0999.txt" in text, "1000.txt" in text) == (True, False)
    found = run("show", "me/many", "--json").json
    assert (len(found["nodes"]), found["node_count"], found["node_bytes"]) == (1_010, 1_010, 1_010)
    part = run("show", "me/many/raw/1009.txt").out
    assert ("more nodes" in part, "\n  1 B\n" in part) == (False, True)


def test_status_lists_the_first_changes_of_each_kind(run: Run, folder: Path) -> None:
    for path in sorted(folder.glob("raw/*"))[:150]:
        path.write_text("changed")
    (folder / "new.txt").write_text("new")
    text = run("status", "me/many").out
    assert text.count("  changed  raw/") == 100
    assert "\n  changed  … 50 more; --json has all\n" in text
    assert "\n  added    new.txt\n" in text
    assert len(run("status", "me/many", "--json").json["packages"][0]["changed"]) == 150


def test_status_looks_at_names_and_stats_only_if_nothing_changed(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("datapkg.api.status.compare", None)
        assert "nothing changed" in run("status", "me/many").out
    assert run("build", "me/many", str(folder), "--json").json["nodes"] == {"built": 0, "reused": 1_010}
    (folder / "raw" / "0000.txt").unlink()
    assert "  removed  raw/0000.txt" in run("status", "me/many").out
