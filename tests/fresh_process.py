"""Fresh Python processes without the second that big libraries take to import: forks of one that has imported these.

Nothing of datapkg is imported before a fork, so that a process still imports, warns and ends as one that was started by
itself. What a start as such does is tested by real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn, TextIO

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("pandas", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.compute", "requests", "yaml")
MAX_REQUEST_BYTES = 1 << 17


class FreshProcess:
    """A running process, with the methods of `subprocess.Popen` that tests use; its output is text."""

    def __init__(self, words: list[str], *, cwd: Path, env: dict[str, str], merge: bool = False) -> None:
        """Run `python` with these words, `-c CODE …` or `-m MODULE …`; with `merge`, errors go to standard output."""
        self.returncode: int | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._status, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe()
        self.stdout: TextIO = open(reader)  # noqa: SIM115
        request = json.dumps({"words": words, "cwd": str(cwd), "env": env}).encode()
        fds = [status.fileno(), writer, writer if merge else self._errors.fileno()]
        socket.send_fds(_parent(), [request], fds)
        os.close(writer)
        status.close()
        self.pid = int(self._status.recv(100))

    def __enter__(self) -> FreshProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(60)
        self._close()

    def _close(self) -> None:
        self.stdout.close()
        self._errors.close()
        self._status.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that may have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait(1)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal; a process that takes longer is killed."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._status.recv(100)))
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
                raise
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Return what it prints until its end, and its errors, once; a process that takes longer is killed."""
        watch = threading.Timer(timeout, self.send_signal, [signal.SIGKILL])
        watch.start()
        try:
            out = self.stdout.read()
            self.wait(timeout)
        finally:
            watch.cancel()
        self._errors.seek(0)
        err = self._errors.read()
        self._close()
        return out, err


@functools.cache
def _parent() -> socket.socket:
    """Start the process that others are forks of; it ends with this one, when their socket closes."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    # A thread of numpy's would not be there in the forks.
    environ = kept | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(its.fileno())]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, pass_fds=[its.fileno()])
    its.close()

    @atexit.register
    def end() -> None:
        mine.close()
        process.wait(60)

    return mine


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for every request; return it in the process that is to run it."""
    while True:
        data, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 3)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _watch(*fds)
            return dict(json.loads(data))
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(status: int, out: int, err: int) -> None:
    """Fork once more: return in the child, with its output set; tell its end by the parent, which ends with it."""
    if pid := os.fork():
        os.close(out)
        os.close(err)
        os.write(status, str(pid).encode())
        os.write(status, str(os.waitpid(pid, 0)[1]).encode())
        os._exit(0)
    os.close(status)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for fd in {out, err}:
        os.close(fd)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115


def _run(words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be a process that was started with these words."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if action := env.get("PYTHONWARNINGS"):
        warnings.simplefilter(action)  # type: ignore[arg-type]
    sys.path[0:1] = ["" if words[0] == "-c" else cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [words[0], *words[2:]]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), main.__dict__)


def _code(**request: Any) -> int:
    """Run what was asked for, and return the exit code of an interpreter that does."""
    try:
        _run(**request)
    except SystemExit as exit:
        if not isinstance(exit.code, str):
            return int(exit.code or 0)
        sys.stderr.write(f"{exit.code}\n")
        return 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but without taking the libraries apart, which takes longer than most tests."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    _end(_code(**_serve(socket.socket(fileno=int(sys.argv[1])))))
