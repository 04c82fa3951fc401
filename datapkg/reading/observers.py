"""Report to observers which states are opened and which of their nodes are read, in all threads of this process."""

from __future__ import annotations

from contextlib import contextmanager

from datapkg.settings import observed_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from datapkg.format.names import Ref

    class Observer(Protocol):
        """Gets reports of reads; refs are exact. Its methods are called in the thread that reads."""

        def opened(self, ref: Ref, is_named: bool) -> None:
            """Note a state that was imported or loaded; `is_named` if the code asked for this state itself."""

        def read(self, ref: Ref) -> None:
            """Note a node that is being read."""


# Nearly always empty. Its methods are atomic, so there is no lock that a fork could inherit while it is held.
_observers: list[Observer] = []
if _file := observed_file():
    from datapkg.reading.seen_facts import reporting_to

    _observers.append(reporting_to(_file))


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Inside, reads in any thread are reported to the observer."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def note_opened(ref: Ref, is_named: bool) -> None:
    """Report that a state was opened."""
    for each in _observers.copy():
        each.opened(ref, is_named)


def is_observed() -> bool:
    """Return whether there are observers of reads."""
    return bool(_observers)


def note_read(ref: Ref) -> None:
    """Report that a node is read."""
    for each in _observers.copy():
        each.read(ref)
