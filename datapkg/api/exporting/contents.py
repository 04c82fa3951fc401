"""Produce the contents of exported files: objects unchanged, tables as one Parquet file, as text or as JSON."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from datapkg.api.exporting.links import link_object
from datapkg.api.exporting.plan import ExportTask, Origins, text_separator
from datapkg.api.exporting.stored_nodes import stored_bytes
from datapkg.api.exporting.text_forms import SEPARATORS, TextForm, plain_forms, recorded_form
from datapkg.building.text_content import content_of_text
from datapkg.building.text_proof import TextProof
from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.texts import quoted
from datapkg.objects.folders import OpenFolder
from datapkg.objects.progress import Share, between, counted, ignore_share
from datapkg.reading.source import Source
from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.cell_text import columns_of, not_as_text, pieces
from datapkg.reading.tables.delimited_text import Bytes, Dialect, write_text
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.block_reader import open_block
from datapkg.tables.pandas_metadata import BLOCK_KEY

# The part of the work on a text that is writing it: before it is read back, and before a proof that seldom fails.
_WRITTEN, _PROVEN = 0.4, 0.95


@dataclass(frozen=True)
class WrittenFile:
    """A file in the staging folder, named by a number: its task, size, sha256, the form of its text, and a note.

    Without a number, an earlier export wrote it, under the name `kept`; `key` is that of `exporting.record`.
    """

    task: ExportTask
    number: int | None
    size: int
    sha256: str
    form: TextForm | None = None
    note: str = ""
    key: str = ""
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Writer:
    """Write the nodes of one package into a staging folder; see `export` for `format` and `with_build_file`.

    Unless it `has_hashes`, the hash of what is written is "", which saves a tenth of the time.
    """

    source: Source
    staged: OpenFolder
    origins: Origins
    format: str | None = None
    with_build_file: bool = False
    link: str = "copy"
    share_of: Callable[[int], Share] = lambda number: ignore_share
    has_hashes: bool = True

    def write(self, task: ExportTask, number: int) -> WrittenFile:
        """Write the file of a task under a number, by which its progress is reported too."""
        node = task.node
        if not isinstance(node, TableNode):
            return WrittenFile(task, number, *self._put_object(number, node))
        table = StoredTable(self.source, node)
        if task.separator is None:
            return WrittenFile(task, number, *self._put_parquet(number, table))
        return self._write_text(task, table, number)

    def _put_parquet(self, number: int, table: StoredTable) -> tuple[int, str]:
        if len(table.node.blocks) == 1:
            return self._put_object(number, table.node)
        return self._put(number, counted(_parquet(table), table.node.size, self.share_of(number)))

    def _put_object(self, number: int, node: Any) -> tuple[int, str]:
        """Write the only object of a node; return its size and hash."""
        ((hash, size),) = node.objects()
        with self.source.explained(node.path):
            place = self.source.store.objects.trusted(hash)
        if link_object(place, self.staged, str(number), self.link):
            self.source.store.objects.index.mark_verified([place.path])  # a hard link changes the change time
            return size, hash
        return self._put(number, counted(stored_bytes(self.source, node), size, self.share_of(number)))

    def _write_text(self, task: ExportTask, table: StoredTable, number: int) -> WrittenFile:
        """Write a table as text that was verified to read back equal; otherwise as the format requires."""
        assert task.separator is not None
        came_from_text = text_separator(table.node, self.origins) is not None
        if came_from_text or self.with_build_file:
            for form in self._forms(task, table):
                if found := self._comes_back(table, form, number):
                    return WrittenFile(task, number, *found, form)
        problem = f"{table.node.path}: {_why_not_text(table)}"
        if self.format is None:
            size, hash = self._put_parquet(number, table)
            note = f"{problem}; it is written as Parquet"
            return WrittenFile(replace(task, separator=None), number, size, hash, note=note)
        if self.with_build_file or not_as_text(arrow_reader.schema(table)):
            raise InvalidInput(f"{problem}; nothing was written", hint="leave out --format, or say --format parquet")
        text = write_text(table, Dialect(task.separator), share=self.share_of(number))
        return WrittenFile(task, number, *self._put(number, text))

    def _forms(self, task: ExportTask, table: StoredTable) -> Iterator[TextForm]:
        origin = self.origins.get(table.node.path, {})
        if origin.get("transform") in SEPARATORS:
            schema = arrow_reader.schema(table)
            kwargs = origin.get("kwargs") or {}
            if (form := recorded_form(schema, origin["transform"], kwargs)) and not not_as_text(schema):
                yield form
        yield from plain_forms(table, task.separator or ",", may_have_kwargs=self.with_build_file)

    def _comes_back(self, table: StoredTable, form: TextForm, number: int) -> tuple[int, str] | None:
        """Write a table as text; return size and hash, None if a build of the text would return other values."""
        proof = _proof(table, form)
        written = _PROVEN if proof.is_open else _WRITTEN
        text = write_text(table, form.dialect, proof.check, between(self.share_of(number), 0, written))
        try:
            found = self._put(number, text)
        except (UnicodeError, LookupError, TypeError, InvalidInput):  # an unsuitable encoding or format
            return None
        path, share = self.staged.path / str(number), between(self.share_of(number), written, 1)
        if proof.holds(path, form.transform, pieces(table)):
            return found
        return found if content_of_text(path, form.transform, form.kwargs, share) == table.node.content else None

    def _put(self, number: int, pieces: Iterator[Bytes]) -> tuple[int, str]:
        name, size, sha256 = str(number), 0, hashlib.sha256()
        # A form that did not read back equal has left its file.
        if self.staged.status(name) is not None:
            self.staged.remove_file(name)
        with self.staged.new_file(name) as file:
            for piece in pieces:
                if self.has_hashes:
                    sha256.update(piece)
                size += file.write(piece)
        return size, sha256.hexdigest() if self.has_hashes else ""


def _proof(table: StoredTable, form: TextForm) -> TextProof:
    schema = arrow_reader.schema(table)
    labels = {each.name: each.label for each in columns_of(schema)}
    markers = {name: form.dialect.marker(label) for name, label in labels.items()}
    return TextProof(schema, labels, markers, form.dialect.separator, form.kwargs)


def _why_not_text(table: StoredTable) -> str:
    odd = [f"{quoted(each.label)} ({each.kind})" for each in not_as_text(arrow_reader.schema(table))]
    if odd:
        return f"text cannot hold the values of column {', '.join(odd[:5])}"
    return "as text it would not come back equal (its types, index or labels would differ)"


def _parquet(table: StoredTable) -> Iterator[bytes]:
    """Yield one Parquet file: the only object of a table, or its blocks as row groups."""
    source, node = table.source, table.node
    if len(node.blocks) == 1:
        yield from stored_bytes(source, node)
        return
    import pyarrow.parquet as pq

    pipe = _Pipe()
    writer: Any = None
    for hash, _ in node.objects():
        with closing(source.open(node.path, hash, whole=True)) as stream:
            rows = open_block(stream).read()
        if writer is None:
            # The metadata of a block describes that block only.
            metadata = {key: value for key, value in (rows.schema.metadata or {}).items() if key != BLOCK_KEY}
            writer = pq.ParquetWriter(pipe, rows.schema.with_metadata(metadata), compression="zstd")
        rows = rows.replace_schema_metadata(writer.schema.metadata)
        writer.write_table(rows.cast(writer.schema), row_group_size=max(1, rows.num_rows))
        yield pipe.take()
    writer.close()
    yield pipe.take()


class _Pipe(io.RawIOBase):
    """A write-only file whose content is taken out piece by piece, so that memory use stays small."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes and return their number."""
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
