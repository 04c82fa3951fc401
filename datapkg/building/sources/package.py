"""Take over nodes of another package with their objects, pinned by the package's hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from datapkg.building.sources.base import FindPackage, Identity, SourceContext, SourceHandler, TakenNodes
from datapkg.building.spec.model import NodeSpec, PackageSource
from datapkg.format.manifest.parsed import GroupNode, Node
from datapkg.format.names import Ref
from datapkg.objects.base import Objects, Readable

_SMALL_BYTES = 1 << 20


class PackageHandler(SourceHandler[PackageSource]):
    """A node or group of another package, or all of it."""

    @contextmanager
    def read(
        self, spec: NodeSpec, source: PackageSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield the nodes, whose objects are stored."""
        yield take_over(spec, source.ref, context.objects, context.find_package), []


def take_over(spec: NodeSpec, ref: Ref, objects: Objects, find_package: FindPackage) -> TakenNodes:
    """Return the nodes that a reference to another package selects, and its entry for the record.

    A node is placed at the path of the spec; a group or a whole package becomes a group there. The spec's metadata
    overrides theirs. Objects that are missing on both sides are not fetched unless checks have to read them. Raise
    `NotFound` for a package or node that does not exist.
    """
    manifest, readable = find_package(ref)
    nodes = [_moved(node, ref.path, spec.path) for node in manifest.below(ref.path)]
    if not nodes or nodes[0].path != spec.path:
        nodes.insert(0, GroupNode(path=spec.path, meta={} if ref.path else manifest.meta))
    nodes[0] = msgspec.structs.replace(nodes[0], meta={**nodes[0].meta, **spec.meta})
    sizes = {hash: size for node in nodes for hash, size in node.objects()}
    _copy(sizes, readable, objects, is_whole=bool(spec.checks))
    return TakenNodes(nodes, {"path": spec.path, "package": str(ref.at(None)), "hash": manifest.hash})


def _moved(node: Node, old: str, new: str) -> Node:
    tail = node.path[len(old) :].lstrip("/") if old else node.path
    return msgspec.structs.replace(node, path=f"{new}/{tail}" if tail else new)


def _copy(sizes: dict[str, int], source: Readable, objects: Objects, *, is_whole: bool) -> None:
    missing = objects.missing(sizes)
    if missing and not is_whole:
        missing -= source.missing(missing)
    small = [hash for hash in sizes if hash in missing and sizes[hash] < _SMALL_BYTES]
    for hash, data in source.read_many(small):
        objects.put_bytes(data, hash)
    for hash in missing.difference(small):
        with source.open(hash) as stream:
            objects.put(stream, hash)
