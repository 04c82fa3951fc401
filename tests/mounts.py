"""Mounts for tests: made by the program as a process of its own, and all taken away at the end, whatever happened."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datapkg.reading.files.mount_points import mounted_at

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60  # a mount that hangs must not hang the tests


def needs_fuse(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that mounts: the program can be installed everywhere, the device depends on the machine."""
    return pytest.mark.needs("fusermount3")(pytest.mark.where_available("/dev/fuse")(test))


def run(*words: str | Path, code: int | None = 0, **environment: str) -> str:
    """What a program prints; it reads mounts from outside of their process, and may not hang."""
    done = subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        check=False,
    )
    assert code is None or done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@dataclass
class Mounts:
    """Mounts below one folder, and the processes behind them."""

    folder: Path
    environ: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "datapkg", *map(str, words)]

    def show(self, ref: str, name: str = "mnt", *options: str, program: list[str] | None = None) -> Path:
        """Mounts in a process that stays in the foreground; gives the folder once programs can read."""
        return Path(self.started(ref, name, *options, program=program)["mounted"])

    def started(self, ref: str, name: str, *options: str, program: list[str] | None = None) -> dict[str, Any]:
        process = subprocess.Popen(
            [*(program or self.command()), "mount", ref, str(self.folder / name), "--json", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout
        assert process.stderr
        with selectors.DefaultSelector() as selector:  # select() takes no descriptor above 1,024
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(TIMEOUT_S) else ""
        assert line, process.stderr.read() if process.poll() is not None else "no word from the mount"
        value: dict[str, Any] = json.loads(line)
        return value

    def datapkg(self, *words: str | Path, code: int = 0) -> str:
        return run(*self.command(*words), code=code, **self.environ)

    def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Ends the last process with a signal; gives its exit code."""
        process = self.processes[-1]
        process.send_signal(sign)
        return process.wait(TIMEOUT_S)

    def left(self) -> list[str]:
        """Processes that still show something below this folder."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = each.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "mount" in words and any(word.startswith(str(self.folder)) for word in words):
                found.append(each.parent.name)
        return found

    def clean(self) -> None:
        """Ends all, gently if they let it, and takes away what is then still mounted."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        for each in self.folder.iterdir():
            if mounted_at(each) is not None:
                run("fusermount3", "-u", "-z", each, code=None)
        for number in self.left():
            os.kill(int(number), signal.SIGKILL)


@contextmanager
def mounts_below(folder: Path, home: Path) -> Iterator[Mounts]:
    folder.mkdir(exist_ok=True)
    environ = {**os.environ, "DATAPKG_HOME": str(home), "PYTHONPATH": str(ROOT)}
    mounts = Mounts(folder.resolve(), environ)
    try:
        yield mounts
    finally:
        mounts.clean()
