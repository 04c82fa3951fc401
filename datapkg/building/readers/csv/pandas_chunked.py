"""The second CSV engine: pandas in chunks, in two passes.

The first pass joins what pandas infers for each chunk to the dtypes that it would infer for the whole file; the second
reads the rows with these dtypes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.compression import for_pandas
from datapkg.building.readers.csv.chunk_dtypes import GIVEN_TEXT, JoinedColumn, given_dtypes
from datapkg.building.readers.csv.dialect import are_words
from datapkg.building.readers.csv.large_integers import inexact
from datapkg.building.readers.csv.schemas import schema_of
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from datapkg.tables.table_stream import RestartRead, TablePart, TableStream

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

# Every number contains a digit, except infinities.
_NUMBER = re.compile("[0-9]|inf", re.IGNORECASE)


class ChunkStream:
    """A table that pandas reads in chunks; its dtypes are inferred in the constructor.

    `slower(reason)` returns the stream that replaces this one if it meets something unsupported.
    """

    def __init__(self, path: Path, kwargs: dict[str, Any], rows: int, slower: Callable[[str], TableStream]) -> None:
        """Read the file once; raise `UnsupportedByEngine` for what chunks cannot determine, else what pandas raises."""
        self._path, self._kwargs, self._rows, self._slower = path, kwargs, rows, slower
        self._instead: TableStream | None = None
        as_text: set[Any] = set()
        labels, columns = self._settled(as_text)
        while more := {label for label, column in zip(labels, columns, strict=True) if column.needs_text}:
            as_text |= more
            labels, columns = self._settled(as_text)
        for label, column in zip(labels, columns, strict=True):
            if column.is_inexact:
                raise inexact(label)
        self._schema = schema_of(labels, [column.dtype for column in columns])
        self._kwargs = _with_dtypes(kwargs, labels, columns)
        self._perhaps_integers = [position for position, column in enumerate(columns) if column.perhaps_integers]

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the table."""
        return self._schema if self._instead is None else self._instead.schema

    def parts(self) -> Iterator[TablePart]:
        """Yield the rows in order; raise `RestartRead` if another engine must read them."""
        if self._instead is not None:
            yield from self._instead.parts()
            return
        try:
            yield from self._checked()
        except UnsupportedByEngine as reason:
            self._instead = self._slower(str(reason))
            raise RestartRead from None

    def _checked(self) -> Iterator[TablePart]:
        for chunk in self._chunks(self._kwargs):
            if any(_has_negative_zero(chunk.iloc[:, position]) for position in self._perhaps_integers):
                raise UnsupportedByEngine("-0, which is 0 among integers and -0.0 among floats")
            yield TablePart(_table(chunk, self._schema))

    def _settled(self, as_text: Set[Any]) -> tuple[pandas.Index, list[JoinedColumn]]:
        """Return the labels of the columns, and the dtypes inferred for them, from the text of those in `as_text`.

        It ends early if a column needs its text.
        """
        columns: list[JoinedColumn] = []
        rows = 0
        thousands, decimal = self._kwargs.get("thousands") or "", self._kwargs.get("decimal") or "."
        for chunk in self._chunks(_with_text(_without_numeric_dtypes(self._kwargs), as_text)):
            if not _is_numbered(chunk.index, rows):
                raise UnsupportedByEngine("rows have an index")
            labels = chunk.columns
            columns = columns or [
                JoinedColumn(given, thousands, decimal, label in as_text)
                for label, given in zip(labels, given_dtypes(labels, self._kwargs.get("dtype")), strict=True)
            ]
            for position, column in enumerate(columns):
                column.add(chunk.iloc[:, position])
            rows += len(chunk)
            if any(column.needs_text for column in columns):
                break
        if not rows or not columns:
            raise UnsupportedByEngine("no rows")
        return labels, columns

    def _chunks(self, kwargs: dict[str, Any]) -> Iterator[pandas.DataFrame]:
        import pandas

        with for_pandas(self._path, kwargs) as (source, options):
            try:
                with pandas.read_csv(source, **{**options, "low_memory": False, "chunksize": self._rows}) as chunks:
                    yield from chunks
            except UnicodeDecodeError:
                raise
            except pandas.errors.ParserError as error:
                # For files with carriage returns as line ends, pandas raises this at the end of a chunk, but not for
                # the whole file.
                if "Buffer overflow" in str(error):
                    raise UnsupportedByEngine(str(error)) from error
                raise
            except (TypeError, ValueError, ArithmeticError) as error:
                raise UnsupportedByEngine(str(error)) from error


