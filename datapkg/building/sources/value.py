"""Read values in memory as sources: DataFrames, Arrow tables and numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datapkg.building.sources.base import Identity, SourceContext, SourceHandler
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.spec.model import NodeSpec, ValueSource


class ValueHandler(SourceHandler[ValueSource]):
    """A value in memory, which is stored at every build."""

    def identity(self, spec: NodeSpec, source: ValueSource, context: SourceContext) -> Identity:
        """Return an identity without a key: a value may have changed in place."""
        return Identity({"path": spec.path}, why_read="a value")

    @contextmanager
    def read(
        self, spec: NodeSpec, source: ValueSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield the value in the form that a transform would return."""
        with translated_errors(spec, None) as warnings:
            yield plain_value(source.value), warnings


def plain_value(value: Any) -> Any:
    """Return a value in the form that a transform would return; raise `InvalidInput` for invalid Arrow data."""
    import numpy
    import pandas
    import pyarrow

    from datapkg.building.readers.validity import check_values
    from datapkg.tables.extension_types import without_inner_extensions
    from datapkg.tables.frame_to_arrow import table_from_arrow, table_from_frame

    if isinstance(value, numpy.ndarray):
        return value
    if isinstance(value, pandas.Series):
        value = value.to_frame()
    if isinstance(value, pandas.DataFrame):
        return table_from_frame(value)
    table = pyarrow.table(value)
    check_values(table)
    return table_from_arrow(without_inner_extensions(table))
