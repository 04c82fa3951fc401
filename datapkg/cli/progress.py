"""Progress of long work: a line on the terminal after the first second, elsewhere a line every ten seconds."""

from __future__ import annotations

import time
from types import TracebackType

from datapkg.cli.output import Output
from datapkg.format.texts import size_text
from datapkg.objects.progress import IN_BYTES

PATIENCE_S = 1.0
REFRESH_S = 0.1
PLAIN_S = 10.0
BAR = 24


class Progress:
    """A `datapkg.objects.progress.Progress` for a `with`; clears its line at the end."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._is_terminal = out.shows_progress
        self._start = time.monotonic()
        self._next = self._start + (PATIENCE_S if self._is_terminal else PLAIN_S)
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
        if now < self._next:
            return
        if self._is_terminal:
            self._next, self._has_line = now + REFRESH_S, True
            self._out.transient(progress_line(what, done, total, now - self._start))
        else:  # the log of a CI job shows that the work goes on
            self._next = now + PLAIN_S
            self._out.note(plain_line(what, done, total, now - self._start))


def progress_line(what: str, done: int, total: int, elapsed_s: float) -> str:
    """Return `building  ######..................   25 %  12 s`; for bytes also their size, rate and time left."""
    share = min(done / total, 1) if total > 0 else 0
    bar = ("#" * round(share * BAR)).ljust(BAR, ".")
    amount = f"  {_bytes_text(done, total, elapsed_s)}" if what in IN_BYTES else ""
    return f"{what[:40]}  {bar}  {share:4.0%}{amount}  {elapsed_s:.0f} s"


def plain_line(what: str, done: int, total: int, elapsed_s: float) -> str:
    """Return `transferring: 25%, 1.0 GB of 4.0 GB, 45.1 MB/s, 66 s left`, for output that is not a terminal."""
    share = f": {min(done / total, 1):.0%}" if total > 0 else ""
    return f"{what[:40]}{share}, {_bytes_text(done, total, elapsed_s) if what in IN_BYTES else f'{elapsed_s:.0f} s'}"


def _bytes_text(done: int, total: int, elapsed_s: float) -> str:
    rate = done / max(elapsed_s, 0.001)
    left = f", {(total - done) / rate:.0f} s left" if 0 < done < total else ""
    size = f"{size_text(done)} of {size_text(total)}" if total > 0 else size_text(done)
    return f"{size}, {size_text(round(rate))}/s{left}"
