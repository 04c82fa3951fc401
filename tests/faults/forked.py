"""Run command lines in forks of this process, which has imported what they need: a start takes milliseconds."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.injection import Injection, install

LIBRARIES = [
    *("pandas", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.compute", "requests", "yaml", "sqlite3", "filelock"),
    *("datapkg.cli.main", "datapkg.api.build", "datapkg.api.install", "datapkg.api.push", "datapkg.api.export"),
    *("datapkg.api.maintenance", "datapkg.api.verify", "datapkg.api.sync", "datapkg.api.append"),
    *("datapkg.api.gc", "datapkg.remote.http_client", "datapkg.api.run_cache", "datapkg.building.stages.schedule"),
    *("datapkg.tables.table_writer", "datapkg.store.delta_fetch", "datapkg.building.pipeline", "pyfastcdc"),
    *("registry_server.__main__", "registry_server.app", "registry_server.services.sweep"),
]
# Files that are large enough to be resumed are too large to be tried often.
RESUMED_BYTES = 1 << 19
SMALLER = ("datapkg.store.delta_fetch", "datapkg.remote.objects")
TIMEOUT_S = 60.0
HANGS = "hangs"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative for a signal), its output, and the calls that were counted."""

    code: int
    out: str
    err: str
    calls: tuple[str, ...] = ()

    @property
    def is_killed(self) -> bool:
        """Return whether the process was killed."""
        return self.code == -signal.SIGKILL

    @property
    def json(self) -> Any:
        """Return the document on standard output."""
        return json.loads(self.out)


def prepare() -> None:
    """Import everything that commands use."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in [name for name in os.environ if name.startswith("DATAPKG_")]:
        del os.environ[name]
    for library in LIBRARIES:
        importlib.import_module(library)
    for name in SMALLER:
        vars(importlib.import_module(name))["RESUMED_BYTES"] = RESUMED_BYTES
    session: Any = importlib.import_module("datapkg.remote.session")
    true_pause = session.pause_s
    session.pause_s = lambda number, retry_after: 0.01 if retry_after is None else true_pause(number, retry_after)


@dataclass(frozen=True)
class Fork:
    """A running fork of this process, with what it prints in files."""

    pid: int
    out: Any
    err: Any
    calls: Any

    def wait(self, timeout_s: float = TIMEOUT_S) -> Ended:
        """Return how it ended; after `timeout_s` it is killed, and its errors are `HANGS`."""
        is_late = False
        waited = os.pidfd_open(self.pid)
        try:
            is_late = not select.select([waited], [], [], timeout_s)[0]
        finally:
            os.close(waited)
        if is_late:
            os.kill(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        texts = []
        for file in (self.out, self.err, self.calls):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Ended(code, texts[0], HANGS if is_late else texts[1], tuple(texts[2].split()))


def start(run: Callable[[], int], environ: Mapping[str, str], injection: Injection | None = None) -> Fork:
    """Run a function in a fork, with these settings."""
    out, err, calls = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
    pid = os.fork()
    if pid:
        return Fork(pid, out, err, calls)
    code = 70
    try:
        os.setpgid(0, 0)
        for number, file in enumerate((out, err), start=1):
            os.dup2(file.fileno(), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
        os.environ.update(environ)
        if injection:
            install(injection)
        code = run()
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        _end(code, calls, injection)
    raise AssertionError("unreachable")


def _end(code: int, calls: Any, injection: Injection | None) -> None:
    """End as an interpreter does, but without taking the libraries apart."""
    try:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        if injection:
            calls.write(" ".join(injection.calls).encode())
            calls.flush()
    finally:
        os._exit(code)


def command(
    words: list[str],
    environ: Mapping[str, str],
    injection: Injection | None = None,
    before: Callable[[], None] = lambda: None,
) -> Fork:
    """Start `datapkg` with these words; `before` is called in its process first."""
    return _start_main("datapkg.cli.main", "main", words, environ, injection, before)


def operate(words: list[str], injection: Injection | None = None, before: Callable[[], None] = lambda: None) -> Fork:
    """Start `datapkg-registry` with these words."""
    return _start_main("registry_server.__main__", "run", words, {}, injection, before)


def _start_main(
    module: str,
    name: str,
    words: list[str],
    environ: Mapping[str, str],
    injection: Injection | None,
    before: Callable[[], None],
) -> Fork:
    main = vars(importlib.import_module(module))[name]

    def run() -> int:
        before()
        return int(main(words))

    return start(run, environ, injection)


@contextlib.contextmanager
def serving(data: Path, port: int = 0, injection: Injection | None = None) -> Iterator[tuple[str, Fork]]:
    """Run a registry; yield its URL and its process, which may end before the block does."""
    words = ["serve", "--data", str(data), "--port", str(port)]
    fork = operate(words, injection)
    try:
        yield url_of(fork), fork
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(fork.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(fork.pid, 0)


def url_of(fork: Fork) -> str:
    """Return the address of a registry that begins; raise `RuntimeError` if it ends instead."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        line, _, rest = os.pread(fork.out.fileno(), 1000, 0).partition(b"\n")
        if line and (rest or line.endswith(b"}")):
            return str(json.loads(line)["url"])
        if os.waitid(os.P_PID, fork.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.01)
    raise RuntimeError(f"the registry did not start: {os.pread(fork.err.fileno(), 4000, 0).decode()}")
