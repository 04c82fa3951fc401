"""Prove, while a table is written as delimited text, that a build of the text returns the same values.

The types that have an exact text form are read by the fast CSV engine alone, whose types follow from its first piece
and from what each later value demands. So it is enough that

- the engine reads this file, and its first piece has the columns, types, labels and values of the table;
- no later value demands another type or becomes null: integers and booleans without nulls (unless the dtype is given
  as nullable), finite floats, text that is not a word for nulls. Integers and shortest floats are exact as text;
- every batch is cut into these cells: if Arrow's writer has not refused one of them, or by the numbers of separators
  and of line ends, if the text has no quotes; with quotes, by pyarrow's parser, whose text must be equal.

Anything else is not refuted but unproven, and the caller reads the whole text back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.warnings_capture import capture_warnings, captured_warnings
from datapkg.building.text_content import missing_words
from datapkg.errors import DatapkgError
from datapkg.tables.arrow_values import boolean_array, offsets_of
from datapkg.tables.block_boundaries import WIDE_COLUMNS
from datapkg.tables.byte_search import counts_of, is_ascii
from datapkg.tables.table_stream import RestartRead

if TYPE_CHECKING:
    import pyarrow as pa

# The explicit dtypes with which integers and booleans may have nulls.
_NULLABLE = ("Int64", "boolean")
# The engine leaves records of twice this length to pandas.
_MAX_BATCH_BYTES = 32 << 20


class TextProof:
    """What is proven of the text of one table, so far; `check` is called with each batch, in several threads.

    `labels` are the columns' labels by name, in the order of the text, and `markers` what their nulls are written as.
    """

    def __init__(
        self,
        schema: pa.Schema,
        labels: Mapping[str, str],
        markers: Mapping[str, str],
        separator: str,
        kwargs: dict[str, Any],
    ) -> None:
        self._schema, self._kwargs, self._separator = schema, kwargs, separator
        self._markers = markers
        self._with_nulls: set[str] = set()
        self.is_open = list(labels) == schema.names and 1 < len(labels) <= WIDE_COLUMNS and _are_exact(schema)
        self._words = {name: sorted(missing_words(kwargs, label)) for name, label in labels.items()}

    def check(self, batch: pa.RecordBatch, text: memoryview, is_plain: bool) -> None:
        """Check the values of a batch, and that its text consists of them.

        `is_plain` is whether the text was joined from cells none of which has a quote, a separator or a line end.
        """
        if self.is_open and not (
            all(map(self._is_kept, self._schema.names, batch.columns)) and self._is_cut(batch, text, is_plain)
        ):
            self.is_open = False

    def _is_kept(self, name: str, values: pa.Array) -> bool:
        """Return whether no value becomes null or changes the type of its column."""
        import pyarrow.compute as pc
        import pyarrow.types as types

        words = self._words[name]
        if values.null_count:
            self._with_nulls.add(name)
            if self._markers[name] not in words:
                return False
        if types.is_floating(values.type):
            return pc.all(pc.is_finite(values)).as_py() is not False
        if types.is_string(values.type) and words:
            return not _has_word(values, words)
        return True

    def _is_cut(self, batch: pa.RecordBatch, text: memoryview, is_plain: bool) -> bool:
        """Return whether a parser finds the cells of a batch in its text."""
        import numpy as np

        data = np.frombuffer(text, np.uint8)
        if len(data) > _MAX_BATCH_BYTES:
            return False
        if is_plain and is_ascii(data, has_nul=False):
            return True
        if not _is_utf8(data):
            return False
        nuls, returns, quotes, lines, separators = counts_of(data, b'\0\r"\n' + self._separator.encode())
        if nuls or returns:
            return False
        if quotes:
            return self._is_parsed(batch, text)
        return lines == len(batch) and separators == len(batch) * (batch.num_columns - 1)

    def _is_parsed(self, batch: pa.RecordBatch, text: memoryview) -> bool:
        """Return whether pyarrow finds as many rows in the text, and in them equal text values."""
        import pyarrow as pa
        import pyarrow.csv as csv

        names = batch.schema.names
        texts = [name for name in names if pa.types.is_string(batch.schema.field(name).type)]
        try:
            found = csv.read_csv(
                pa.BufferReader(pa.py_buffer(text)),
                csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
                csv.ParseOptions(delimiter=self._separator, newlines_in_values=False),
                csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=texts or names[:1],
                    null_values=sorted(set(self._markers.values())),
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return False
        same = (found.column(name).equals(pa.chunked_array([batch.column(name)])) for name in texts)
        return found.num_rows == len(batch) and all(same)

    def holds(self, path: Path, transform: str, rows: Iterable[pa.RecordBatch]) -> bool:
        """Return whether a build of the file, with all batches checked, certainly returns these rows."""
        read = TRANSFORMS[transform].read
        if not self.is_open or read is None:
            return False
        with capture_warnings(), captured_warnings():
            try:
                stream = read(path.absolute(), self._kwargs, lambda warning: None)
                return self._is_stream(stream) and self._begins(next(iter(stream.parts())).table, rows)
            except (DatapkgError, RestartRead, ValueError, OSError):
                return False

    def _is_stream(self, stream: Any) -> bool:
        """Return whether the fast engine reads the file, and its dtypes allow the nulls that there are."""
        from datapkg.building.readers.csv.arrow_engine import ArrowTextStream

        if not isinstance(stream, ArrowTextStream) or stream.layout.width != len(self._words):
            return False
        given = dict(zip(self._words, stream.layout.given, strict=True))
        return all(given[name] in _NULLABLE or _may_lack(self._schema.field(name)) for name in self._with_nulls)

    def _begins(self, first: pa.Table, rows: Iterable[pa.RecordBatch]) -> bool:
        """Return whether the first piece that a build reads has the types of the table, and its first rows."""
        import pyarrow as pa

        from datapkg.tables.content_hash import block_digests, column_texts
        from datapkg.tables.pandas_metadata import observed
        from datapkg.tables.storage_types import to_storage_types

        first = to_storage_types(first)
        if column_texts(first.schema) != column_texts(self._schema) or observed(first.schema) != observed(self._schema):
            return False
        if any(column.null_count == len(first) for column in first.columns):
            return False  # the type of such a column follows from later pieces
        wanted = pa.Table.from_batches(_until(rows, len(first))).slice(0, len(first))
        return len(wanted) == len(first) and block_digests(wanted) == block_digests(first)


def _are_exact(schema: pa.Schema) -> bool:
    """Return whether the text of all values is exact, and pandas can infer their types from it."""
    import pyarrow as pa

    return all(kind in (pa.int64(), pa.float64(), pa.bool_(), pa.string()) for kind in schema.types)


def _may_lack(field: pa.Field) -> bool:
    import pyarrow.types as types

    return bool(types.is_floating(field.type) or types.is_string(field.type))


def _has_word(values: pa.Array, words: list[str]) -> bool:
    """Return whether one of the values, which are text, is one of these words."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    offsets = offsets_of(values, np.int32)
    lengths = np.diff(offsets)
    longest = max(len(word.encode()) for word in words)
    if not len(lengths) or lengths.min() > longest:
        return False
    may_be = lengths <= longest
    first, last = int(offsets[0]), int(offsets[-1])
    if first < last:
        begins = np.zeros(256, bool)
        begins[[word.encode()[0] for word in words if word]] = True
        data = np.frombuffer(values.buffers()[2], np.uint8, last - first, first)
        may_be &= begins[data.take(offsets[:-1] - first, mode="clip")] | (lengths == 0)
    if not may_be.any():
        return False
    return bool(pc.any(pc.is_in(values.filter(boolean_array(may_be)), pa.array(words))).as_py())


def _is_utf8(data: Any) -> bool:
    if is_ascii(data):
        return True
    try:
        str(memoryview(data), "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _until(batches: Iterable[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """Return the first batches, with together at least so many rows if there are as many."""
    found = []
    for batch in batches:
        found.append(batch)
        if (rows := rows - len(batch)) <= 0:
            break
    return found
