"""Find the sources whose content a state already has, by hashes and the cache, without building or storing anything.

This lets `sync` compare a folder of any size with a registry's manifest without copying the folder into the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from datapkg.building.build_context import PreviousState
from datapkg.building.cache import BuildCache
from datapkg.building.node_builder import file_node, placed_nodes, source_record
from datapkg.building.readers import TRANSFORMS
from datapkg.building.scheduler import look_up_files
from datapkg.building.sources.file import known_hash
from datapkg.building.sources.handlers import local_file
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.format.manifest.diff import same_content
from datapkg.format.manifest.parsed import FileNode, Node, TableNode
from datapkg.objects.memory import MemoryObjects

# Return whether the stored table has the content that its manifest states.
IsRight = Callable[[TableNode], bool]

_NOTHING = PreviousState(None, MemoryObjects())


@dataclass
class SourceDiff:
    """The result of a comparison: `nodes` and record entries of unchanged sources; `left` are the sources to build."""

    nodes: list[Node] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    left: list[NodeSpec] = field(default_factory=list)


def diff_sources(
    specs: Sequence[NodeSpec], state: Mapping[str, Node], cache: BuildCache, is_right: IsRight
) -> SourceDiff:
    """Partition sources by whether they would become nodes with the content that the state has at their paths.

    A table whose blocks differ from those of the state counts as equal only if the state's table is verified. Files
    with unknown stat are hashed if they may be equal. Raise `BuildFailed` for a file that cannot be read.
    """
    look_up_files(specs, cache)
    found = SourceDiff()
    for spec in specs:
        file = local_file(spec.source)
        known = _known(spec, file, state, cache, is_right) if file is not None else None
        if known is None:
            found.left.append(spec)
        else:
            found.nodes += known[0]
            found.sources.append(known[1])
    return found


def carry_over(made: Node, before: Node | None, is_right: IsRight) -> Node:
    """Return a rebuilt node with the metadata of the previous node, and with its objects where the content is equal.

    Other objects of equal content are reused only if the previous table is verified. Nothing is carried over from a
    node of another kind.
    """
    if before is None or before.kind != made.kind:
        return made
    changes: dict[str, Any] = {"meta": {**before.meta, **made.meta}}
    if isinstance(made, TableNode) and isinstance(before, TableNode) and _is_same(made, before, is_right):
        changes["blocks"] = before.blocks
    return msgspec.structs.replace(made, **changes)


def _known(
    spec: NodeSpec, source: FileSource, state: Mapping[str, Node], cache: BuildCache, is_right: IsRight
) -> tuple[list[Node], dict[str, Any]] | None:
    """Return the nodes of a file and its record entry if the state is known to have the same content; else None."""
    is_file = TRANSFORMS[spec.transform].kind == "file"
    known = cache.hash_of(source.path) or (_hash_if_alike(source, state.get(spec.path), cache) if is_file else None)
    if known is None:
        return None
    nodes: list[Node]
    if is_file:
        nodes = [file_node(spec, source, *known)]
    else:
        result = cache.result(spec, known[0], source.name)
        nodes = placed_nodes(spec, result, _NOTHING, source.name) if result else []
    is_there = nodes and all(_is_same(node, state.get(node.path), is_right) for node in nodes)
    return (nodes, source_record(spec, source, *known)) if is_there else None


def _is_same(node: Node, before: Node | None, is_right: IsRight) -> bool:
    if before is None or not same_content(node, before):
        return False
    if isinstance(node, TableNode) and isinstance(before, TableNode) and node.blocks != before.blocks:
        return is_right(before)
    return True


def _hash_if_alike(source: FileSource, before: Node | None, cache: BuildCache) -> tuple[str, int] | None:
    """Return hash and size of a file that may be equal to this node because its size is equal; None otherwise."""
    try:
        size = os.stat(source.path).st_size
    except OSError:
        return None
    if not isinstance(before, FileNode) or before.size != size:
        return None
    return known_hash(source, cache)
