"""End the commands of stages when this process ends without a chance to do so, as by SIGKILL.

A shell of its own session reads from a pipe which process groups run. The pipe ends with this process, however that
ends; the groups that are left are then ended, first by asking. It needs nothing of the system but /bin/sh and a pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading

_SCRIPT = """
groups=
while read -r sign group; do
    left=
    for each in $groups; do [ "$each" = "$group" ] || left="$left $each"; done
    groups=$left
    [ "$sign" = - ] || groups="$groups $group"
done
[ "$groups" ] || exit 0
for each in $groups; do kill -s TERM -- "-$each"; done
sleep 5
for each in $groups; do kill -s KILL -- "-$each"; done
"""


class Watchdog:
    """The shell of this process, started with the first group; without it groups are not watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """End a process group when this process ends."""
        self._send(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """Leave a group alone; call it when the group has ended, since its number is used again."""
        self._send(f"- {group}\n")

    def _send(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._shell is None:
                self._shell = _start()
            assert self._shell.stdin
            self._shell.stdin.write(line.encode())

    def close(self) -> None:
        """Let the shell end, and with it what is watched."""
        with self._lock:
            shell, self._shell = self._shell, None
        if shell is not None and shell.stdin:
            shell.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.wait(1)

    def leave(self) -> None:
        """Drop the pipe in a forked child: the shell is its parent's, and would wait for the child too."""
        self._lock = threading.Lock()
        shell, self._shell = self._shell, None
        if shell is not None and shell.stdin:
            shell.stdin.close()
            shell.returncode = 0  # not a child of this process: nothing to wait for


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT],
        bufsize=0,
        cwd="/",  # so that it keeps no disk from being unmounted
        env={"PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


WATCHDOG = Watchdog()
atexit.register(WATCHDOG.close)
os.register_at_fork(after_in_child=WATCHDOG.leave)
