"""Capture the warnings of libraries for the caller in the same thread."""

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
    """Route all warnings of every thread to `captured_warnings`; threads without one drop them.

    Python has one `showwarning` for all threads, so it is replaced once around a build.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _hear
        yield


@contextmanager
def captured_warnings() -> Iterator[list[str]]:
    """Yield a list that is filled, when the block ends, with the distinct warnings raised in this thread."""
    messages: list[str] = []
    before = getattr(_here, "messages", None)
    caught: list[str] = []
    _here.messages = caught
    try:
        yield messages
    finally:
        _here.messages = before
    messages += dict.fromkeys(caught)


def _hear(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
    messages = getattr(_here, "messages", None)
    if messages is not None and not issubclass(category, _NOT_FOR_USERS):
        messages.append(str(message))
