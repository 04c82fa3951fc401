"""How much each user has sent that is not published yet, without counting all of it at every upload."""

from __future__ import annotations

import threading
from collections.abc import Callable


class UnpublishedBytes:
    """At most how many bytes each user has sent and not published, by the number of the user.

    A push of very many objects is many uploads. To sum up the objects that arrived before at each of them would take
    longer than all the rest, with the square of their number.
    """

    def __init__(self) -> None:
        self._at_most: dict[int, int] = {}
        self._lock = threading.Lock()

    def are_more(self, user_id: int, limit: int, count: Callable[[], int]) -> bool:
        """Return whether there are more than `limit` bytes, which `count` returns exactly; it is called if unsure."""
        # Counted inside the lock: what is committed before is counted, and what is committed later is added.
        with self._lock:
            if self._at_most.get(user_id, limit + 1) > limit:
                self._at_most[user_id] = count()
            return self._at_most[user_id] > limit

    def add(self, user_id: int, size: int) -> None:
        """Add the bytes of objects, after the transaction that noted them.

        What was noted before counts twice, and what is published meanwhile goes on to count, until all is counted anew.
        """
        with self._lock:
            if user_id in self._at_most:
                self._at_most[user_id] += size
