"""A process with the libraries for tables loaded, which forks a worker with limits for each job.

Hostile Parquet can abort a process, loop forever, or allocate any amount of memory, so each job has its own process.
Loading the libraries takes most of a second and forking a few milliseconds, hence the process in between. It starts
with a minimal environment, has no database and no token, and exits when the registry closes its socket.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pandas  # noqa: F401 - pyarrow would import it in each worker
import pyarrow as pa

from datapkg.errors import exhausted
from datapkg.objects.pack_file import PackLocation, open_places
from datapkg.tables import content_hash  # noqa: F401 - loaded before the fork
from datapkg.tables.content_claims import claim_difference
from registry_server.workers.jobs import CheckTask, Job, Verdict, WorkerLimits

OPEN_FILES = 64
READ_BYTES = 1 << 20
MAGIC = b"PAR1"
MAX_REASON = 300
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # as linux/sched.h has them


def main() -> None:
    """Fork a worker for each socket that arrives over the one whose number is the argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended workers are reaped by the kernel
    while True:
        _, numbers, _, _ = socket.recv_fds(control, 1, 1)
        if not numbers:
            return
        if os.fork() == 0:
            control.close()
            try:
                _work(socket.socket(fileno=numbers[0]))
            finally:
                os._exit(0)
        os.close(numbers[0])


def _work(answers: socket.socket) -> None:
    with answers, answers.makefile("rb") as stream:
        job = msgspec.json.decode(stream.read(), type=Job)
        _limit(job.limits)
        for task in job.tasks:
            answers.sendall(msgspec.json.encode(_checked(task)) + b"\n")


def _limit(limits: WorkerLimits) -> None:
    """Set what the kernel ends this process for; the signals keep their default action, which no library can delay."""
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    _leave_network()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    most = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CPU: limits.cpu_s,
    }
    if sys.platform == "linux":  # macOS refuses to limit it
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most[resource.RLIMIT_AS] = pages * resource.getpagesize() + limits.memory_bytes
    for kind, value in most.items():
        resource.setrlimit(kind, (value, value))


def _leave_network() -> None:
    """Move to a network namespace without an interface, where the system lets this user do so."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is not None:
        # For root without a user namespace, in which it might not read the files of others any more.
        unshare(CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET)


def _checked(task: CheckTask) -> Verdict:
    places = [[PackLocation(Path(each.path), each.offset, each.size) for each in some] for some in task.objects]
    try:
        for number, each in enumerate(places, start=1):
            if not _is_parquet(each):
                return Verdict(False, is_false=True, reason=f"object {number} is not a Parquet file")
        problem = claim_difference(task.table, [partial(open_places, each) for each in places])
    except Exception as error:  # noqa: BLE001 - of pyarrow and of numpy, for what this version cannot read
        if (lack := exhausted(error)) is not None:
            return Verdict(False, reason=f"a worker may not use more: {lack.message}")
        text = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        return Verdict(False, reason=f"cannot be read by pyarrow {pa.__version__}: {text}")
    return Verdict(not problem, is_false=bool(problem), reason=problem)


def _is_parquet(places: Sequence[PackLocation]) -> bool:
    size = sum(place.size for place in places)
    with open_places(places) as stream:
        first = stream.read(len(MAGIC))
        stream.seek(max(0, size - len(MAGIC)))
        return size >= 2 * len(MAGIC) and first == stream.read(len(MAGIC)) == MAGIC


if __name__ == "__main__":
    main()
