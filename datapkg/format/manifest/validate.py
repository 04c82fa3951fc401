"""Validate all lines of a long manifest, many at once; anything doubtful is left to `Manifest.parse`."""

from __future__ import annotations

import msgspec

from datapkg.errors import DatapkgError
from datapkg.format import canonical
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import (
    MAX_LINE_BYTES,
    MAX_NODES,
    Node,
    check_node,
    check_order,
    decoded_lines,
    prepared,
)
from datapkg.format.names import check_node_name, check_node_path
from datapkg.format.object_sizes import MANY


def is_right(manifest: MappedManifest) -> bool:
    """Return whether every line is valid for `Manifest.parse`; False also if that is uncertain."""
    if manifest.end > MAX_NODES or manifest.longest_line() > MAX_LINE_BYTES:
        return False
    try:
        manifest.meta  # noqa: B018 - decodes and validates the first line
        order = _Order()
        sizes: dict[str, int] | None = {} if manifest.end < MANY else None
        are_right = all(_are_right(lines, order, sizes) for lines in manifest.runs_of_lines(1, manifest.end))
        if are_right and sizes is None:
            manifest.objects()  # raises for an object with two sizes, without a dict of all
        return are_right
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DatapkgError):
        return False


def _are_right(lines: memoryview, order: _Order, sizes: dict[str, int] | None) -> bool:
    nodes = [prepared(node) if node.meta and not _is_plain(node) else node for node in decoded_lines(lines)]
    if canonical.encode_lines(nodes) != lines:
        return False
    for node in nodes:
        order.add(node)
        check_node(node)
        for hash, size in node.objects() if sizes is not None else ():
            if sizes is not None and sizes.setdefault(hash, size) != size:
                return False
    return True


def _is_plain(node: Node) -> bool:
    """Return whether metadata is encoded without changes: it has no floats, and no values that may contain one."""
    return all(type(value) in (str, bool, int) for value in node.meta.values())


class _Order:
    """Check the order of nodes one by one; raise for an invalid path or position."""

    def __init__(self) -> None:
        self._previous: Node | None = None
        self._key: tuple[str, ...] = ()
        self._group = ""

    def add(self, node: Node) -> None:
        """Check the next node."""
        group, _, name = node.path.rpartition("/")
        if group and group == self._group and name > self._key[-1]:  # the common case: the next node of the same group
            check_node_name(name)
            self._key = (*self._key[:-1], name)
        else:
            key = check_node_path(node.path)
            check_order(self._previous, self._key, node, key)
            self._key, self._group = key, group
        self._previous = node
