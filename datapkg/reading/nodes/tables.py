"""Tables: lazy frames that answer what the manifest knows, and read only what is asked."""

from __future__ import annotations

from datapkg.errors import NodeNotFound
from datapkg.reading.nodes.base import is_dunder
from datapkg.reading.nodes.interchange import Exchanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    import pandas as pd
    import pyarrow as pa

    from datapkg.format.manifest import TableNode


class Table(Exchanged):
    """A table: `node()` is a fresh DataFrame, `node["column"]` a Series, `node[["a", "b"]]` a DataFrame of two."""

    @property
    def __entry__(self) -> TableNode:
        entry: TableNode = self.__source__.entry(self.__at__)  # type: ignore[assignment]
        return entry

    def __call__(self, columns: Sequence[str] | None = None, filters: Any = None) -> pd.DataFrame:
        """A DataFrame of its own, which may be written to: all of the table, or some columns and rows.

        `filters` is a list of (column, operator, value) that all hold, or a list of such lists one of which holds;
        operators are those of pyarrow: = == != < > <= >= in, not in. Raises `NodeNotFound` for an unknown column,
        `InvalidInput`, `ObjectNotFound`, `CorruptObject`.
        """
        from datapkg.reading import frames

        return frames.read(self.__source__, self.__entry__, columns, filters)

    def __getitem__(self, key: str | list[str]) -> pd.Series | pd.DataFrame:
        from datapkg.reading import frames

        if isinstance(key, list):
            return frames.read(self.__source__, self.__entry__, key)
        if not isinstance(key, str):
            raise TypeError(f"a table has columns by name, or a list of names; rows are in node(): got {key!r:.80}")
        return frames.read_column(self.__source__, self.__entry__, key)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a table is not iterated as it is: load it with node(), or take node.columns")

    def __len__(self) -> int:
        return self.rows

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if is_dunder(name):
            raise AttributeError(name)
        place = f"{self.__source__.ref.package}/{self.__at__}"
        if name in self.columns:
            raise NodeNotFound(f"{place}: a column is taken with [{name!r}]")
        raise NodeNotFound(f"{place} is a table node, which has no {name!r}; load it first: node().{name}")

    def _ipython_key_completions_(self) -> list[str]:
        return self.columns

    @property
    def content(self) -> str:
        """The hash of the values, the same for every writer of them."""
        return self.__entry__.content

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.__entry__.rows

    @property
    def columns(self) -> list[str]:
        """The names of the stored columns in order; those of an index that pandas had are among them."""
        return [name for name, _ in self.__entry__.columns]

    @property
    def dtypes(self) -> dict[str, str]:
        """The type of each stored column, in words of the manifest."""
        return dict(self.__entry__.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and stored columns there are."""
        return self.rows, len(self.__entry__.columns)

    @property
    def schema(self) -> pa.Schema:
        """The schema in Arrow, with all its metadata; reads the end of the first object."""
        from datapkg.reading import parquet

        return parquet.schema(self.__source__, self.__entry__)

    @property
    def path(self) -> Path:
        """A read-only .parquet file, or a folder of several."""
        return self.__source__.path(self.__entry__)

    def open(self) -> BinaryIO:
        """The Parquet object as a stream, which the caller closes; raises `InvalidInput` for one of several objects."""
        from datapkg.errors import InvalidInput

        blocks = self.__entry__.objects_
        if len(blocks) > 1:
            place = f"{self.__source__.ref.package}/{self.__at__}"
            raise InvalidInput(f"{place} is {len(blocks)} Parquet objects; their folder is node.path")
        return self.__source__.open(self.__at__, blocks[0].hash)

    def head(self, rows: int = 5) -> pd.DataFrame:
        """The first rows as a DataFrame; little more than they is read."""
        from datapkg.reading import frames, parquet

        return frames.to_pandas(parquet.head(self.__source__, self.__entry__, rows))

    def arrow(self, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
        """The table as Arrow keeps it; arguments as those of `node()`."""
        from datapkg.reading import parquet

        return parquet.read(self.__source__, self.__entry__, columns, filters)
