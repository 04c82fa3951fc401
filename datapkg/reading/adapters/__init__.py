"""What a table turns into besides pandas and Arrow: one adapter a library, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datapkg.errors import MissingDependency

if TYPE_CHECKING:
    from datapkg.reading.nodes.tables import Table

ADAPTERS = {
    "polars": "datapkg.reading.adapters.polars_frame",
    "duckdb": "datapkg.reading.adapters.duckdb_relation",
}
"""Library to the module whose `convert(table)` gives what that library works with."""


def convert(table: Table, library: str) -> Any:
    """A table as what a library works with; raises `MissingDependency` with the line that installs the library."""
    try:
        return import_module(ADAPTERS[library]).convert(table)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        line = f"pip install {library}"
        raise MissingDependency(f"{library} is not installed; type: {line}", hint=line) from error
