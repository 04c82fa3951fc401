"""How one source becomes nodes: what earlier builds know of it, else its transform; most sources become one."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from datapkg.building.cache import BuildCache, Result, now_ns
from datapkg.building.directory import name_problem
from datapkg.building.files import StoreFailed, hash_source, open_source, put_file, put_made
from datapkg.building.hearing import heard
from datapkg.building.spec import FileSource, NodeSpec, PythonSource, SqlSource, ValueSource
from datapkg.building.transforms import TRANSFORMS, guess
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput, TransformFailed, Unreachable
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import ArrayNode, Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.names import shown
from datapkg.objects.base import Objects

if TYPE_CHECKING:
    from datapkg.building.memo import Memo

Secret = Callable[[str], str]

# Sources of this size and more are hashed while they are read, and a table of text is remembered by its stretches.
BIG_BYTES = 16 << 20


@dataclass(frozen=True)
class Made:
    """The nodes of a source, whether all their objects were there before, and what the record says about it.

    `why` says why they were built, or were not.
    """

    nodes: list[Node]
    reused: bool
    source: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    why: str = ""


class Earlier:
    """The state that a build starts from: which objects hold a content, and whether a node stays what it was."""

    def __init__(self, manifest: Manifest | None, objects: Objects) -> None:
        self._manifest = manifest
        tables = [node for node in manifest.nodes if isinstance(node, TableNode)] if manifest else []
        absent = objects.missing({hash for node in tables for hash, _ in node.objects()})
        whole = [node for node in tables if not any(hash in absent for hash, _ in node.objects())]
        self._tables = {node.content: node for node in reversed(whole)}
        self._at = {node.path: node for node in whole}

    def table(self, path: str) -> TableNode | None:
        """The table that was at this path, if its objects are here."""
        return self._at.get(path)

    def blocks(self, path: str, content: str) -> list[Block] | None:
        """The objects of a table of this content: of the one at this path, else of any."""
        before = self._at.get(path)
        if before is None or before.content != content:
            before = self._tables.get(content)
        return before.objects_ if before else None

    def has(self, node: Node) -> bool:
        """Whether the objects of a node are those that the node at its path had, or a table of the same content."""
        if isinstance(node, TableNode):
            return self.blocks(node.path, node.content) == node.objects_
        before = self._manifest.get(node.path) if self._manifest else None
        return before is not None and list(before.objects()) == list(node.objects())


@dataclass
class Desk:
    """What the makers of nodes work with: `absent` are objects of the cache that are not here."""

    objects: Objects
    earlier: Earlier
    cache: BuildCache
    secret: Secret
    absent: set[str] = field(default_factory=set)


def make_node(spec: NodeSpec, desk: Desk) -> Made:
    """Builds the nodes of one source.

    Raises `BuildFailed` for a file that cannot be read, `TransformFailed` for one that is not what it should be.
    """
    source = spec.source
    if isinstance(source, ValueSource):
        return _from_value(spec, source.value, desk)
    if isinstance(source, SqlSource):
        return _from_query(spec, source, desk)
    if isinstance(source, PythonSource):
        return _from_function(spec, source, desk)
    assert isinstance(source, FileSource)
    if TRANSFORMS[spec.transform].kind == "file":
        return _make_file(spec, source, desk)
    return _make_parsed(spec, source, desk)


def known_result(spec: NodeSpec, source: FileSource, desk: Desk) -> Made | None:
    """The nodes of a file that has not changed since it was built last; None if it has to be looked at."""
    known = desk.cache.hash_of(source.path)
    if known is None:
        return None
    hash, size = known
    if TRANSFORMS[spec.transform].kind == "file":
        return None if hash in desk.absent else _file(spec, source, desk, hash, size, "unchanged")
    result = desk.cache.result(spec, hash, source.name)
    if result is None or not _usable(result, desk):
        return None
    return _finished(spec, source, desk, result, (hash, size), "unchanged")


def _usable(result: Result, desk: Desk) -> bool:
    hashes = {hash for node in result.nodes for hash, _ in node.objects()}
    return not hashes & desk.absent and not desk.objects.missing(hashes)


def _make_file(spec: NodeSpec, source: FileSource, desk: Desk) -> Made:
    at = now_ns()
    with open_source(source.path, source.shown, source.within) as stream:
        status = os.fstat(stream.fileno())
        hash, size = put_file(stream, desk.objects)
    desk.cache.saw(source.path, status, at, hash)
    return _file(spec, source, desk, hash, size, "read")


def _file(spec: NodeSpec, source: FileSource, desk: Desk, hash: str, size: int, why: str) -> Made:
    node = FileNode(path=spec.path, meta=spec.meta, hash=hash, size=size, file_name=source.name)
    return Made([node], desk.earlier.has(node), _source(spec, source, hash, size), why=why)


def _make_parsed(spec: NodeSpec, source: FileSource, desk: Desk) -> Made:
    at = now_ns()
    with (
        open_source(source.path, source.shown, source.within) as stream,
        ThreadPoolExecutor(1, "datapkg-hash") as hasher,
    ):
        status = os.fstat(stream.fileno())
        size = status.st_size
        hash: str | Future[str]
        if size >= BIG_BYTES and not desk.cache.may_be_equal(source.path, size):
            hash = hasher.submit(_hash_file, source)
        else:
            hash, size = hash_source(stream)
            result = desk.cache.result(spec, hash, source.name)
            if result is not None and _usable(result, desk):
                desk.cache.saw(source.path, status, at, hash)
                return _finished(spec, source, desk, result, (hash, size), "same bytes")
        result, own = _read(spec, source, stream, desk)
        hash = hash if isinstance(hash, str) else hash.result()
    desk.cache.saw(source.path, status, at, hash)
    desk.cache.keep_result(spec, hash, source.name, result, own=own)
    return _finished(spec, source, desk, result, (hash, size), "read")


def _hash_file(source: FileSource) -> str:
    with open_source(source.path, source.shown, source.within) as stream:
        return hash_source(stream)[0]


def _read(spec: NodeSpec, source: FileSource, stream: BinaryIO, desk: Desk) -> tuple[Result, bool]:
    """What a source becomes, and whether nothing but the source settled it."""
    transform = TRANSFORMS[spec.transform]
    if transform.keep is not None and not spec.kwargs.get("rewrite"):
        with explained(spec, source) as said:
            kept = transform.keep(stream)
        stream.seek(0)
        if not isinstance(kept, tuple) and (blocks := desk.earlier.blocks(spec.path, kept.hash)):
            return Result([_kept(kept, blocks)], said), False
        hash, size = put_file(stream, desk.objects)
        return Result([_kept(kept, [Block(hash, 0 if isinstance(kept, tuple) else kept.rows, size)])], said), True
    assert transform.read is not None
    with explained(spec, source) as said:
        # Absolute: pandas takes a relative "file:/x" for an address and "~/x" for the home folder.
        value = transform.read(source.path.absolute(), spec.kwargs, said.append)
        stored = _Storing(spec, desk, source)
        nodes = stored.nodes(value, "")
    return Result(nodes, said, stored.writer), stored.own


def _kept(found: Any, blocks: list[Block]) -> Node:
    """The node of a source whose bytes are the object: a table or an array."""
    if isinstance(found, tuple):
        dtype, shape = found
        return ArrayNode(path="", dtype=dtype, shape=shape, hash=blocks[0].hash, size=blocks[0].size)
    return TableNode(path="", columns=found.columns, content=found.hash, objects_=blocks, rows=found.rows)


class _Storing:
    """Stores what a transform gave, and makes nodes of it; `own` says whether an earlier state had no say in it."""

    def __init__(self, spec: NodeSpec, desk: Desk, source: FileSource | None) -> None:
        self._spec, self._desk, self._source = spec, desk, source
        self.own = True
        self.writer: dict[str, Any] = {}

    def nodes(self, value: Any, path: str) -> list[Node]:
        """The nodes of a value; of a dict, those of each of its values below its path."""
        import numpy

        if isinstance(value, dict):
            return [node for name, each in value.items() for node in self.nodes(each, self._below(path, name))]
        if isinstance(value, Path):
            return self._of_file(value, path)
        if isinstance(value, numpy.ndarray):
            return [_array_node(value, path, self._desk.objects)]
        return [self._table(value, path)]

    def _below(self, path: str, name: str) -> str:
        if problem := name_problem((*self._spec.path.split("/"), *filter(None, path.split("/")), name)):
            raise InvalidInput(f"{shown(name)} cannot be the name of a node: {problem}")
        return f"{path}/{name}" if path else name

    def _of_file(self, file: Path, path: str) -> list[Node]:
        """The nodes of a file that a function made: read as its name says."""
        source = FileSource(file, file.name)
        whole = f"{self._spec.path}/{path}" if path else self._spec.path
        transform = guess(file) if self._spec.transform == "id" else self._spec.transform
        spec = replace(self._spec, path=whole, source=source, transform=transform, kwargs={})
        with open_source(file, source.shown) as stream:
            if TRANSFORMS[spec.transform].kind == "file":
                hash, size = put_file(stream, self._desk.objects)
                return [FileNode(path=path, hash=hash, size=size, file_name=file.name)]
            result, own = _read(spec, source, stream, self._desk)
        self.own = self.own and own
        return [msgspec.structs.replace(node, path="/".join(filter(None, (path, node.path)))) for node in result.nodes]

    def _table(self, value: Any, path: str) -> TableNode:
        from datapkg.building.attrs import attrs_as_meta
        from datapkg.building.tables import write_table

        cache, objects = self._desk.cache, self._desk.objects
        whole = f"{self._spec.path}/{path}" if path else self._spec.path
        written = write_table(value, objects, stored=self._stored(whole), memo=self._memo(path))
        blocks = self._desk.earlier.blocks(whole, written.content) or written.blocks
        if blocks != written.blocks:
            objects.forget(written.put)
        elif written.memo is not None:
            cache.keep_memo(self._spec, written.memo.encode())
        if len(blocks) == len(written.blocks) > 1:
            cache.keep_stored(written.content, written.mark, written.digests, blocks)
        self.own = self.own and written.own and blocks == written.blocks
        self.writer = self.writer or written.writer
        return TableNode(
            path=path,
            meta=attrs_as_meta(value.schema) if self._source is None else {},
            columns=written.columns,
            content=written.content,
            objects_=blocks,
            rows=written.rows,
        )

    def _stored(self, path: str) -> dict[bytes, Block]:
        """The blocks of the table that was at this path, as far as they are here."""
        before = self._desk.earlier.table(path)
        found = self._desk.cache.stored(before.content) if before is not None and len(before.objects_) > 1 else {}
        absent = self._desk.objects.missing(block.hash for block in found.values())
        return {digests: block for digests, block in found.items() if block.hash not in absent}

    def _memo(self, path: str) -> Memo | None:
        from datapkg.building.memo import Memo

        if self._source is None or path or self._source.path.stat().st_size < BIG_BYTES:
            return None
        data = self._desk.cache.memo(self._spec)
        memo = Memo.decode(self._source.path, data) if data else Memo(self._source.path)
        return memo.without(self._desk.objects.missing(memo.objects()))


def _array_node(value: Any, path: str, objects: Objects) -> ArrayNode:
    from datapkg.building.transforms.numpy_array import check_dtype, to_bytes

    dtype, data = check_dtype(value.dtype), to_bytes(value)
    hash = put_made(objects, io.BytesIO(data))
    return ArrayNode(path=path, dtype=dtype, shape=list(value.shape), hash=hash, size=len(data))


def _finished(
    spec: NodeSpec,
    source: FileSource | None,
    desk: Desk,
    result: Result,
    identity: tuple[str, int],
    why: str,
    more: dict[str, Any] | None = None,
) -> Made:
    """The nodes of a result in their places, tables with the objects that an earlier state has for them."""
    nodes = _placed(spec, result, desk, source.name if source else "")
    said = {"path": spec.path, **(more or {})} if source is None else _source(spec, source, *identity)
    if result.writer:
        said["writer"] = result.writer
    shown_as = source.shown if source else spec.path
    warnings = [f"{shown_as}: {each}" for each in result.warnings]
    return Made(nodes, all(desk.earlier.has(node) for node in nodes), said, warnings, why)


def _placed(spec: NodeSpec, result: Result, desk: Desk, file_name: str) -> list[Node]:
    nodes: list[Node] = []
    for node in result.nodes:
        path = f"{spec.path}/{node.path}" if node.path else spec.path
        changes: dict[str, Any] = {"path": path}
        if not node.path and not isinstance(node, GroupNode):
            changes |= {"meta": {**node.meta, **spec.meta}, "file_name": file_name or getattr(node, "file_name", "")}
        if isinstance(node, TableNode) and (blocks := desk.earlier.blocks(path, node.content)):
            changes["objects_"] = blocks
        nodes.append(msgspec.structs.replace(node, **changes))
    if spec.meta and all(node.path != spec.path for node in nodes):
        nodes.insert(0, GroupNode(path=spec.path, meta=spec.meta))
    return nodes


def _from_value(spec: NodeSpec, value: Any, desk: Desk) -> Made:
    with explained(spec, None) as said:
        stored = _Storing(spec, desk, None)
        nodes = stored.nodes(_plain_value(value), "")
    return _finished(spec, None, desk, Result(nodes, said, stored.writer), ("", 0), "a value")


def _plain_value(value: Any) -> Any:
    """A value in memory as a transform would give it."""
    import numpy
    import pandas
    import pyarrow

    from datapkg.building.frames import table_from_arrow, table_from_frame

    if isinstance(value, numpy.ndarray):
        return value
    return table_from_frame(value) if isinstance(value, pandas.DataFrame) else table_from_arrow(pyarrow.table(value))


def _from_query(spec: NodeSpec, source: SqlSource, desk: Desk) -> Made:
    """The rows that a query gives now."""
    from datapkg.building.databases import query

    url = desk.secret(source.connection)
    with placed(spec), explained(spec, None) as said:
        stored = _Storing(spec, desk, None)
        nodes = stored.nodes(query(source, url, spec.kwargs), "")
    more = {"sql": source.query, "connection": source.connection}
    return _finished(spec, None, desk, Result(nodes, said, stored.writer), ("", 0), "asked", more)


def _from_function(spec: NodeSpec, source: PythonSource, desk: Desk) -> Made:
    """What a function returns; one of files is called again only if its text, its files or its kwargs have changed."""
    from datapkg.building.functions import call, source_hash

    files = [{"file": each.shown, "hash": _hash_file(each)} for each in source.files]
    name = f"{source.module.name}:{source.function}"
    more: dict[str, Any] = {"python": name, "sha256": source_hash(source.module), "files": files}
    more |= {"kwargs": spec.kwargs} if spec.kwargs else {}
    key = hash_bytes(json.dumps(more, sort_keys=True, default=repr).encode())
    known = desk.cache.result(spec, key, name) if files else None
    if known is not None and _usable(known, desk):
        return _finished(spec, None, desk, known, ("", 0), "same inputs", more)
    with placed(spec), explained(spec, None) as said:
        called = call(source, spec.kwargs)
        said += called.printed
        stored = _Storing(spec, desk, None)
        result = Result(stored.nodes(called.value, ""), said, stored.writer)
    if files and called.sha256 == more["sha256"]:
        desk.cache.keep_result(spec, key, name, result, own=stored.own)
    return _finished(spec, None, desk, result, ("", 0), "asked" if not files else "read", more)


def _source(spec: NodeSpec, source: FileSource, hash: str, size: int) -> dict[str, Any]:
    said = {"path": spec.path, "file": source.shown, "hash": hash, "size": size, "transform": spec.transform}
    provider = TRANSFORMS[spec.transform].provider
    more = {"kwargs": spec.kwargs, "provider": provider}
    return {**said, **source.said, **{name: value for name, value in more.items() if value}}


@contextmanager
def explained(spec: NodeSpec, source: FileSource | None) -> Iterator[list[str]]:
    """Turns what a library raises into `TransformFailed`, in one line; gives a list that its warnings are added to."""
    with heard() as said:
        try:
            yield said
        except InvalidInput as error:
            raise _failure(spec, source, error, error.hint) from error
        except StoreFailed as error:
            raise error.__cause__ or error from None
        except DatapkgError:
            raise
        except Exception as error:
            raise _failure(spec, source, error) from error


@contextmanager
def placed(spec: NodeSpec) -> Iterator[None]:
    """Says in the errors of a query or function which node it is of."""
    try:
        yield
    except (BuildFailed, Unreachable) as error:
        place = spec.place or spec.path
        raise type(error)(
            f"{place}: {error}", hint=error.hint, **{"node": spec.path, **error.detail}
        ) from error.__cause__


def _failure(spec: NodeSpec, source: FileSource | None, error: Exception, hint: str = "") -> TransformFailed:
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    if source is None:
        return TransformFailed(f"{shown(spec.path)} cannot be kept: {reason}", hint=hint, node=spec.path)
    row = re.search(r"\b(?:line|row) (\d+)", reason)
    place = f"{spec.place}: " if spec.place and spec.place != source.shown else ""
    as_it_is = "transform: id" if source.said else f"{{file: {source.shown}, transform: id}}"
    return TransformFailed(
        f"{place}{shown(source.shown)} cannot be read as {spec.transform}: {reason}",
        hint=hint or f"to keep the file as it is, say in a build file: {as_it_is}",
        file=source.shown,
        node=spec.path,
        transform=spec.transform,
        **({"row": int(row[1])} if row else {}),
    )
