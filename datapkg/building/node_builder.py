"""Build the nodes of one source, from the cache of earlier builds if possible, otherwise with its transform."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, cast

import msgspec

from datapkg.building.build_context import BIG_BYTES, BuildContext, HashedResult, PreviousState
from datapkg.building.cache import TransformResult, now_ns
from datapkg.building.node_writer import NodeWriter, read_source
from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.base import Identity, TakenNodes
from datapkg.building.sources.content_check import check_content
from datapkg.building.sources.file import hash_file, hash_source, open_source, put_file
from datapkg.building.sources.handlers import handler_of, local_file
from datapkg.building.sources.source_errors import located_errors
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.format.manifest.parsed import FileNode, GroupNode, Node, TableNode
from datapkg.format.metadata import COLUMNS_KEY
from datapkg.objects.progress import CountedReader, Share, between, ignore_share
from datapkg.objects.threads import ThreadPool

# The part of the work on a file that is hashed before it is parsed.
_HASHED = 0.2
# Reasons that mean that nothing was read and all objects were present. "" is the reason of nodes of another package.
KNOWN = ("", "unchanged", "same bytes", "same inputs", "same runs")


@dataclass(frozen=True, slots=True)
class BuiltNodes:
    """The nodes of a source, whether all their objects already existed, and the source's entry in the record.

    `why` is the reason for which they were or were not rebuilt; `pin` is the record's entry for another package.
    """

    nodes: list[Node]
    reused: bool
    source: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    why: str = ""
    pin: dict[str, Any] = field(default_factory=dict)


Deferred = Callable[[], BuiltNodes]
"""A call that waits for a runner, which may take long, and holds nothing open meanwhile."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is stored unchanged: what its node is made of when it is needed, since there may be a million."""

    digest: bytes
    size: int
    why: str
    warnings: tuple[str, ...] = ()


def build_node(
    spec: NodeSpec, context: BuildContext, share: Share = ignore_share
) -> BuiltNodes | StoredFile | Deferred:
    """Build the nodes of one source; report to `share` how much of it is done. What a runner has to read is deferred.

    Raise `BuildFailed` for a source that cannot be read, `TransformFailed` for one with unexpected content.
    """
    file = local_file(spec.source)
    if file is None:
        return _from_value(spec, context, share)
    if TRANSFORMS[spec.transform].kind == "file":
        return _make_file(file, context, share)
    return _make_parsed(spec, file, context, share)


def known_result(spec: NodeSpec, source: FileSource, context: BuildContext) -> BuiltNodes | StoredFile | None:
    """Return the nodes of a file that is unchanged since its last build; None if it has to be opened."""
    known = context.cache.hash_of(source.location)
    if known is None:
        return None
    hash, size = known
    if TRANSFORMS[spec.transform].kind == "file":
        return None if hash in context.absent else StoredFile(bytes.fromhex(hash), size, "unchanged")
    result = context.cache.result(spec, hash, source.name)
    if result is None or not _usable(result, context):
        return None
    return _finished(spec, source, context, result, (hash, size), "unchanged")


def _usable(result: TransformResult, context: BuildContext) -> bool:
    hashes = {hash for node in result.nodes for hash, _ in node.objects()}
    return not hashes & context.absent and not context.objects.missing(hashes)


def _make_file(source: FileSource, context: BuildContext, share: Share) -> StoredFile:
    at = now_ns()
    with open_source(source.location, source.shown, source.within) as stream:
        status = os.fstat(stream.fileno())
        wrong = check_content(source, stream)
        counted = CountedReader(stream, status.st_size, share) if status.st_size >= BIG_BYTES else stream
        hash, size = put_file(cast(BinaryIO, counted), context.objects)
    context.cache.record_hash(source.location, status, at, hash)
    return StoredFile(bytes.fromhex(hash), size, "read", tuple(f"{source.shown}: {each}" for each in wrong))


