"""What `datapkg build` says of stages, and that a build killed at any moment goes on where it stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import datapkg
from tests.cli.conftest import Person, Run

PYTHON = sys.executable


def write_build_file(folder: Path, count: int) -> Path:
    """Write a build file of stages that all give the same file, in two chains."""
    lines = ["contents:", *(f"  n{number}: {{stage: s{number}}}" for number in range(count)), "stages:"]
    for number in range(count):
        given = "words.txt" if number < 2 else f"stages.s{number - 2}.out"
        lines.append(f"  s{number}: {{run: 'cp {{a}} {{out}}', inputs: {{a: {given}}}, outputs: {{out: o.txt}}}}")
    (folder / "words.txt").write_text("some words\n")
    path = folder / "build.yml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_explain_says_why_each_stage_ran_or_did_not(run: Run, tmp_path: Path) -> None:
    path = write_build_file(tmp_path, 2)
    assert "  stage s0 ran in " in run("build", "me/x", str(path)).out
    path.write_text(path.read_text().replace("'cp {a} {out}'", "'cp -p {a} {out}'", 1))
    ended = run("build", "me/x", str(path), "--explain")
    assert "  stage s1 reused: nothing changed\n" in ended.out
    assert ": run cp '{a}' '{out}' → cp -p '{a}' '{out}'" in ended.out
    assert "  1 stage reused\n" in ended.out
    assert "stage s1 reused" not in run("build", "me/x", str(path)).out


@pytest.mark.big
def test_a_build_killed_at_random_moments_goes_on_and_ends_with_what_it_would_have_given(
    run: Run, tmp_path: Path
) -> None:
    count, draw = 60, random.Random(1)
    path = write_build_file(tmp_path, count)
    command = [PYTHON, "-m", "datapkg", "build", "me/x", str(path), "-q"]
    kills = 0
    for _ in range(12):
        with subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL) as process:
            time.sleep(draw.uniform(0.3, 1.5))
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
    assert kills
    assert run("build", "me/x", str(path)).code == 0
    package = datapkg.load("me/x")
    assert {package[f"n{number}"]().read_text() for number in range(count)} == {"some words\n"}
    assert run("verify").code == 0
    ended = run("build", "me/x", str(path), "--json").json
    assert {each["action"] for each in ended["stages"]} == {"reused"}


def test_a_shared_run_cache(ada: Person, bob: Person, tmp_path: Path) -> None:
    package, path = f"{ada.name}/x", str(write_build_file(tmp_path, 4))
    refused = ada("build", package, path, "--push-cache")
    assert (refused.code, f"datapkg build {package} --push --push-cache" in refused.err) == (3, True)
    # The first two stages are equal, and so are the other two.
    line = f"pushed 2 results of stages to the run cache of {package}: "
    assert line in ada("build", package, path, "--push", "--push-cache").out
    assert "has 4 results of these stages already\n" in ada("build", package, path, "--push-cache").out
    ada("access", "add", package, bob.name)
    (tmp_path / "datapkg.stages.lock").unlink()
    planned = bob("build", package, path, "--pull-cache", "--dry-run")
    assert f"  stage s3 would be taken from the cache of {package} (by {ada.name}, 20" in planned.out
    assert bob("build", package, path, "--pull-cache", "--dry-run", "--json").json["hash"] is None
    assert (
        f"  stage s3 from the cache of {package} (by {ada.name}, 20" in bob("build", package, path, "--pull-cache").out
    )
    again = bob("build", package, path, "--explain").out
    assert f"  stage s3 reused: nothing changed, from the cache of {package} (by {ada.name}, 20" in again
    for words in (["--push-cache", "--dry-run"], ["--registry", "http://127.0.0.1:1"]):
        assert "go" in (wrong := bob("build", package, path, *words)).err
        assert wrong.code == 2
