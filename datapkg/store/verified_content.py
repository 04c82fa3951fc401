"""Remember the tables whose stated `content` is known on this machine to match their objects.

The `content` in a manifest is a claim of its writer. A table is verified if it was built here, or if its content was
recomputed from its objects once. The results are in the index, under a key that covers content, columns, rows and
objects: nothing that a registry sends can write them, and if the index is lost they are computed again.
"""

from __future__ import annotations

from functools import partial

from datapkg.format.manifest.claim_key import claim_key
from datapkg.objects.progress import Share, ignore_share
from datapkg.tables.content_claims import claim_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from datapkg.format.manifest.parsed import TableNode
    from datapkg.objects.base import Readable
    from datapkg.store.index import Index

_PREFIX = "claim:"


class VerifiedContent:
    """Verified tables; `index` keeps them between processes, without it only this object knows them."""

    def __init__(self, index: Index | None = None) -> None:
        self._index = index
        self._known: set[str] = set()
        self._problems: dict[str, str] = {}

    def look_up(self, tables: Iterable[TableNode]) -> None:
        """Load from the index, in few queries, which of these tables are verified."""
        keys = {claim_key(each) for each in tables} - self._known
        if self._index is not None and keys:
            found = self._index.get_many(_PREFIX + key for key in keys)
            self._known |= {key.removeprefix(_PREFIX) for key in found}

    def is_verified(self, table: TableNode) -> bool:
        """Return whether the content is known to be right, without reading any object."""
        key = claim_key(table)
        if key not in self._known:
            self.look_up([table])
        return key in self._known

    def mark_verified(self, tables: Iterable[TableNode]) -> None:
        """Record that the content of these tables was computed from, or written into, their objects on this machine."""
        new = {claim_key(each) for each in tables} - self._known
        self._known |= new
        if self._index is not None and new:
            self._index.put_many(dict.fromkeys((_PREFIX + key for key in new), b"1"))

    def problem(self, table: TableNode, objects: Readable, *, again: bool = False, share: Share = ignore_share) -> str:
        """Return how the objects, which must be here, differ from the table's stated content; "" if they do not.

        They are read unless the table is already verified; with `again`, in any case. `share` reports the progress.
        """
        key = claim_key(table)
        if not again and self.is_verified(table):
            return ""
        if again or key not in self._problems:
            opened = [partial(objects.open, block.hash) for block in table.blocks]
            self._problems[key] = claim_problem(table, opened, share)
        if not self._problems[key]:
            self.mark_verified([table])
        return self._problems[key]
