"""Table nodes: lazy frames that answer from the manifest, and read only what is asked for."""

from __future__ import annotations

from datapkg.format.suggestions import suggesting_keywords
from datapkg.reading.missing.python_code import expression
from datapkg.reading.nodes.interchange import TableInterchange
from datapkg.reading.nodes.not_loaded import NotLoaded, no_attribute, refuse_pandas_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    import pandas as pd
    import pyarrow as pa

    from datapkg.format.manifest.parsed import TableNode
    from datapkg.reading.tables.stored_table import StoredTable


class Table(NotLoaded, TableInterchange):
    """A table node: `node()` is a new DataFrame, `node["column"]` a Series, `node[["a", "b"]]` a DataFrame of two."""

    __kind__ = "table"

    @property
    def __entry__(self) -> TableNode:
        entry: TableNode = self.__source__.entry(self.__at__)  # type: ignore[assignment]
        return entry

    @property
    def __stored__(self) -> StoredTable:
        from datapkg.reading.tables.stored_table import StoredTable

        self.__source__.note_read(self.__at__)
        return StoredTable(self.__source__, self.__entry__)

    @suggesting_keywords
    def __call__(
        self,
        columns: Sequence[str] | None = None,
        filters: Any = None,
        *,
        rows: slice | None = None,
        frozen: bool = False,
        dtype_backend: str | None = None,
    ) -> pd.DataFrame:
        """Return a new DataFrame, which may be written to: all of the table, or some columns and rows.

        `rows` is a slice, as of a list of rows. Of these, `filters` keeps those that pass: it is a list of (column,
        operator, value) that all hold, or a list of such lists of which one holds; the operators are those of pyarrow:
        = == != < > <= >= in, not in. A `frozen` frame may share memory with others, such as a cached copy, and is
        read-only. `dtype_backend` is "pyarrow" or "numpy_nullable", as in pandas. `attrs["datapkg"]` has package, hash
        and path. Raise `NodeNotFound` for an unknown column, `InvalidInput`, `ObjectNotFound`, `CorruptObject`.
        """
        refuse_pandas_table(self)
        from datapkg.reading.tables import pandas_reader

        form = pandas_reader.Form(frozen, dtype_backend)
        return pandas_reader.read(self.__stored__, columns, filters, rows=rows, form=form)

    def __getitem__(self, key: str | list[str]) -> pd.Series | pd.DataFrame:
        from datapkg.reading.tables import pandas_reader

        if isinstance(key, list) and all(isinstance(name, str) for name in key):
            return pandas_reader.read(self.__stored__, key)
        if not isinstance(key, str):
            raise TypeError(
                "a table is indexed by a column name or a list of names; for rows, write node(rows=slice(0, 10)) or "
                f"node(filters=[(column, '>', 1)]): got {key!r:.80}"
            )
        return pandas_reader.read_column(self.__stored__, key)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[Any]:
        refuse_pandas_table(self)
        loaded = expression(self.__source__, self.__at__)
        raise TypeError(
            f"a table node is not loaded and cannot be iterated; write: for each in {loaded}(), or .columns"
        )

    def __len__(self) -> int:
        return self.rows

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name)

    def _ipython_key_completions_(self) -> list[str]:
        return self.columns

    def shard(self, part: int, num_parts: int) -> Any:
        """Return one part of the table, counted from 0, as a table; see `datapkg.shard`."""
        from datapkg.reading.nodes.sharding import part_of

        return part_of(self, part, num_parts)

    @property
    def content(self) -> str:
        """The hash of the values, equal for every writer."""
        return self.__entry__.content

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.__entry__.rows

    @property
    def columns(self) -> list[str]:
        """The names of the stored columns in order, including those of a pandas index."""
        refuse_pandas_table(self)
        return [name for name, _ in self.__entry__.columns]

    @property
    def dtypes(self) -> dict[str, str]:
        """The type of each stored column, as in the manifest."""
        return dict(self.__entry__.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and stored columns."""
        return self.rows, len(self.__entry__.columns)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with all its metadata, read from the footer of the first object."""
        from datapkg.reading.tables import arrow_reader

        return arrow_reader.schema(self.__stored__)

    @property
    def path(self) -> Path:
        """A read-only .parquet file, or a folder of several."""
        return self.__source__.path(self.__entry__)

    def open(self) -> BinaryIO:
        """Return the Parquet object as a stream, which the caller closes; raise `InvalidInput` if there are several."""
        from datapkg.errors import InvalidInput

        blocks = self.__entry__.blocks
        if len(blocks) > 1:
            place = self.__stored__.place
            raise InvalidInput(f"{place} is {len(blocks)} Parquet objects; their folder is node.path")
        return self.__source__.open(self.__at__, blocks[0].hash)

    @property
    def nbytes(self) -> int:
        """About how many bytes the table takes in Arrow's memory format, by the footers of its objects.

        Numbers and times are counted exactly; text as its uncompressed size, which is less than in memory if values
        repeat.
        """
        from datapkg.reading.tables import summary

        return summary.nbytes(self.__stored__)

    def describe(self) -> pd.DataFrame:
        """Return a row a stored column: its type, count, nulls, least and greatest; no values are read.

        What the footers do not give exactly is missing, such as the least and greatest of text.
        """
        from datapkg.reading.tables import summary

        return summary.describe(self.__stored__)

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first rows, or all but the last for a negative number; little more than these is read."""
        return self(rows=slice(None, n))

    def tail(self, n: int = 5) -> pd.DataFrame:
        """Return the last rows, or all but the first for a negative number; other blocks are not opened."""
        return self(rows=slice(max(self.rows - n, 0) if n >= 0 else -n, None))

    @suggesting_keywords
    def sample(self, n: int = 5, *, seed: int | None = None) -> pd.DataFrame:
        """Return rows chosen at random, in the order of the table, equal for an equal `seed`; at most all rows.

        Only the blocks that contain them are opened.
        """
        from random import Random

        from datapkg.errors import InvalidInput
        from datapkg.reading.tables import pandas_reader

        if not isinstance(n, int) or n < 0:
            raise InvalidInput(f"n is how many rows to pick, got {n!r:.80}")
        picks = sorted(Random(seed).sample(range(self.rows), min(n, self.rows)))
        return pandas_reader.read_rows(self.__stored__, picks)

    @suggesting_keywords
    def iter_batches(
        self, rows: int = 65_536, columns: Sequence[str] | None = None, filters: Any = None, *, arrow: bool = False
    ) -> Iterator[Any]:
        """Yield DataFrames of this many rows, the last with the remaining rows; if `arrow`, RecordBatches.

        At most a block and a batch are in memory. Rows keep the labels that they have in the whole table; those that
        pass filters are numbered from 0. Raise what `node()` raises, some of it when a block is reached.
        """
        from datapkg.reading.tables import arrow_reader, batches, pandas_reader

        question = arrow_reader.ask(self.__stored__, columns, filters, index=not arrow, own=not arrow)
        found = batches.batches(question, rows)
        return found if arrow else pandas_reader.frames_of(question, found)

    @suggesting_keywords
    def arrow(
        self, columns: Sequence[str] | None = None, filters: Any = None, *, rows: slice | None = None
    ) -> pa.Table:
        """Return the table as Arrow, a cached copy without copying it; the arguments are those of `node()`."""
        from datapkg.reading.tables import arrow_reader

        return arrow_reader.sliced(arrow_reader.ask(self.__stored__, columns, filters), rows)
