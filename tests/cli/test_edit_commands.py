"""Output of append, sync and merge as text and JSON, and how a watch ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from tests.cli.conftest import Run
from tests.live_registry import ROOT, LiveRegistry


@pytest.fixture
def me(registry: LiveRegistry, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a user who is logged in to the registry."""
    name = f"u{os.urandom(4).hex()}"
    monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
    monkeypatch.setenv("DATAPKG_TOKEN", registry.add_user(name))
    return name


def test_sync_prints_changes(run: Run, me: str, iris: Path) -> None:
    first = run("sync", str(iris), f"{me}/p")
    assert first.code == 0, first.err
    assert first.out.startswith(f"+3 ~0 -0  {me}/p@sha256:")
    assert f"{me}/p is new and private" in first.out
    again = run("sync", str(iris), f"{me}/p")
    assert again.out.startswith(f"nothing to do: {me}/p@sha256:")
    (iris / "new file.txt").write_text("n")
    (iris / "README.md").unlink()
    dry = run("sync", str(iris), f"{me}/p", "--delete", "--dry-run")
    assert dry.out.splitlines()[1:3] == ["  + new file.txt", "  - README.md"]
    assert dry.out.splitlines()[3].startswith("  would send 2 objects, ")
    kept = run("sync", str(iris), f"{me}/p", "--json").json
    assert (kept["counts"], kept["kept"], kept["dry_run"]) == ("+1 ~0 -0", ["README.md"], False)
    assert kept["pushed"]["objects_sent"] == 2
    assert "--delete removes them" in run("sync", str(iris), f"{me}/p").out
    gone = run("sync", str(iris), f"{me}/p", "--delete", "-q")
    assert gone.out == f"{me}/p@sha256:{run('show', f'{me}/p', '--json').json['hash']}\n"
    assert dry.out.splitlines()[0].endswith(gone.out.strip())


def test_sync_refuses_likely_mistakes(run: Run, me: str, iris: Path) -> None:
    run("sync", str(iris), f"{me}/p")
    Path("empty").mkdir()
    refused = run("sync", "empty", f"{me}/p", "--delete")
    assert (refused.code, "--allow-empty" in refused.err) == (2, True)
    assert run("sync", "nothing", f"{me}/p").code == 3
    assert run("sync", str(iris / "README.md"), f"{me}/p").code == 2
    assert "--to 'a group'" in run("sync", str(iris), f"{me}/p/a group").err
    assert run("sync", str(iris), f"{me}/p", "--watch", "--dry-run").code == 2
    assert (
        run("sync", "empty", f"{me}/other").out == f"nothing to do: empty has no data, and there is no {me}/other yet\n"
    )


def test_append_prints_added_nodes_and_rows(run: Run, me: str, iris: Path) -> None:
    Path("more.csv").write_text("kind,petal\nvirginica,5.0\n")
    done = run("append", f"{me}/p", str(iris / "flowers.csv"), str(iris / "picture.bin"), "--to", "raw data")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:3] == [
        f"added 2 nodes in {me}/p/raw data",
        "  + raw data/flowers",
        "  + raw data/picture.bin",
    ]
    planned = run("append", f"{me}/p", "more.csv", "--to", "raw data/flowers", "--dry-run", "--jobs", "2")
    assert planned.out.splitlines()[0] == f"would append 1 row to {me}/p/raw data/flowers, which would have 3"
    rows = run("append", f"{me}/p", "more.csv", "--to", "raw data/flowers", "--no-push")
    assert rows.out.splitlines()[0] == f"appended 1 row to {me}/p/raw data/flowers, which has 3 now"
    assert f"publish it  datapkg push {me}/p" in rows.out
    assert run("push", f"{me}/p").code == 0
    same = run("append", f"{me}/p", str(iris / "picture.bin"), "--to", "raw data", "--json").json
    assert (same["same"], same["added"], same["pushed"]) == (["raw data/picture.bin"], [], None)
    (iris / "picture.bin").write_bytes(b"other")
    conflict = run("append", f"{me}/p", str(iris / "picture.bin"), "--to", "raw data")
    assert (conflict.code, "--replace" in conflict.err) == (4, True)
    replaced = run("append", f"{me}/p", str(iris / "picture.bin"), "--to", "raw data", "--replace")
    assert replaced.out.splitlines()[:2] == [
        f"replaced 1 node in {me}/p/raw data",
        "  ~ raw data/picture.bin",
    ]


def test_merge_prints_concatenated_and_renamed_nodes(run: Run, me: str, iris: Path) -> None:
    run("sync", str(iris), f"{me}/a")
    (iris / "flowers.csv").write_text("petal,kind\n9.9,rose\n")
    (iris / "README.md").write_text("other")
    run("sync", str(iris), f"{me}/b")
    conflict = run("merge", f"{me}/a", f"{me}/b", "-o", f"{me}/z", "--json")
    assert conflict.code == 4
    assert conflict.error["detail"]["paths"] == ["README.md", "flowers"]
    done = run("merge", f"{me}/a", f"{me}/b", "-o", f"{me}/z", "--on-conflict", "rename", "--concat")
    assert done.code == 0, done.err
    assert done.out.splitlines()[2:4] == [
        "  put together flowers",
        f"  renamed      README.md → README__{me}_b.md",
    ]
    assert run("cat", f"{me}/z/flowers").out.endswith("9.9,rose\n")
    assert f"publish it  datapkg push {me}/z" in done.out
    assert run("push", f"{me}/z").code == 0


def rounds(process: subprocess.Popen[str], count: int) -> list[dict[str, object]]:
    stream: IO[str] | None = process.stdout
    assert stream
    return [json.loads(stream.readline()) for _ in range(count)]


def test_watch_prints_a_document_per_round_and_ends_with_ctrl_c(me: str, iris: Path) -> None:
    past = time.time() - 100
    for path in iris.iterdir():
        os.utime(path, (past, past))
    words = [sys.executable, "-m", "datapkg", "sync", str(iris), f"{me}/w", "--watch"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        (first,) = rounds(process, 1)
        (iris / "new.txt").write_text("new")
        (second,) = rounds(process, 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert [first["counts"], second["added"]] == ["+3 ~0 -0", ["new.txt"]]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout
        assert process.stdout.readline()[10:].startswith("nothing to do: ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == f"note: watching {iris}; Ctrl-C ends it\nnote: stopped watching {iris}\n"
