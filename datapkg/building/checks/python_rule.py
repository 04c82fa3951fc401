"""`python` checks: call a function beside the build file that returns which rows are valid.

It receives the table in pieces, each a DataFrame with the row labels of the whole table, and returns one boolean per
row, or one for the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from datapkg.building.checks.columns import CheckedColumn, Unfit
from datapkg.building.checks.finding import SAMPLE_ROWS, Finding
from datapkg.building.sources.function import explained, loaded, printed
from datapkg.building.spec.model import PythonSource
from datapkg.errors import CheckFailed, InvalidInput, TransformFailed
from datapkg.tables.pandas_metadata import restore_categories

_NO_FRAME = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    pa.ArrowException,
)


def find(source: PythonSource, columns: Sequence[CheckedColumn], chosen: Sequence[CheckedColumn]) -> list[Finding]:
    """Return the rows that the function reports as wrong; it receives the chosen columns, or all if none is chosen.

    An exception that it raises is a finding too. Raise `Unfit` if there is no such function, or it returns no booleans.
    """
    place = f"{source.function}() of {source.module.name}"
    found = Finding("python", "", f"rejected by {place}")
    large: list[Finding] = []
    try:
        with loaded(source.module, source.function) as function:
            for first, frame in _frames(chosen or columns):
                verdict = _verdict(function, frame, source)
                if not isinstance(verdict, bool | np.bool_):
                    _look(found, verdict, first, len(frame), place)
                elif not verdict and not large:
                    sentence = f"rows {first:,} to {first + len(frame) - 1:,} are rejected by {place}"
                    large.append(Finding("python", "", sentence))
    except CheckFailed as error:
        return [Finding("python", "", str(error))]
    except (TransformFailed, InvalidInput) as error:
        raise Unfit(str(error)) from error
    return [*([found] if found.rows else []), *large]


def _frames(columns: Sequence[CheckedColumn]) -> Iterator[tuple[int, Any]]:
    """Yield (number of the first row, rows as a DataFrame) piece by piece; an empty table yields one empty frame."""
    import pandas

    tables, node, first = columns[0].tables, columns[0].node, columns[0].first_row
    for batch in tables.batches(node, [each.index for each in columns]):
        table = restore_categories(pa.Table.from_batches([batch]))
        try:
            frame = table.to_pandas()
        except _NO_FRAME:
            # What the metadata of pandas says may be wrong, or written to stop a read.
            frame = table.replace_schema_metadata(None).to_pandas()
        if isinstance(frame.index, pandas.RangeIndex):
            frame.index = pandas.RangeIndex(first - 1, first - 1 + len(frame))
        yield first, frame
        first += len(batch)


def _verdict(function: Callable[..., Any], frame: Any, source: PythonSource) -> Any:
    with printed(), explained(source.module, f"{source.function}()", CheckFailed):
        return function(frame)


def _look(found: Finding, verdict: Any, first: int, rows: int, place: str) -> None:
    right = _booleans(verdict)
    if right is None or len(right) != rows:
        got = type(verdict).__name__ if right is None else f"{len(right):,} booleans for {rows:,} rows"
        raise InvalidInput(f"{place} gave {got}; expected one boolean a row, or one for all")
    wrong = np.flatnonzero(~right)
    found.rows += len(wrong)
    found.samples += [(first + int(at), "") for at in wrong[: SAMPLE_ROWS - len(found.samples)]]


def _booleans(verdict: Any) -> Any:
    """Return one boolean per row as a numpy array, with missing ones true; None if these are not booleans."""
    if isinstance(verdict, pa.Array | pa.ChunkedArray):
        verdict = verdict.to_pandas()
    if getattr(verdict, "ndim", 1) != 1 or isinstance(verdict, str | dict) or not hasattr(verdict, "__len__"):
        return None
    import pandas

    values = pandas.Series(verdict)
    if str(values.dtype) not in ("bool", "boolean", "bool[pyarrow]"):
        kept = [each for each in values if not pandas.isna(each)]
        if not all(isinstance(each, bool | np.bool_) for each in kept):
            return None
    return np.array([True if pandas.isna(each) else bool(each) for each in values], dtype=np.bool_)
