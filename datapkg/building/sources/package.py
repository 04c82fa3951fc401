"""Nodes of another package taken over as they are, objects and all, pinned by its hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from datapkg.building.spec.model import NodeSpec, PackageSource
from datapkg.errors import DatapkgError
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node
from datapkg.format.names import Ref
from datapkg.objects.base import Objects, Readable

FindPackage = Callable[[Ref], tuple[Manifest, Readable]]
_SMALL_BYTES = 1 << 20


def take_over(spec: NodeSpec, objects: Objects, find_package: FindPackage) -> tuple[list[Node], dict[str, Any]]:
    """The nodes that a package source stands for, and its pin for the record.

    A node comes under the path of the spec, a group or a whole package as a group there; the spec's metadata goes over
    what they had. Objects that are in neither place stay where they are, unless checks have to read them. Raises
    `NotFound` naming the place in the build file.
    """
    assert isinstance(spec.source, PackageSource)
    ref = spec.source.ref
    try:
        manifest, readable = find_package(ref)
        found = manifest.below(ref.path)
    except DatapkgError as error:
        place = f"{spec.place}: " if spec.place else ""
        raise type(error)(f"{place}{error}", hint=error.hint, **error.detail) from error
    nodes = [_moved(node, ref.path, spec.path) for node in found]
    if not nodes or nodes[0].path != spec.path:
        nodes.insert(0, GroupNode(path=spec.path, meta={} if ref.path else manifest.meta))
    nodes[0] = msgspec.structs.replace(nodes[0], meta={**nodes[0].meta, **spec.meta})
    sizes = {hash: size for node in nodes for hash, size in node.objects()}
    _copy(sizes, readable, objects, is_whole=bool(spec.checks))
    return nodes, {"path": spec.path, "package": str(ref.at(None)), "hash": manifest.hash}


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
