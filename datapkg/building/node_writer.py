"""Store the value that a transform returned as objects and nodes: tables, arrays, files, and dicts as groups."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from datapkg.building.build_context import BIG_BYTES, BuildContext
from datapkg.building.cache import TransformResult
from datapkg.building.readers import TRANSFORMS, guess
from datapkg.building.readers.base import Described
from datapkg.building.readers.source_file import reporting_to
from datapkg.building.sources.content_check import check_content
from datapkg.building.sources.file import open_source, put_file
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, Node, TableNode
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.objects.progress import CountedReader, Share, between, ignore_share
from datapkg.tables.derived_objects import put_made

if TYPE_CHECKING:
    from datapkg.tables.text_block_cache import TextBlockCache

# The part of the work on a file that is stored unchanged that reading its values takes.
_INSPECTED = 0.8


def read_source(
    spec: NodeSpec, source: FileSource, stream: BinaryIO, context: BuildContext, share: Share = ignore_share
) -> tuple[TransformResult, bool]:
    """Read a source and return its result, and whether the source alone determined it."""
    transform = TRANSFORMS[spec.transform]
    wrong = check_content(source, stream)
    if transform.keep is not None and not spec.kwargs.get("rewrite"):
        with translated_errors(spec, source, wrong) as warnings:
            kept = transform.keep(stream, between(share, 0, _INSPECTED))
        warnings += wrong
        stream.seek(0)
        if kept is not None:
            size, share = os.fstat(stream.fileno()).st_size, between(share, _INSPECTED, 1)
            return _keep(kept, spec, cast(BinaryIO, CountedReader(stream, size, share)), context, warnings)
    assert transform.read is not None
    with translated_errors(spec, source, wrong) as warnings, reporting_to(share):
        # Absolute, because pandas takes a relative "file:/x" for a URL and "~/x" for the home directory.
        value = transform.read(source.path.absolute(), spec.kwargs, warnings.append)
        stored = NodeWriter(spec, context, source, share)
        nodes = stored.nodes(value, "")
    return TransformResult(nodes, warnings + wrong, stored.writer), stored.own


def _keep(
    kept: Any, spec: NodeSpec, stream: BinaryIO, context: BuildContext, warnings: list[str]
) -> tuple[TransformResult, bool]:
    """Return the node of a file that is stored unchanged, or with the objects an earlier state has for its table."""
    if not isinstance(kept, tuple) and (blocks := context.previous.blocks(spec.path, kept.hash)):
        return TransformResult([_kept(kept, blocks)], warnings), False
    hash, size = put_file(stream, context.objects)
    return TransformResult(
        [_kept(kept, [Block(hash, 0 if isinstance(kept, tuple) else kept.rows, size)])], warnings
    ), True


def _kept(found: Any, blocks: list[Block]) -> Node:
    """Return the node of a source whose bytes are its object: a table or an array."""
    if isinstance(found, tuple):
        dtype, shape = found
        return ArrayNode(path="", dtype=dtype, shape=shape, hash=blocks[0].hash, size=blocks[0].size)
    return TableNode(path="", columns=found.columns, content=found.hash, blocks=blocks, rows=found.rows)


class NodeWriter:
    """Store the value of a transform as nodes; `own` is true while the result does not depend on an earlier state."""

    def __init__(
        self, spec: NodeSpec, context: BuildContext, source: FileSource | None, share: Share = ignore_share
    ) -> None:
        self._spec, self._context, self._source, self._share = spec, context, source, share
        self.own = True
        self.writer: dict[str, Any] = {}

    def nodes(self, value: Any, path: str) -> list[Node]:
        """Return the nodes of a value; the values of a dict become nodes below its path."""
        import numpy

        from datapkg.tables.pandas_attrs import plain_attrs

        if isinstance(value, dict):
            return self._of_many(value, path)
        if isinstance(value, Path):
            return self._of_file(value, path)
        if isinstance(value, Described):
            meta, _ = plain_attrs(value.meta)
            return [msgspec.structs.replace(self._table(value.table, path), meta=meta)]
        if isinstance(value, numpy.ndarray):
            return [_array_node(value, path, self._context.objects)]
        return [self._table(value, path)]

    def _of_many(self, values: dict[str, Any], path: str) -> list[Node]:
        """Return the nodes of a dict, each of whose values is a part of the work by its number of rows."""
        nodes, done, whole = [], 0, self._share
        rows = [max(1, getattr(each, "num_rows", getattr(each, "rows", 0))) for each in values.values()]
        for (name, each), count in zip(values.items(), rows, strict=True):
            self._share = between(whole, done / sum(rows), (done + count) / sum(rows))
            nodes += self.nodes(each, self._below(path, name))
            done += count
        self._share = whole
        return nodes

    def _below(self, path: str, name: str) -> str:
        if problem := name_problem((*self._spec.path.split("/"), *filter(None, path.split("/")), name)):
            raise InvalidInput(f"{quoted(name)} cannot be the name of a node: {problem}")
        return f"{path}/{name}" if path else name

    def _of_file(self, file: Path, path: str) -> list[Node]:
        """Return the nodes of a file that a function wrote; its transform is guessed from its name."""
        source = FileSource(file, file.name)
        whole = f"{self._spec.path}/{path}" if path else self._spec.path
        transform = guess(file) if self._spec.transform == "id" else self._spec.transform
        spec = replace(self._spec, path=whole, source=source, transform=transform, kwargs={})
        with open_source(file, source.shown) as stream:
            if TRANSFORMS[spec.transform].kind == "file":
                hash, size = put_file(stream, self._context.objects)
                return [FileNode(path=path, hash=hash, size=size, file_name=file.name)]
            result, own = read_source(spec, source, stream, self._context, self._share)
        self.own = self.own and own
        return [msgspec.structs.replace(node, path="/".join(filter(None, (path, node.path)))) for node in result.nodes]

    def _table(self, value: Any, path: str) -> TableNode:
        from datapkg.tables.pandas_attrs import attrs_as_meta
        from datapkg.tables.table_writer import write_table

        cache, objects = self._context.cache, self._context.objects
        whole = f"{self._spec.path}/{path}" if path else self._spec.path
        options: dict[str, Any] = {"stored": self._stored(whole), "memo": self._memo(path), "share": self._share}
        written = write_table(value, objects, **options)
        blocks = self._context.previous.blocks(whole, written.content, written.blocks) or written.blocks
        if blocks != written.blocks:
            # The table equals a stored one with other blocks: keep those, so that nothing new has to be pushed.
            objects.discard(written.put)
        elif written.memo is not None:
            cache.keep_memo(self._spec, written.memo.encode())
        if len(blocks) > 1 and [each.rows for each in blocks] == [each.rows for each in written.blocks]:
            cache.keep_stored(written.content, written.mark, written.digests, blocks)
        self.own = self.own and written.own and blocks == written.blocks
        self.writer = self.writer or written.writer
        return TableNode(
            path=path,
            meta=attrs_as_meta(value.schema) if self._source is None else {},
            columns=written.columns,
            content=written.content,
            blocks=blocks,
            rows=written.rows,
        )

    def _stored(self, path: str) -> dict[bytes, Block]:
        """Return the blocks of the previous table at this path whose objects are present."""
        before = self._context.previous.table(path)
        found = self._context.cache.stored(before.content) if before is not None and len(before.blocks) > 1 else {}
        absent = self._context.objects.missing(block.hash for block in found.values())
        return {digests: block for digests, block in found.items() if block.hash not in absent}

    def _memo(self, path: str) -> TextBlockCache | None:
        from datapkg.tables.text_block_cache import TextBlockCache

        if self._source is None or path or self._source.path.stat().st_size < BIG_BYTES:
            return None
        data = self._context.cache.memo(self._spec)
        memo = TextBlockCache.decode(self._source.path, data) if data else TextBlockCache(self._source.path)
        return memo.without(self._context.objects.missing(memo.objects()))


def _array_node(value: Any, path: str, objects: Objects) -> ArrayNode:
    from datapkg.building.readers.numpy_array import check_dtype, to_bytes

    dtype, data = check_dtype(value.dtype), to_bytes(value)
    hash = put_made(objects, io.BytesIO(data))
    return ArrayNode(path=path, dtype=dtype, shape=list(value.shape), hash=hash, size=len(data))
