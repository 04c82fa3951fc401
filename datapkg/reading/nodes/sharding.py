"""Parts of packages, groups and tables, each a node of a source that has nothing else."""

from __future__ import annotations

from datapkg.errors import InvalidInput
from datapkg.reading.nodes.base import Node, node_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def part_of(node: Node, part: int, num_parts: int) -> Any:
    """Return one part of a node; see `datapkg.shard`."""
    source = node.__source__.shard(node.__at__, part, num_parts)
    if node.__at__ and not source.kind(node.__at__):
        pieces = len(node.__source__.manifest.objects(node.__at__))
        what = f"{node.__source__.ref.package}/{node.__at__} has nothing in part {part} of {num_parts}"
        raise InvalidInput(f"{what}: it cannot be cut into more than {pieces:,} parts")
    return node_at(source, node.__at__)
