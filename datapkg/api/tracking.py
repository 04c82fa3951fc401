"""Track which packages a program imports or loads and which of their nodes it reads, to pin these."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from datapkg.format.names import Ref
from datapkg.reading.observers import observing


class Seen:
    """What was imported, loaded and read; it may be asked while the program still runs, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[Ref, bool] = {}  # whether the code named the state itself, in each way that it was opened
        self._nodes: set[Ref] = set()

    def opened(self, ref: Ref, is_named: bool) -> None:
        """Note a state that was opened, as `Observer.opened`."""
        state = _state(ref)
        with self._lock:
            self._states[state] = self._states.get(state, True) and is_named

    def read(self, ref: Ref) -> None:
        """Note a node that is read, as `Observer.read`; its package may have been opened before."""
        with self._lock:
            self._states.setdefault(_state(ref), False)
            self._nodes.add(ref)

    @property
    def packages(self) -> list[Ref]:
        """The exact states of packages that were opened, or of which a node was read, in order."""
        with self._lock:
            return sorted(self._states, key=_order)

    @property
    def nodes(self) -> list[Ref]:
        """The exact references of the nodes that were read, in order."""
        with self._lock:
            return sorted(self._nodes, key=_order)

    def is_named(self, state: Ref) -> bool:
        """Return whether the code named this state itself, such as `datapkg.load("u/p@1.0")`."""
        with self._lock:
            return self._states[state]


def _order(ref: Ref) -> tuple[str, str, str]:
    return ref.package, ref.path, str(ref.state)


def _state(ref: Ref) -> Ref:
    return Ref(ref.user, ref.name, state=ref.state)


@contextmanager
def track() -> Iterator[Seen]:
    """Inside, note what any thread of this process imports or loads with datapkg, and which nodes it reads.

    An import of a package that was imported before is not seen, but a read of it is. Child processes are not seen.
    """
    seen = Seen()
    with observing(seen):
        yield seen
