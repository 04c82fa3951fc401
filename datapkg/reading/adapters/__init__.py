"""Convert tables to other libraries: one adapter a library, each loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datapkg.errors import MissingDependency

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike

ADAPTERS = {
    "dask": "datapkg.reading.adapters.dask_frame",
    "duckdb": "datapkg.reading.adapters.duckdb_relation",
    "geopandas": "datapkg.reading.adapters.geopandas_frame",
    "narwhals": "datapkg.reading.adapters.narwhals_frame",
    "polars": "datapkg.reading.adapters.polars_frame",
    "torch": "datapkg.reading.adapters.torch_dataset",
}
"""A library, by its name for pip, to the module whose `convert(table, …)` returns what that library works with."""


def convert(table: TableLike, library: str, *args: Any, **options: Any) -> Any:
    """Return a table in the form of a library; raise `MissingDependency` with the line that installs the library."""
    try:
        adapter = import_module(ADAPTERS[library])
    except ImportError as error:
        # The library is here, and lacks another one: its own error names that.
        if (error.name or "").partition(".")[0] != library:
            raise
        line = f"pip install {library}"
        raise MissingDependency(f"{library} is not installed; type: {line}", hint=line) from error
    return adapter.convert(table, *args, **options)
