"""What lower floors may use of nodes: `reprs` and `adapters` take nodes, and `nodes` imports both of them.

Only type checkers import this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa

from datapkg.format.manifest.parsed import TableNode
from datapkg.reading.source import Source
from datapkg.reading.tables.stored_table import StoredTable


class NodeLike(Protocol):
    """A node of one state of a package."""

    __kind__: str
    __source__: Source
    __at__: str


class TableLike(NodeLike, Protocol):
    """A table node: what `Table` implements and adapters need."""

    @property
    def meta(self) -> dict[str, Any]: ...
    @property
    def __entry__(self) -> TableNode: ...
    @property
    def __stored__(self) -> StoredTable: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> list[str]: ...
    @property
    def path(self) -> Path: ...
    @property
    def schema(self) -> pa.Schema: ...
    def __call__(
        self,
        columns: Sequence[str] | None = None,
        filters: Any = None,
        *,
        rows: slice | None = None,
        frozen: bool = False,
        dtype_backend: str | None = None,
    ) -> pd.DataFrame: ...
    def arrow(
        self, columns: Sequence[str] | None = None, filters: Any = None, *, rows: slice | None = None
    ) -> pa.Table: ...
    def iter_batches(self, rows: int, *, arrow: bool) -> Iterator[Any]: ...