def reads_in_chunks(kwargs: dict[str, Any]) -> bool:
    """Return whether these kwargs mean the same for chunks as for the whole file."""
    if {"names", "usecols"} <= kwargs.keys():
        return False
    return all(name in _UNDERSTOOD and _UNDERSTOOD[name](value) for name, value in kwargs.items())


def _without_numeric_dtypes(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the kwargs with text dtypes only: numeric columns are inspected through the dtype that pandas infers."""
    from pandas.api.types import pandas_dtype

    dtype = kwargs.get("dtype")
    if isinstance(dtype, dict):
        texts = {label: each for label, each in dtype.items() if str(pandas_dtype(each)) in GIVEN_TEXT}
        return {**kwargs, "dtype": texts or None}
    return kwargs if dtype is None or str(pandas_dtype(dtype)) in GIVEN_TEXT else {**kwargs, "dtype": None}


def _with_text(kwargs: dict[str, Any], labels: Set[Any]) -> dict[str, Any]:
    """Return the kwargs with the dtype of text for some columns."""
    if not labels:
        return kwargs
    if not are_words(kwargs.get("na_values") or []):
        raise UnsupportedByEngine("missing values that are compared as numbers, beside large integers")
    return {**kwargs, "dtype": {**(kwargs.get("dtype") or {}), **dict.fromkeys(labels, "str")}}


def _with_dtypes(kwargs: dict[str, Any], labels: pandas.Index, columns: list[JoinedColumn]) -> dict[str, Any]:
    """Return the kwargs with the inferred dtypes, except booleans: pandas would read other values as text."""
    dtype = kwargs.get("dtype")
    if dtype is not None and not isinstance(dtype, dict):
        return kwargs
    if not all(isinstance(label, str) for label in labels) and list(labels) != list(range(len(labels))):
        raise UnsupportedByEngine("columns are named by numbers that are not their places")
    inferred = {
        label: column.dtype
        for label, column in zip(labels, columns, strict=True)
        if column.dtype in ("int64", "uint64", "Int64", "float64", "str")
    }
    return {**kwargs, "dtype": {**inferred, **(dtype or {})}}


def _is_numbered(index: pandas.Index, start: int) -> bool:
    """Return whether rows have the default index; a column used as an index may be a range too."""
    import pandas

    return isinstance(index, pandas.RangeIndex) and (index.start, index.step, index.name) == (start, 1, None)


def _has_negative_zero(values: pandas.Series) -> bool:
    import numpy as np

    array = values.to_numpy()
    return bool((np.signbit(array) & (array == 0)).any())


def _table(chunk: pandas.DataFrame, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    arrays = [_array(chunk.iloc[:, position], field.type) for position, field in enumerate(schema)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: pandas.Series, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa

    return pa.nulls(len(values), kind) if values.isna().all() else pa.array(values, kind, from_pandas=True)


def _any(value: Any) -> bool:
    return True


def _are_no_numbers(value: Any) -> bool:
    """Return whether these words for booleans are certainly not numbers, of which a chunk might consist entirely."""
    return value is None or (isinstance(value, (list, tuple)) and all(map(_is_no_number, value)))


def _is_no_number(word: Any) -> bool:
    return isinstance(word, str) and _NUMBER.search(word) is None


# The kwargs that mean the same for chunks, each with a predicate of its supported values.
_UNDERSTOOD: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("sep", "delimiter", "names", "dtype", "skipinitialspace"), _any),
    **dict.fromkeys(("true_values", "false_values"), _are_no_numbers),
    **dict.fromkeys(("na_values", "keep_default_na", "na_filter", "skip_blank_lines", "thousands", "decimal"), _any),
    **dict.fromkeys(("lineterminator", "quotechar", "quoting", "doublequote", "escapechar", "comment"), _any),
    **dict.fromkeys(("encoding", "encoding_errors", "low_memory", "memory_map", "compression"), _any),
    "header": lambda value: value is None or value == "infer" or type(value) is int,
    "usecols": lambda value: value is None or isinstance(value, (list, tuple)),
    "skiprows": lambda value: value is None or type(value) is int,
    "engine": lambda value: value in (None, "c"),
    "on_bad_lines": lambda value: value in ("error", "skip"),
    "index_col": lambda value: value is None or value is False,
}
