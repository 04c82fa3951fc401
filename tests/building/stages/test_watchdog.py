"""The command of a stage, and all that it started, ends with the process that runs it, even if that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import os, sys
from pathlib import Path
from datapkg.building.stages.process import Processes
folder = Path(sys.argv[1])
processes = Processes()
assert processes.run(["true"], folder=folder, environ=os.environ, log=folder / "log", timeout_s=None) == ""
processes.run(["sh", "-c", sys.argv[2]], folder=folder, environ=os.environ, log=folder / "log", timeout_s=None)
"""
WAIT_S = 60


def pids_of(folder: Path) -> list[int]:
    """Return the processes that the command has noted, once there are two."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if (folder / "pids").exists() and len(found := (folder / "pids").read_text().split()) == 2:
            return [int(each) for each in found]
        time.sleep(0.02)
    raise AssertionError((folder / "log").read_text())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize(
    "before", ["", pytest.param("trap '' TERM; ", marks=pytest.mark.big, id="one that does not listen")]
)
def test_the_command_ends_with_a_killed_process(tmp_path: Path, before: str) -> None:
    command = f"{before}sleep 300 & echo $$ $! > pids; wait; sleep 300"
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), command]) as process:
        pids = pids_of(tmp_path)
        assert all(map(is_running, pids))
        process.kill()
    end = time.monotonic() + WAIT_S
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_running, pids))


def test_the_watchdog_ends_with_the_process(tmp_path: Path) -> None:
    code = f"{RUN}\nfrom datapkg.building.stages.watchdog import WATCHDOG\nprint(WATCHDOG._shell.pid)"
    words = [sys.executable, "-W", "error", "-c", code, str(tmp_path), "exit 0"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not is_running(int(done.stdout))