def file_nodes(spec: NodeSpec, stored: StoredFile, context: BuildContext) -> BuiltNodes:
    """Return the node of a file that is stored unchanged."""
    source, hash = cast(FileSource, local_file(spec.source)), stored.digest.hex()
    node = file_node(spec, source, hash, stored.size)
    is_reused = is_stored_before(stored, node, context)
    record = source_record(spec, source, hash, stored.size)
    return BuiltNodes([node], is_reused, record, list(stored.warnings), stored.why)


def is_stored_before(stored: StoredFile, node: FileNode, context: BuildContext) -> bool:
    """Return whether the object of a file that is stored unchanged already existed."""
    return stored.why in KNOWN or context.previous.has(node)


def file_node(spec: NodeSpec, source: FileSource, hash: str, size: int) -> FileNode:
    """Return the node of a file that is stored unchanged."""
    return FileNode(path=spec.path, meta=spec.meta, hash=hash, size=size, file_name=source.name)


def _make_parsed(spec: NodeSpec, source: FileSource, context: BuildContext, share: Share) -> BuiltNodes | Deferred:
    at = now_ns()
    with open_source(source.path, source.shown, source.within) as stream:
        status, hash = os.fstat(stream.fileno()), ""
        size = status.st_size
        # A big file that is new is hashed by whoever parses it, meanwhile. One that may be known is hashed first.
        if size < BIG_BYTES or context.cache.may_be_equal(source.path, size):
            hash, size = hash_source(cast(BinaryIO, CountedReader(stream, size, between(share, 0, _HASHED))))
            share = between(share, _HASHED, 1)
            result = context.cache.result(spec, hash, source.name)
            if result is not None and _usable(result, context):
                context.cache.record_hash(source.path, status, at, hash)
                return _finished(spec, source, context, result, (hash, size), "same bytes")
        if context.runner is not None and context.runner.takes(spec, size):
            return partial(_read_elsewhere, spec, source, context, status, at, hash)
        read = read_hashed(spec, source, stream, context, share, hash=hash)
    return _kept(spec, source, context, status, at, read)


def _read_elsewhere(
    spec: NodeSpec, source: FileSource, context: BuildContext, status: os.stat_result, at: int, hash: str
) -> BuiltNodes:
    assert context.runner is not None
    return _kept(spec, source, context, status, at, context.runner.read_source(spec, source, status, hash, context))


def _kept(
    spec: NodeSpec, source: FileSource, context: BuildContext, status: os.stat_result, at: int, read: HashedResult
) -> BuiltNodes:
    """Return the nodes of a file whose `status` was taken after the time `at`, and before it was read; cache both."""
    context.cache.record_hash(source.path, status, at, read.hash)
    context.cache.put_result(spec, read.hash, source.name, read.result, own=read.own)
    return _finished(spec, source, context, read.result, (read.hash, status.st_size), "read")


def read_hashed(
    spec: NodeSpec,
    source: FileSource,
    stream: BinaryIO,
    context: BuildContext,
    share: Share = ignore_share,
    *,
    hash: str = "",
) -> HashedResult:
    """Read a file; one whose hash is not known yet is hashed meanwhile, in a thread."""
    with ThreadPool(1) as hasher:
        pending = None if hash else hasher.submit(hash_file, source)
        # While the hash is computed, and before reader threads start.
        import_libraries([spec])
        result, own = read_source(spec, source, stream, context, share)
        return HashedResult(pending.result() if pending else hash, result, own)


def import_libraries(specs: Iterable[NodeSpec]) -> None:
    """Import the libraries that threads use while they read sources.

    Two threads that import pandas at once can see it partially imported. JSON lines need it seldom, and then pyarrow
    imports it, which has a lock for that.
    """
    import pyarrow.parquet  # noqa: F401

    if not all(spec.transform == "jsonl" and not spec.kwargs for spec in specs):
        import pandas  # noqa: F401


