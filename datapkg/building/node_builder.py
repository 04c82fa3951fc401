"""How one source becomes nodes: what earlier builds know of it, else its transform; most sources become one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from datapkg.building.build_context import BIG_BYTES, BuildContext, PreviousState
from datapkg.building.cache import TransformResult, now_ns
from datapkg.building.many_files import hash_files, read_files, source_record_of_files
from datapkg.building.node_writer import NodeWriter, read_source
from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.content_check import check_content
from datapkg.building.sources.file import hash_source, open_source, put_file
from datapkg.building.sources.source_errors import located_errors, translated_errors
from datapkg.building.spec.model import FileSource, FilesSource, NodeSpec, PythonSource, SqlSource, ValueSource
from datapkg.errors import InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, GroupNode, Node, TableNode
from datapkg.format.metadata import COLUMNS_KEY

# Reasons for which nothing was read: all objects were here before.
KNOWN = ("unchanged", "same bytes", "same inputs")


@dataclass(frozen=True)
class BuiltNodes:
    """The nodes of a source, whether all their objects were there before, and what the record says about it.

    `why` says why they were built, or were not.
    """

    nodes: list[Node]
    reused: bool
    source: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    why: str = ""


def build_node(spec: NodeSpec, desk: BuildContext) -> BuiltNodes:
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
    if isinstance(source, FilesSource):
        return _from_files(spec, source, desk)
    assert isinstance(source, FileSource)
    if TRANSFORMS[spec.transform].kind == "file":
        return _make_file(spec, source, desk)
    return _make_parsed(spec, source, desk)


def known_result(spec: NodeSpec, source: FileSource, desk: BuildContext) -> BuiltNodes | None:
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


def _usable(result: TransformResult, desk: BuildContext) -> bool:
    hashes = {hash for node in result.nodes for hash, _ in node.objects()}
    return not hashes & desk.absent and not desk.objects.missing(hashes)


def _make_file(spec: NodeSpec, source: FileSource, desk: BuildContext) -> BuiltNodes:
    at = now_ns()
    with open_source(source.path, source.shown, source.within) as stream:
        status = os.fstat(stream.fileno())
        wrong = check_content(source, stream)
        hash, size = put_file(stream, desk.objects)
    desk.cache.record_hash(source.path, status, at, hash)
    return _file(spec, source, desk, hash, size, "read", [f"{source.shown}: {each}" for each in wrong])


def _file(
    spec: NodeSpec, source: FileSource, desk: BuildContext, hash: str, size: int, why: str, warnings: Sequence[str] = ()
) -> BuiltNodes:
    node = file_node(spec, source, hash, size)
    is_reused = why in KNOWN or desk.previous.has(node)
    return BuiltNodes([node], is_reused, source_record(spec, source, hash, size), list(warnings), why)


def file_node(spec: NodeSpec, source: FileSource, hash: str, size: int) -> FileNode:
    """The node of a file that is kept as it is."""
    return FileNode(path=spec.path, meta=spec.meta, hash=hash, size=size, file_name=source.name)


def _make_parsed(spec: NodeSpec, source: FileSource, desk: BuildContext) -> BuiltNodes:
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
                desk.cache.record_hash(source.path, status, at, hash)
                return _finished(spec, source, desk, result, (hash, size), "same bytes")
        import_libraries()  # beside the hashing, and before there are threads that read
        result, own = read_source(spec, source, stream, desk)
        hash = hash if isinstance(hash, str) else hash.result()
    desk.cache.record_hash(source.path, status, at, hash)
    desk.cache.put_result(spec, hash, source.name, result, own=own)
    return _finished(spec, source, desk, result, (hash, size), "read")


def import_libraries() -> None:
    """Imports what the threads need: two that begin with pandas and numpy at once find each other's half of them."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401


def _hash_file(source: FileSource) -> str:
    with open_source(source.path, source.shown, source.within) as stream:
        return hash_source(stream)[0]


def _finished(
    spec: NodeSpec,
    source: FileSource | None,
    desk: BuildContext,
    result: TransformResult,
    identity: tuple[str, int],
    why: str,
    more: dict[str, Any] | None = None,
) -> BuiltNodes:
    """The nodes of a result in their places, tables with the objects that an earlier state has for them."""
    nodes = placed_nodes(spec, result, desk.previous, source.name if source else "")
    said = {"path": spec.path, **(more or {})} if source is None else source_record(spec, source, *identity)
    if result.writer:
        said["writer"] = result.writer
    shown_as = source.shown if source else spec.path
    warnings = [f"{shown_as}: {each}" for each in result.warnings]
    reused = why in KNOWN or all(desk.previous.has(node) for node in nodes)
    return BuiltNodes(nodes, reused, said, warnings, why)


