"""Parts of a package for workers on several machines: disjoint, together everything, and of about equal size.

Tables are cut between their objects, files and arrays are not cut. The pieces stay in the order of the manifest, so a
part has consecutive rows. The middle of a piece's bytes decides its part, but no part is empty if there are enough
pieces: so a part differs from the mean by at most the largest piece, and depends on nothing but the manifest.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import msgspec

from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node, TableNode
from datapkg.format.texts import quoted

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})\Z")


def parse_part(text: str) -> tuple[int, int]:
    """Return the numbers of `0/4`, the first of four parts; raise `InvalidInput`."""
    match = _PART.match(text)
    if match is None:
        raise InvalidInput(f"{quoted(text)} is not a part: write 0/4 for the first of four", hint="--part 0/4")
    return check_part(int(match[1]), int(match[2]))


def check_part(part: int, of: int) -> tuple[int, int]:
    """Return both numbers; raise `InvalidInput` unless `part` is one of `of`, counted from 0."""
    is_whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (part, of))
    if not is_whole or not 0 <= part < of:
        raise InvalidInput(
            f"parts are counted from 0 to one less than their number; got part {part!r} of {of!r}", hint="--part 0/4"
        )
    return part, of


def shard(nodes: Sequence[Node], part: int, of: int) -> Iterator[Node]:
    """Yield the nodes of one part; of a table only its rows there, and groups in every part.

    A table that is not whole has no `content`, which is the hash of all of its values.
    """
    check_part(part, of)
    first, last = _run([max(size, 1) for node in nodes for size in _sizes(node)], part, of)
    number = 0
    for node in nodes:
        mine = [first <= at < last for at, _ in enumerate(_sizes(node), number)]
        number += len(mine)
        if all(mine):  # a group has nothing to cut
            yield node
        elif isinstance(node, TableNode) and any(mine):
            blocks = [block for block, is_mine in zip(node.blocks, mine, strict=True) if is_mine]
            rows = sum(block.rows for block in blocks)
            yield msgspec.structs.replace(node, blocks=blocks, rows=rows, content="")


def _run(weights: list[int], part: int, of: int) -> tuple[int, int]:
    """Return the first piece of a part, and the first one after it."""
    ends = list(accumulate(weights))
    middles = [2 * end - weight for end, weight in zip(ends, weights, strict=True)]  # doubled, so that they are whole

    def start(number: int) -> int:
        return bisect_left(middles, -(-2 * ends[-1] * number // of)) if ends else 0

    if of > len(weights):
        return start(part), start(part + 1)
    after, first = 0, 0  # each part begins at least one piece after the one before
    for number in range(part + 2):
        first, after = after, max(start(number), after + 1) if number else 0
    spare = len(weights) - of
    return min(first, spare + part), min(after, spare + part + 1)


def _sizes(node: Node) -> Iterable[int]:
    return (size for _, size in node.objects())


def sharded(manifest: Manifest, path: str, part: int, of: int) -> Manifest:
    """Return a manifest for reading one part of what is at a path; groups without nodes in the part are empty there."""
    whole = manifest.below(path)
    found = {node.parts: node for node in shard(whole, part, of)}
    groups = {node.parts[:end] for node in whole for end in range(1, len(node.parts))}
    groups -= {parts[:end] for parts in found for end in range(1, len(parts) + 1)}
    found |= {parts: GroupNode(path="/".join(parts)) for parts in groups}
    keys = sorted(found)
    return Manifest(b"", manifest.meta, [found[key] for key in keys], keys)
