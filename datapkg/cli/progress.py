"""Progress of long work: a line on the terminal after the first second, elsewhere a line every five seconds.

A thread shows it too, so that a step which reports nothing for long does not look like a standstill.
"""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

from datapkg.cli.output import Output
from datapkg.objects.progress import Pace
from datapkg.objects.threads import PendingCall, start

PATIENCE_S = 1.0
REFRESH_S = 0.1
TICK_S = 0.5
PLAIN_S = 5.0
BAR = 24


class Progress:
    """A `datapkg.objects.progress.Progress` for a `with`; clears its line at the end."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._is_terminal = out.shows_progress
        self._start = time.monotonic()
        self._next = self._start + (PATIENCE_S if self._is_terminal else PLAIN_S)
        self._has_line = False
        self._pace = Pace()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker: PendingCall[None] | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker.wait()
        if self._has_line:
            self._out.transient("")

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        with self._lock:
            if not self._pace.last[0]:
                # At the first report, so that short commands start no thread. Without one, only reports are shown.
                with contextlib.suppress(RuntimeError):
                    self._ticker = start(self._tick)
            self._pace.note(what, done, total, now)
            self._show(now)

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            with self._lock:
                self._show(time.monotonic())

    def _show(self, now: float) -> None:
        """Show the last report, if it is time for that."""
        if now < self._next:
            return
        amount = self._pace.text(now)
        if self._is_terminal:
            self._next, self._has_line = now + REFRESH_S, True
            self._out.transient(progress_line(*self._pace.last, amount, now - self._start))
        else:  # the log of a CI job shows that the work goes on
            self._next = now + PLAIN_S
            self._out.note(plain_line(*self._pace.last, amount, now - self._start))


def progress_line(what: str, done: int, total: int, amount: str, elapsed_s: float) -> str:
    """Return `building  ######..................   25 %  1.0 GB of 4.0 GB, 45.1 MB/s, 66 s left  12 s`."""
    share = min(done / total, 1) if total > 0 else 0
    bar = ("#" * round(share * BAR)).ljust(BAR, ".")
    return "  ".join(filter(None, [what[:40], bar, f"{share:4.0%}", amount, f"{elapsed_s:.0f} s"]))


def plain_line(what: str, done: int, total: int, amount: str, elapsed_s: float) -> str:
    """Return `building: 25%, 1.0 GB of 4.0 GB, 45.1 MB/s, 66 s left, 12 s`, for output that is not a terminal."""
    share = f": {min(done / total, 1):.0%}" if total > 0 else ""
    return ", ".join(filter(None, [f"{what[:40]}{share}", amount, f"{elapsed_s:.0f} s"]))
