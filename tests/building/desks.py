"""One package that is built again and again from a text that changes, in blocks so small that the text may be too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapkg.building import memo, nodes, storing
from datapkg.building.cache import BuildCache
from datapkg.building.delimited import engines
from datapkg.building.delimited.fast import Pace
from datapkg.building.memo import Fresh, Known, Walk
from datapkg.building.package import Built, build_package
from datapkg.building.sources import spec_for
from datapkg.format import block_notes, blocks
from datapkg.format.manifest import Manifest, TableNode
from datapkg.objects.memory import MemoryObjects
from datapkg.store.index import Index
from tests.building.builds import Bench

ROWS = 64


def make_blocks_small(monkeypatch: pytest.MonkeyPatch, *, chunks: int = 16 << 20) -> None:
    """Cut tables into blocks of 64 rows and more, and read texts of 1 kB and more in pieces.

    `chunks` is the size in bytes from which pandas reads a text in chunks, where the fast engine does not.
    """
    for module in (blocks, block_notes, memo):
        monkeypatch.setattr(module, "MIN_ROWS", ROWS)
    monkeypatch.setattr(blocks, "MAX_ROWS", 8 * ROWS)
    for module in (blocks, memo):
        monkeypatch.setattr(module, "FIRST_ROWS", 32)
    monkeypatch.setattr(blocks, "_HIT", np.uint64(2**64 // ROWS))
    for module in (nodes, storing):
        monkeypatch.setattr(module, "BIG_BYTES", 1_000)
    limits = engines.Limits(fast=1_000, chunks=chunks, chunk=3_000, pace=Pace(piece=1_500, workers=2))
    monkeypatch.setattr(engines.read, "__defaults__", (limits,))


class Desk:
    """One package that is built again and again from a.csv, in memory except for the index.

    `read` has, for each build that walked through a text, the number of blocks that were parsed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "a.csv"
        self.folder = folder
        self.index = Index(folder.parent / f"{folder.name}.db")
        self.objects = MemoryObjects()
        self.built: Built | None = None
        self.read: list[int] = []

    def build(self, *, forced: bool = False, kwargs: str = "") -> TableNode:
        """Build the package again, starting from what the last build left behind."""
        (self.folder / "build.yml").write_text(f"contents: {{a: {{file: a.csv, kwargs: {{{kwargs}}}}}}}")
        previous: Manifest | None = self.built.manifest if self.built else None
        self.built = build_package(
            spec_for(self.folder),
            self.objects,
            previous=previous,
            find_package=Bench().find,
            cache=BuildCache(self.index, "me/a", forced=forced),
        )
        node = self.built.manifest.get("a")
        assert isinstance(node, TableNode)
        return node

    def clean(self) -> TableNode:
        """Return what a build makes that starts from nothing."""
        found = Bench().build(self.folder).manifest.get("a")
        assert isinstance(found, TableNode)
        return found

    def check(self, **options: Any) -> None:
        """Build again, and hold the result against a build from nothing and against its own objects."""
        node = self.build(**options)
        wanted = self.clean()
        assert (node.content, node.columns, node.rows) == (wanted.content, wanted.columns, wanted.rows)
        bench = Bench()
        bench.objects = self.objects
        assert self.built
        bench.table(self.built, "a")  # recomputes the content from the objects


def watch_walks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count into `desk.read` the blocks that are parsed."""
    steps = Walk.steps

    def watched(self: Walk) -> Iterator[Fresh | Known]:
        count = 0
        for step in steps(self):
            count += isinstance(step, Fresh)
            yield step
        desk.read.append(count)

    monkeypatch.setattr(Walk, "steps", watched)
