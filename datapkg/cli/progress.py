"""Progress of long work: one line on the terminal, after the first second."""

from __future__ import annotations

import time
from types import TracebackType

from datapkg.cli.output import Output

PATIENCE_S = 1.0
REFRESH_S = 0.1
BAR = 24


class Progress:
    """A `datapkg.objects.progress.Progress` for a `with`; clears its line at the end."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._is_shown = out.shows_progress
        self._start = time.monotonic()
        self._next = self._start + PATIENCE_S
        self._has_line = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_line:
            self._out.transient("")

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next = now + REFRESH_S
        self._has_line = True
        self._out.transient(progress_line(what, done, total, now - self._start))


def progress_line(what: str, done: int, total: int, elapsed_s: float) -> str:
    """Return a line such as `sending  ######..................   25 %  12 s`."""
    share = min(done / total, 1) if total > 0 else 0
    bar = ("#" * round(share * BAR)).ljust(BAR, ".")
    return f"{what[:40]}  {bar}  {share:4.0%}  {elapsed_s:.0f} s"
