"""What libraries warn of while they work, told to whoever asked in the same thread."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning, ImportWarning)
_here = threading.local()


@contextmanager
def capture_warnings() -> Iterator[None]:
    """Has all warnings go to `heard`, of every thread; those that nobody there listens to are dropped.

    Python keeps one way of showing warnings for all threads, so it is changed once around a build.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _hear
        yield


@contextmanager
def captured_warnings() -> Iterator[list[str]]:
    """Gives a list to which, at the end, is added what was warned of in this thread, each sentence once."""
    said: list[str] = []
    before = getattr(_here, "said", None)
    caught: list[str] = []
    _here.said = caught
    try:
        yield said
    finally:
        _here.said = before
    said += dict.fromkeys(caught)


def _hear(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
    said = getattr(_here, "said", None)
    if said is not None and not issubclass(category, _NOT_FOR_USERS):
        said.append(str(message))
