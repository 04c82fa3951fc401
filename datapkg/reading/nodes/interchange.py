"""How other libraries use a table node: the protocols they call, and a method for what each of them works with."""

from __future__ import annotations

from datapkg.reading.nodes.base import Node
from datapkg.reading.nodes.not_loaded import refuse_pandas_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    import numpy as np
    import pandas as pd

    from datapkg.reading.protocols import TableLike
else:
    TableLike = object


class TableInterchange(Node, TableLike):
    """The protocols and conversions of a table node; `Table` adds the rest."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the table by Arrow's PyCapsule interface, block by block.

        Source: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
        """
        from datapkg.reading.adapters import blocks

        return blocks.stream(self).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """Export only the schema, by the same interface."""
        return self.schema.__arrow_c_schema__()

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        """Export the table by the older interchange protocol of frames, with the columns of Arrow.

        Source: https://data-apis.org/dataframe-protocol/latest/
        """
        return self.arrow().__dataframe__(nan_as_null, allow_copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return rows by columns, if all columns are numbers; raise `WrongType` if not, or if pandas asks."""
        refuse_pandas_table(self)
        from datapkg.reading.adapters import numpy_array

        return numpy_array.matrix(self, dtype, copy)

    @property
    def _typ(self) -> NoReturn:
        """Refuse what pandas functions such as `pd.concat` read of every argument (`pandas/core/dtypes/generic.py`).

        Raise `WrongType` with the line that loads the frame; for other callers there is no such attribute.
        """
        refuse_pandas_table(self)
        raise AttributeError("_typ")

    def __narwhals_dataframe__(self) -> Any:
        """Return what narwhals (and so altair, plotly and others) works with: the whole table."""
        from datapkg.reading.adapters import convert

        return convert(self, "narwhals")

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Return the identity of the node for dask."""
        return self.__source__.hash, self.__at__

    def pandas(
        self, columns: Sequence[str] | None = None, filters: Any = None, dtype_backend: str | None = None
    ) -> pd.DataFrame:
        """Return the DataFrame of `node()`; with `dtype_backend="pyarrow"`, its columns have Arrow types."""
        return self(columns, filters, dtype_backend=dtype_backend)

    def numpy(self, columns: Sequence[str] | None = None, filters: Any = None) -> np.ndarray[Any, Any]:
        """Return a new array: rows by columns if all are numbers, else an array of records with named fields."""
        from datapkg.reading.adapters import numpy_array

        return numpy_array.convert(self, columns, filters)

    def polars(self, columns: Sequence[str] | None = None, filters: Any = None, *, lazy: bool = False) -> Any:
        """Return a DataFrame of polars; if `lazy`, a LazyFrame. Raise `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "polars", columns, filters, lazy=lazy)

    def lazy(self) -> Any:
        """Return a LazyFrame of polars, which reads what a query needs; raise `MissingDependency`."""
        return self.polars(lazy=True)

    def duckdb(self, columns: Sequence[str] | None = None, filters: Any = None, *, connection: Any = None) -> Any:
        """Return a relation of duckdb, of this connection or of the default one; raise `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "duckdb", columns, filters, connection=connection)

    def dask(self, columns: Sequence[str] | None = None) -> Any:
        """Return a DataFrame of dask with one partition a block; raise `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "dask", columns)

    def torch(
        self, columns: Sequence[str] | None = None, *, stream: bool = False, shuffle: bool = False, seed: int = 0
    ) -> Any:
        """Return a Dataset of torch by row number or, if `stream`, an IterableDataset; samples are dicts by column.

        Both have `shard(rank, world)`. Raise `MissingDependency`.
        """
        from datapkg.reading.adapters import convert

        return convert(self, "torch", columns, stream=stream, shuffle=shuffle, seed=seed)

    def geopandas(self, columns: Sequence[str] | None = None, filters: Any = None) -> Any:
        """Return a GeoDataFrame, if the table names a geometry column; raise `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "geopandas", columns, filters)
