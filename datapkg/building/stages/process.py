"""Run the command of a stage in a process group of its own, which ends with it and with this process."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from datapkg.building.stages.watchdog import WATCHDOG
from datapkg.errors import StageFailed
from datapkg.format.texts import quoted

TAIL_BYTES = 4_000
TAIL_LINES = 20
_GRACE_S = 5.0  # between SIGTERM and SIGKILL


class Processes:
    """The processes that run now; `stop` ends them, and no more begin."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.is_stopped = False

    def run(
        self, command: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: Path, timeout_s: float | None
    ) -> str:
        """Run a command to its end, with all that it prints in a log; return what went wrong, "" for nothing.

        Raise `StageFailed` if it cannot be started.
        """
        with log.open("ab") as output:
            process = self._begin(command, folder, environ, output.fileno())
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return f"took longer than {timeout_s:g} s"
            finally:
                _end_group(process)
                WATCHDOG.forget(process.pid)
                with self._lock:
                    self._running.discard(process)
        if self.is_stopped:
            return "was stopped"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"
        return f"ended with exit code {code}" if code else ""

    def _begin(
        self, command: Sequence[str], folder: Path, environ: Mapping[str, str], output: int
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.is_stopped:
                raise StageFailed("was stopped")
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise _not_started(command[0], error) from error
            self._running.add(process)
            WATCHDOG.watch(process.pid)
            return process

    def stop(self) -> None:
        """End all processes, and let no more begin."""
        with self._lock:
            self.is_stopped = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)


def _not_started(program: str, error: OSError | ValueError) -> StageFailed:
    number = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = f"command -v {shlex.quote(program)}"
    if number == errno.E2BIG:
        hint = "write long values into a file beside the build file, and name it in `inputs`"
    elif number is None:  # a null character
        hint = "look at the texts in `run` and `params`"
    return StageFailed(f"{quoted(program)} cannot be run: {reason}", hint=hint)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what the command has started and left: first by asking."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])
    return ""
