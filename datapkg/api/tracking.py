"""Track which packages a program imports or loads and which of their nodes it reads, to pin these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.reading.observers import observing
from datapkg.reading.seen_facts import Facts

if TYPE_CHECKING:
    from datapkg.api.lock_results import LockResult


class Seen(Facts):
    """What was imported, loaded and read, which can be pinned; it may be asked while the program still runs."""

    def lock(self, folder: str | PathLike[str] = ".", *, dry_run: bool = False) -> LockResult:
        """Write what was seen into the `datapkg.yml` and `datapkg.lock` of a folder, and return the pins.

        A package gets a requirement for each node that was read, or one if none was. Other requirements and their pins
        stay. Raise `Conflict` where `datapkg.yml` asks for another state.
        """
        from datapkg.api.observed_lock import lock_seen
        from datapkg.home import Home

        return lock_seen(Home(), self, Path(folder), dry_run=dry_run)


@contextmanager
def track() -> Iterator[Seen]:
    """Inside, note what any thread of this process imports or loads with datapkg, and which nodes it reads.

    The result has `packages` and `nodes`, lists of exact refs, and `lock(folder)`, which pins them. An import of a
    package that was imported before is not seen, but a read of it is. Child processes are not seen.
    """
    seen = Seen()
    with observing(seen):
        yield seen
