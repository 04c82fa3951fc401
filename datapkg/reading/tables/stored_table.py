"""A table of one state of a package, together with where its objects are read from."""

from __future__ import annotations

from dataclasses import dataclass

from datapkg.format.manifest.parsed import TableNode
from datapkg.reading.source import Source


@dataclass(frozen=True)
class StoredTable:
    """A table's entry in the manifest, and the state that has its objects."""

    source: Source
    node: TableNode

    @property
    def place(self) -> str:
        """The table as messages name it: `user/name/path`."""
        return f"{self.source.ref.package}/{self.node.path}"
