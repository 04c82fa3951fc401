"""How other libraries take a table: the protocols they ask for, and a method for what each of them works with."""

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
    """A table as others see it; `Table` says the rest."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The PyCapsule interface of Arrow: other libraries take the node as it is, block by block.

        Source: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
        """
        from datapkg.reading.adapters import blocks

        return blocks.stream(self).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """The schema alone, by the same interface."""
        return self.schema.__arrow_c_schema__()

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        """The older interchange protocol of frames, which goes by the columns as Arrow keeps them.

        Source: https://data-apis.org/dataframe-protocol/latest/
        """
        return self.arrow().__dataframe__(nan_as_null, allow_copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Rows by columns, where all columns are numbers; raises `WrongType` where they are not, and to pandas."""
        refuse_pandas_table(self)
        from datapkg.reading.adapters import numpy_array

        return numpy_array.matrix(self, dtype, copy)

    @property
    def _typ(self) -> NoReturn:
        """What functions of pandas ask of all that they are given (`pandas/core/dtypes/generic.py`): `pd.concat`, say.

        Raises `WrongType` with the line that loads the frame; for all others there is no such attribute.
        """
        refuse_pandas_table(self)
        raise AttributeError("_typ")

    def __narwhals_dataframe__(self) -> Any:
        """What narwhals works with, and so altair, plotly and others: all of the table, in memory."""
        from datapkg.reading.adapters import convert

        return convert(self, "narwhals")

    def __dask_tokenize__(self) -> tuple[str, str]:
        """What dask knows the node by."""
        return self.__source__.hash, self.__at__

    def pandas(
        self, columns: Sequence[str] | None = None, filters: Any = None, dtype_backend: str | None = None
    ) -> pd.DataFrame:
        """The DataFrame that `node()` gives; with `dtype_backend="pyarrow"`, its columns are of Arrow's types."""
        return self(columns, filters, dtype_backend=dtype_backend)

    def numpy(self, columns: Sequence[str] | None = None, filters: Any = None) -> np.ndarray[Any, Any]:
        """An array of its own: rows by columns where all are numbers, else an array of records with named fields."""
        from datapkg.reading.adapters import numpy_array

        return numpy_array.convert(self, columns, filters)

    def polars(self, columns: Sequence[str] | None = None, filters: Any = None, *, lazy: bool = False) -> Any:
        """A DataFrame of polars; with `lazy`, a LazyFrame that reads what a query needs. Raises `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "polars", columns, filters, lazy=lazy)

    def lazy(self) -> Any:
        """A LazyFrame of polars, which reads what a query needs; raises `MissingDependency`."""
        return self.polars(lazy=True)

    def duckdb(self, columns: Sequence[str] | None = None, filters: Any = None, *, connection: Any = None) -> Any:
        """A relation of duckdb, of this connection or of its own in this process; raises `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "duckdb", columns, filters, connection=connection)

    def dask(self, columns: Sequence[str] | None = None) -> Any:
        """A DataFrame of dask, a partition a block; raises `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "dask", columns)

    def torch(
        self, columns: Sequence[str] | None = None, *, stream: bool = False, shuffle: bool = False, seed: int = 0
    ) -> Any:
        """A Dataset of torch by row number, or with `stream` an IterableDataset, whose samples are dicts by column.

        Both have `shard(rank, world)`. Raises `MissingDependency`.
        """
        from datapkg.reading.adapters import convert

        return convert(self, "torch", columns, stream=stream, shuffle=shuffle, seed=seed)

    def geopandas(self, columns: Sequence[str] | None = None, filters: Any = None) -> Any:
        """A GeoDataFrame, where the table says which column is a geometry; raises `MissingDependency`."""
        from datapkg.reading.adapters import convert

        return convert(self, "geopandas", columns, filters)