def placed_nodes(spec: NodeSpec, result: TransformResult, earlier: PreviousState, file_name: str) -> list[Node]:
    """The nodes of a result in their places, tables with the objects that an earlier state has for them."""
    nodes: list[Node] = []
    for node in result.nodes:
        path = f"{spec.path}/{node.path}" if node.path else spec.path
        changes: dict[str, Any] = {"path": path}
        if not node.path and not isinstance(node, GroupNode):
            changes |= {
                "meta": _joined_meta(node.meta, spec.meta),
                "file_name": file_name or getattr(node, "file_name", ""),
            }
        if isinstance(node, TableNode) and (blocks := earlier.blocks(path, node.content, node.blocks)):
            changes["blocks"] = blocks
        nodes.append(msgspec.structs.replace(node, **changes))
    if spec.meta and all(node.path != spec.path for node in nodes):
        nodes.insert(0, GroupNode(path=spec.path, meta=spec.meta))
    return nodes


def _joined_meta(source: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return what a source states of itself and what a build file says; of columns both, key by key."""
    columns, others = source.get(COLUMNS_KEY), said.get(COLUMNS_KEY)
    if not (isinstance(columns, dict) and isinstance(others, dict)):
        return {**source, **said}
    return {**source, **said, COLUMNS_KEY: {**columns, **others}}


def _from_value(spec: NodeSpec, value: Any, desk: BuildContext) -> BuiltNodes:
    with translated_errors(spec, None) as said:
        stored = NodeWriter(spec, desk, None)
        nodes = stored.nodes(plain_value(value), "")
    return _finished(spec, None, desk, TransformResult(nodes, said, stored.writer), ("", 0), "a value")


def plain_value(value: Any) -> Any:
    """A value in memory as a transform would give it; raises `InvalidInput` for Arrow data that are not valid."""
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


def _from_query(spec: NodeSpec, source: SqlSource, desk: BuildContext) -> BuiltNodes:
    """The rows that a query gives now."""
    from datapkg.building.sources.sql import query

    try:
        url = desk.secret(source.connection)
    except InvalidInput as error:
        raise InvalidInput(f"{spec.place or spec.path}: {error}", hint=error.hint) from error
    with located_errors(spec), translated_errors(spec, None) as said:
        stored = NodeWriter(spec, desk, None)
        nodes = stored.nodes(query(source, url, spec.kwargs), "")
    more = {"sql": source.query, "connection": source.connection}
    return _finished(spec, None, desk, TransformResult(nodes, said, stored.writer), ("", 0), "asked", more)


def _from_function(spec: NodeSpec, source: PythonSource, desk: BuildContext) -> BuiltNodes:
    """What a function returns; one of files is called again only if its text, its files or its kwargs have changed."""
    from datapkg.building.sources.function import call, source_hash

    files = [{"file": each.shown, "hash": _hash_file(each)} for each in source.files]
    name = f"{source.module.name}:{source.function}"
    more: dict[str, Any] = {"python": name, "sha256": source_hash(source.module), "files": files}
    more |= {"kwargs": spec.kwargs} if spec.kwargs else {}
    key = hash_bytes(repr(more).encode("utf-8", "backslashreplace"))
    known = desk.cache.result(spec, key, name) if files else None
    if known is not None and _usable(known, desk):
        return _finished(spec, None, desk, known, ("", 0), "same inputs", more)
    with located_errors(spec), translated_errors(spec, None) as said:
        called = call(source, spec.kwargs)
        said += called.printed
        stored = NodeWriter(spec, desk, None)
        result = TransformResult(stored.nodes(called.value, ""), said, stored.writer)
    if files and called.sha256 == more["sha256"]:
        desk.cache.put_result(spec, key, name, result, own=stored.own)
    return _finished(spec, None, desk, result, ("", 0), "asked" if not files else "read", more)


def _from_files(spec: NodeSpec, source: FilesSource, desk: BuildContext) -> BuiltNodes:
    """The one table of many files, read again only if one of them has changed."""
    hashes, size = hash_files(source, desk)
    more = source_record_of_files(spec, source, hashes, size)
    key = more["hash"]
    known = desk.cache.result(spec, key, source.shown)
    if known is not None and _usable(known, desk):
        return _finished(spec, None, desk, known, ("", 0), "unchanged", more)
    import_libraries()
    with located_errors(spec):
        result, own = read_files(spec, source, desk)
    desk.cache.put_result(spec, key, source.shown, result, own=own)
    return _finished(spec, None, desk, result, ("", 0), "read", more)


def source_record(spec: NodeSpec, source: FileSource, hash: str, size: int) -> dict[str, Any]:
    """What the record says of a file with this hash."""
    said = {"path": spec.path, "file": source.shown, "hash": hash, "size": size, "transform": spec.transform}
    provider = TRANSFORMS[spec.transform].provider
    more = {"kwargs": spec.kwargs, "provider": provider}
    return {**said, **source.said, **{name: value for name, value in more.items() if value}}