def _finished(
    spec: NodeSpec,
    source: FileSource,
    context: BuildContext,
    result: TransformResult,
    identity: tuple[str, int],
    why: str,
) -> BuiltNodes:
    """Return the nodes of a file; tables reuse the objects of an earlier state where the content is equal."""
    return _placed(spec, result, context, source_record(spec, source, *identity), why, source)


def _placed(
    spec: NodeSpec,
    result: TransformResult,
    context: BuildContext,
    record: dict[str, Any],
    why: str,
    source: FileSource | None = None,
) -> BuiltNodes:
    """Return the nodes of a result at their paths; tables reuse the objects of an earlier state where possible."""
    nodes = placed_nodes(spec, result, context.previous, source.name if source else "")
    record = {**record, "writer": result.writer} if result.writer else record
    name = source.shown if source else spec.path
    reused = why in KNOWN or all(context.previous.has(node) for node in nodes)
    return BuiltNodes(nodes, reused, record, [f"{name}: {each}" for each in result.warnings], why)


def placed_nodes(spec: NodeSpec, result: TransformResult, earlier: PreviousState, file_name: str) -> list[Node]:
    """Return the nodes of a result at their final paths; tables reuse objects of an earlier state if possible."""
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


def _joined_meta(source: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a source updated by that of the build file; column metadata is merged key by key."""
    columns, others = source.get(COLUMNS_KEY), own.get(COLUMNS_KEY)
    if not (isinstance(columns, dict) and isinstance(others, dict)):
        return {**source, **own}
    return {**source, **own, COLUMNS_KEY: {**columns, **others}}


def _from_value(spec: NodeSpec, context: BuildContext, share: Share) -> BuiltNodes | Deferred:
    """Build the nodes of a source that is not one local file; it is read if it has no identity or a new one."""
    with located_errors(spec):
        identity = handler_of(spec.source).identity(spec, spec.source, context)
        known = context.cache.result(spec, identity.key, identity.name) if identity.key else None
        if known is not None and _usable(known, context):
            return _placed(spec, known, context, identity.record, identity.why_known)
    if context.runner is not None and context.runner.takes(spec, None):
        return partial(_value_elsewhere, spec, identity, context)
    found = read_value(spec, identity, context, share)
    if isinstance(found, TakenNodes):
        return BuiltNodes(found.nodes, True, {}, pin=found.pin)
    return _kept_value(spec, identity, context, *found)


def _value_elsewhere(spec: NodeSpec, identity: Identity, context: BuildContext) -> BuiltNodes:
    assert context.runner is not None
    return _kept_value(spec, identity, context, *context.runner.read_value(spec, identity, context))


def _kept_value(
    spec: NodeSpec, identity: Identity, context: BuildContext, result: TransformResult, own: bool
) -> BuiltNodes:
    if identity.key:
        context.cache.put_result(spec, identity.key, identity.name, result, own=own)
    return _placed(spec, result, context, identity.record, identity.why_read)


def read_value(
    spec: NodeSpec, identity: Identity, context: BuildContext, share: Share = ignore_share
) -> tuple[TransformResult, bool] | TakenNodes:
    """Read a source that is not one file; return its result, and whether the source alone determined it."""
    with located_errors(spec), handler_of(spec.source).read(spec, spec.source, context, identity) as (value, warnings):
        if isinstance(value, TakenNodes):
            return value
        writer = NodeWriter(spec, context, None, share)
        nodes = writer.nodes(value, "")
    return TransformResult(nodes, warnings, writer.writer), writer.own


def source_record(spec: NodeSpec, source: FileSource, hash: str, size: int) -> dict[str, Any]:
    """Return the record's entry for a file with this hash."""
    record = {"path": spec.path, "file": source.shown, "hash": hash, "size": size, "transform": spec.transform}
    provider = TRANSFORMS[spec.transform].provider
    more = {"kwargs": spec.kwargs, "provider": provider}
    return {**record, **source.record, **{name: value for name, value in more.items() if value}}
