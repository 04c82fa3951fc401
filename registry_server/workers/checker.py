"""Checks of tables against their manifests, in child processes with limits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from datapkg.errors import DatapkgError
from datapkg.format.manifest.parsed import TableNode
from datapkg.objects.pack_file import PackLocation
from registry_server.workers.jobs import CheckTask, Job, Location, Verdict, WorkerLimits

Places = Callable[[str], list[PackLocation]]
AT_ONCE = 2
MAX_WAITING, MAX_WAITING_OF_USER = 16, 2
# How long to wait for a worker after its own time limit.
GRACE_S = 2
# With less time left a fork is not worth it.
MIN_S = 0.05
_ENVIRONMENT = {
    "PATH": os.defpath,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "PYTHONDONTWRITEBYTECODE": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Verdicts:
    """The tables that are right, and the reasons by path why others are false or unchecked."""

    right: list[TableNode] = field(default_factory=list)
    false: dict[str, str] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)


class ClaimChecker:
    """Checks tables, a few requests at a time and one of each user; safe for threads.

    A request takes at most `seconds`, including waiting, and reads objects of at most `max_bytes` in total; each worker
    may use `memory_bytes` more than it starts with. No process is started before the first table arrives.
    """

    def __init__(
        self,
        local_places: Callable[[], AbstractContextManager[Places]],
        *,
        seconds: int,
        max_bytes: int,
        memory_bytes: int,
    ) -> None:
        self._local_places = local_places
        self._seconds, self._max_bytes, self._memory_bytes = seconds, max_bytes, memory_bytes
        self._changed = threading.Condition()
        self._running: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._starting = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def check(self, user: str, tables: Sequence[TableNode]) -> Verdicts:
        """Compare what manifests state of tables with their objects, on which the user must be allowed to rely."""
        with self._local_places() as places:
            return self._check(user, tables, places)

    def _check(self, user: str, tables: Sequence[TableNode], places: Places) -> Verdicts:
        found = Verdicts()
        tasks = self._tasks(tables, places, found)
        deadline = time.monotonic() + self._seconds
        if not tasks:
            return found
        with self._turn(user, deadline) as is_mine:
            if not is_mine:
                found.unchecked.update((each.table.path, "the registry was busy") for each in tasks)
            while is_mine and tasks:
                left = deadline - time.monotonic()
                verdicts = self._ask(tasks, left) if left > MIN_S else []
                for task, verdict in zip(tasks, verdicts, strict=False):
                    _sort_in(found, task.table, verdict)
                tasks = tasks[len(verdicts) :]
                if tasks and left <= MIN_S:
                    found.unchecked.update((each.table.path, "there was no time left") for each in tasks)
                    break
                if tasks:
                    why = "a worker ended while reading it: it aborts, or takes too much memory or time"
                    found.unchecked[tasks.pop(0).table.path] = why
        return found

    def close(self) -> None:
        """End the process that forks workers."""
        with self._starting:
            if self._control is not None:
                self._control.close()
            if self._zygote is not None:
                self._zygote.wait()
            self._control = self._zygote = None

    def _tasks(self, tables: Sequence[TableNode], local: Places, found: Verdicts) -> list[CheckTask]:
        """Return the tables that are small enough, with the locations of their objects."""
        tasks, left = [], self._max_bytes
        for table in tables:
            if table.size > left:
                found.unchecked[table.path] = f"a push is checked up to {self._max_bytes:,} bytes"
                continue
            try:
                places = [local(block.hash) for block in table.blocks]
            except (DatapkgError, OSError) as error:
                found.unchecked[table.path] = str(error)
                continue
            left -= table.size
            where = [[Location(str(each.path), each.offset, each.size) for each in some] for some in places]
            tasks.append(CheckTask(table, where))
        return tasks

    @contextmanager
    def _turn(self, user: str, deadline: float) -> Iterator[bool]:
        """Wait until a worker is free for the user; yield False if too many wait or the time is over."""
        with self._changed:
            is_mine = self._is_free(user)
            may_wait = self._waiting.total() < MAX_WAITING and self._waiting[user] < MAX_WAITING_OF_USER
            if not is_mine and may_wait:
                self._waiting[user] += 1
                is_mine = self._changed.wait_for(lambda: self._is_free(user), deadline - time.monotonic())
                self._waiting[user] -= 1
                self._waiting += Counter()  # drop users that no longer wait
            if is_mine:
                self._running.add(user)
        try:
            yield is_mine
        finally:
            if is_mine:
                with self._changed:
                    self._running.discard(user)
                    self._changed.notify_all()

    def _is_free(self, user: str) -> bool:
        return len(self._running) < AT_ONCE and user not in self._running

    def _ask(self, tasks: Sequence[CheckTask], seconds: float) -> list[Verdict]:
        """Return the verdicts of one worker: fewer than there are tasks if it ended early."""
        limits = WorkerLimits(self._memory_bytes, cpu_s=max(1, int(seconds)), wall_s=seconds)
        mine, other = socket.socketpair()
        with mine:
            with other:
                self._send(other)
            mine.settimeout(seconds + GRACE_S)
            lines: list[bytes] = []
            with suppress(OSError), mine.makefile("rb") as answers:
                mine.sendall(msgspec.json.encode(Job(limits, list(tasks))))
                mine.shutdown(socket.SHUT_WR)
                lines += answers
        with suppress(msgspec.MsgspecError):
            return [msgspec.json.decode(line, type=Verdict) for line in lines if line.endswith(b"\n")]
        return []

    def _send(self, end: socket.socket) -> None:
        """Pass one end of a job's socket to the process that forks, which is restarted if it is gone."""
        with self._starting:
            for _ in range(2):
                if self._zygote is None or self._zygote.poll() is not None:
                    self._start()
                assert self._control is not None
                with suppress(OSError):
                    socket.send_fds(self._control, [b"j"], [end.fileno()])
                    return

    def _start(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, other = socket.socketpair()
        with other:
            self._zygote = subprocess.Popen(
                [sys.executable, "-m", "registry_server.workers.zygote", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )


def _sort_in(found: Verdicts, table: TableNode, verdict: Verdict) -> None:
    if verdict.is_right:
        found.right.append(table)
    elif verdict.is_false:
        found.false[table.path] = verdict.reason
    else:
        found.unchecked[table.path] = verdict.reason
