"""Progress of public Python functions: a bar in the output of a notebook cell, after the first second.

Without `progress=`, each function decides by itself: a notebook user cannot be expected to pass a progress object, and
a bar that needs `%load_ext` would be missing at the first install. Nothing is printed: the bar is displayed through
IPython, which is looked up among the loaded modules and never imported.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from html import escape

from datapkg.objects.progress import Pace, Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any

PATIENCE_S = 1.0
REFRESH_S = 0.2
STYLE = "font: 12px/1.6 var(--jp-ui-font-family, system-ui, sans-serif); opacity: .85"


def shown(progress: Progress | None) -> AbstractContextManager[Progress]:
    """Yield the progress that the caller gave; by default a bar in a notebook, and nothing elsewhere."""
    if progress is not None:
        return nullcontext(progress)
    return Bar() if is_notebook() else nullcontext(silent)


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook: IPython without a terminal."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask is not None else None
    return getattr(shell, "kernel", None) is not None


class Bar:
    """A `Progress` used in a `with`: one output in the cell, none for short work.

    At the end it becomes a line with the elapsed time, since an output cannot be removed.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._next = self._start + PATIENCE_S
        self._pace = Pace()
        self._output: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        self._pace.note(what, done, total, now)
        if now >= self._next:
            self._next = now + REFRESH_S
            self._show(bar_html(what, done, total, now - self._start, self._pace.text(now)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._show(end_html(*self._pace.last, time.monotonic() - self._start, is_done=kind is None))

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        if self._output is None:
            self._output = display(HTML(html), display_id=True)
        else:
            self._output.update(HTML(html))


def bar_html(what: str, done: int, total: int, elapsed_s: float, amount: str = "") -> str:
    """Return the HTML of a bar with its label, percentage, amount and time; indeterminate if no total is known."""
    words, share = escape(what[:40]), min(done / total, 1) if total > 0 else 0
    value = f' value="{share:.4f}"' if total > 0 else ""
    percent = f"{share:.0%} · " if total > 0 else ""
    percent += f"{escape(amount)} · " if amount else ""
    style = "width: 240px; vertical-align: middle; margin: 0 8px; accent-color: var(--jp-brand-color1, #3b82d6)"
    bar = f'<progress max="1"{value} style="{style}" aria-label="{words}"></progress>'
    return f'<div class="datapkg-progress" style="{STYLE}">{words}{bar}{percent}{elapsed_s:.0f} s</div>'


def end_html(what: str, done: int, total: int, elapsed_s: float, *, is_done: bool) -> str:
    """Return the line that replaces the bar: the elapsed time, or how much was done."""
    share = f"{min(done / total, 1):.0%}" if total > 0 else "the beginning"
    end = f"done in {elapsed_s:.0f} s" if is_done else f"stopped at {share} after {elapsed_s:.0f} s"
    return f'<div class="datapkg-progress" style="{STYLE}">{escape(what[:40])} · {end}</div>'
