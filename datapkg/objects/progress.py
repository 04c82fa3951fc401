"""How long work tells how far it is: a function that the caller gives."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is done ("sending", "building"), how many bytes or nodes of it are done, and how many in all."""


def silent(what: str, done: int, total: int) -> None:
    """The progress that tells nobody."""
