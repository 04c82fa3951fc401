"""Commands that run out of memory, threads or open files say so, blame no data, and leave a store that is whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import datapkg
from datapkg.errors import CorruptObject, ResourceExhausted, TransformFailed, exhausted
from tests.cli.conftest import Person, Run
from tests.fresh_process import FreshProcess

EXHAUSTED = 10
LIMITED = """
import _thread, os, resource, sys
import datapkg.building.readers, pandas, pyarrow.csv, pyarrow.dataset, pyarrow.parquet
from datapkg.cli.main import main
kind, room, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if kind == "memory":
    most = room + int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
elif kind == "files":
    most = room + max(fd for fd in range(200) if os.path.exists(f"/proc/self/fd/{fd}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
else:  # RLIMIT_NPROC does not bind root
    def start(function, args, start=_thread.start_new_thread):
        global room
        room -= 1
        if room < 0:
            raise RuntimeError("can't start new thread")
        start(function, args)
    _thread.start_new_thread = start
sys.exit(main(words))
"""


def limited(kind: str, room: int, *words: str) -> tuple[int, str]:
    """Run a command that may use `room` more bytes, open files or threads; return its exit code and errors."""
    with FreshProcess(["-c", LIMITED, kind, str(room), *words], cwd=Path.cwd(), env=dict(os.environ)) as process:
        _, err = process.communicate(60)
    assert process.returncode is not None
    return process.returncode, err


@pytest.fixture
def table(run: Run) -> Path:
    """Write a CSV that is read in parts, and build it."""
    path = Path("table.csv")
    numbers = np.random.default_rng(0).random(300_000)
    pyarrow.csv.write_csv(pa.table({"a": numbers, "b": numbers[::-1]}), path)
    assert run("build", "me/x", str(path)).code == 0
    return path


def write_others() -> None:
    """Write sources of other formats beside the table."""
    numbers = np.random.default_rng(1).random(100_000)
    pyarrow.parquet.write_table(pa.table({"a": numbers}), "table.parquet")
    Path("lines.jsonl").write_text("".join(f'{{"a": {number}}}\n' for number in numbers))
    Path("raw.bin").write_bytes(numbers.tobytes() * 8)


COMMANDS = {
    "build": ["build", "me/y", "table.csv", "--force"],
    "verify": ["verify", "--content"],
    "export": ["export", "me/x", "out"],
    "cat": ["cat", "me/x/table"],
}
MORE = {
    "jsonl": ["build", "me/y", "lines.jsonl"],
    "parquet": ["build", "me/y", "table.parquet"],
    "raw": ["build", "me/y", "raw.bin"],
    "show": ["show", "me/x/table"],
    "status": ["status", "me/x", "table.csv"],
    "gc": ["gc", "--yes", "--keep", "1"],
    "bundle": ["bundle", "me/x", "-o", "x.dpkg"],
}


@pytest.mark.parametrize(
    ("kind", "room", "command"),
    [("threads", 0, "build"), ("threads", 2, "build"), ("threads", 0, "export"), ("threads", 1, "cat")]
    + [("files", 0, each) for each in COMMANDS],
)
def test_threads_and_files_that_run_out_are_named(run: Run, table: Path, kind: str, room: int, command: str) -> None:
    code, err = limited(kind, room, *COMMANDS[command])
    word = "not enough threads" if kind == "threads" else "not enough open files"
    assert (code, word in err) == (EXHAUSTED, True), err
    assert "hint: " in err
    check_whole(run)


@pytest.mark.parametrize(
    ("room", "command"),
    [(1 << 20, "verify"), (48 << 20, "build")]
    + [pytest.param(mib << 20, each, marks=pytest.mark.big) for mib in (1, 8, 16, 48, 128) for each in COMMANDS]
    + [pytest.param(mib << 20, each, marks=pytest.mark.big) for mib in (1, 12, 40) for each in MORE],
)
def test_memory_that_runs_out_is_no_corruption(run: Run, table: Path, room: int, command: str) -> None:
    if command in MORE:
        write_others()
    code, err = limited("memory", room, *{**COMMANDS, **MORE}[command])
    # The libraries abort in some places, such as in a thread that cannot start.
    assert code in (0, EXHAUSTED) or code < 0 or code == 127, err
    assert code != -signal.SIGKILL, "it did not end"
    assert "not enough" in err or code != EXHAUSTED
    check_whole(run)


@pytest.mark.parametrize("command", [["push"], ["install", "--replace"]])
def test_transfers_name_files_that_run_out(ada: Person, table: Path, command: list[str]) -> None:
    package = f"{ada.name}/x"
    assert ada("build", package, str(table)).code == 0
    if command[0] == "install":
        assert ada("push", package).code == 0
    code, err = limited("files", 0, command[0], package, *command[1:])
    assert (code, "not enough open files" in err) == (EXHAUSTED, True), err


def check_whole(run: Run) -> None:
    """Hold that nothing in the store is damaged, and that the package can be read."""
    ended = run("verify", "--json")
    assert (ended.code, ended.json["damaged"]) == (0, [])
    assert len(datapkg.load("me/x/table").head(3)) == 3


@pytest.mark.parametrize(
    ("error", "resource"),
    [
        (MemoryError(), "memory"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "memory"),
        (OSError(12, "Cannot allocate memory"), "memory"),
        (OSError("Memory mapping file failed: Cannot allocate memory"), "memory"),
        (OSError(24, "Too many open files", "x"), "open files"),
        (OSError(11, "Resource temporarily unavailable"), "threads or processes"),
        (pa.ArrowException("Unknown error: Failed to launch worker thread: no"), "threads or processes"),
        (ImportError("libarrow.so: failed to map segment from shared object"), "memory"),
        (OSError(2, "No such file"), None),
        (pa.ArrowInvalid("CSV conversion error to int64: invalid value 'malloc of size 64 failed'"), None),
        (CorruptObject("malloc of size 64 failed"), None),
    ],
)
def test_resource_of_error(error: Exception, resource: str | None) -> None:
    found = exhausted(error, "reading x")
    assert (found and found.detail["resource"]) == resource
    assert found is None or found.message.startswith(f"reading x: not enough {resource}: ")


def test_cause_of_error_counts() -> None:
    def chained(cause: Exception, suppressed: bool) -> TransformFailed:
        error = TransformFailed("x cannot be read as csv")
        error.__context__, error.__suppress_context__ = cause, suppressed
        return error

    lack = ResourceExhausted("reading x: not enough memory")
    assert exhausted(chained(lack, False)) is lack
    assert exhausted(chained(chained(MemoryError(), False), False)) is not None
    assert exhausted(chained(MemoryError(), True)) is None
