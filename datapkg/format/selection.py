"""Select the nodes of a package to be stored on this machine: by patterns, by size, or only the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from datapkg.errors import InvalidInput, NotFound
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.manifest.shards import check_part, shard
from datapkg.format.patterns import matcher
from datapkg.format.texts import quoted

MAX_PATTERN = 1_000
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([kmgtp]?)(i?)b?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """Nodes whose path matches one of `include` (if any) and none of `exclude`, with at most `max_size` bytes.

    Of these, only what is in `part` (number, number of parts) of the package or path, see `format.manifest.shards`.

    Patterns are those of `format.patterns`; one that matches a group includes everything below it. With `meta_only`, no
    node is selected.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_size: int | None = None
    meta_only: bool = False
    part: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.part is not None:
            check_part(*self.part)
        for pattern in (*self.include, *self.exclude):
            if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN:
                form = f"text such as raw/**/*.jpg, of at most {MAX_PATTERN:,} characters"
                raise InvalidInput(f"{quoted(pattern)} is not a pattern: it is {form}")

    @property
    def is_partial(self) -> bool:
        """Return whether anything may be excluded."""
        return self != EVERYTHING

    def wants(self, node: Node) -> bool:
        """Return whether a node is selected."""
        if self.meta_only or (self.max_size is not None and node.size > self.max_size):
            return False
        return (not self.include or _matches(self.include, node)) and not _matches(self.exclude, node)

    def of(self, manifest: Manifest, path: str = "") -> Mapping[str, int]:
        """Return the objects of the selected nodes at a path and below: hash to size in bytes.

        Raise `NodeNotFound`; `NotFound` for an include pattern that matches no node, which is probably a mistake.
        """
        if not self.is_partial:
            return manifest.objects(path)
        nodes = manifest.below(path)
        for pattern in self.include:
            if not any(_matches((pattern,), node) for node in nodes):
                raise NotFound(f"no node matches --include {quoted(pattern)}", hint="datapkg show USER/NAME")
        wanted = [node for node in nodes if self.wants(node)]
        if self.part is not None:
            paths = {node.path for node in wanted}
            wanted = [node for node in shard(nodes, *self.part) if node.path in paths]
        return {hash: size for node in wanted for hash, size in node.objects()}


EVERYTHING = Selection()


def _matches(patterns: tuple[str, ...], node: Node) -> bool:
    """Return whether a pattern matches a node, or a group that contains it."""
    parts = node.parts
    return any(matcher(each)(parts[:end]) for each in patterns for end in range(1, len(parts) + 1))


def parse_size(text: str) -> int:
    """Return the bytes of `500`, `10MB` (10^6) or `1.5GiB` (2^30); raise `InvalidInput`."""
    match = _SIZE.match(text)
    if match is None:
        raise InvalidInput(f"{quoted(text)} is not a size: write 500, 10MB or 1.5GiB", hint="--max-size 10MB")
    power = " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
