"""Rebuild one package repeatedly from a changing text, with blocks small enough for short texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.building import node_builder, node_writer
from datapkg.building.cache import BuildCache
from datapkg.building.pipeline import BuildOutput, build_package
from datapkg.building.readers.csv import engines
from datapkg.building.readers.csv.arrow_engine import BlockSizeControl
from datapkg.building.spec.from_value import spec_for
from datapkg.errors import BuildFailed
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.objects.memory import MemoryObjects
from datapkg.store.index import Index
from datapkg.tables import block_boundaries
from datapkg.tables.text_block_cache import KnownBlock, NewBlock, Walk
from tests.building.builds import Bench

ROWS = 64


def make_blocks_small(monkeypatch: pytest.MonkeyPatch, *, chunks: int = 16 << 20) -> None:
    """Cut tables into blocks of at least 64 rows and read texts in pieces of at least 1 kB.

    `chunks` is the size in bytes from which pandas reads a text in chunks if the fast engine does not read it.
    """
    monkeypatch.setattr(block_boundaries, "MIN_ROWS", ROWS)
    monkeypatch.setattr(block_boundaries, "MAX_ROWS", 8 * ROWS)
    monkeypatch.setattr(block_boundaries, "FIRST_ROWS", 32)
    for module in (node_builder, node_writer):
        monkeypatch.setattr(module, "BIG_BYTES", 1_000)
    limits = engines.EngineLimits(fast=1_000, chunks=chunks, chunk=3_000, pace=BlockSizeControl(piece=1_500, workers=2))
    monkeypatch.setattr(engines.read, "__defaults__", (limits,))


class RebuildBench:
    """A package that is rebuilt repeatedly from a.csv, in memory except for the index.

    `words` replaces the source in the build file; `url` is the database of an `sql` source.

    `read` lists the number of parsed blocks of each build that walked through a text.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "a.csv"
        self.words = "file: a.csv"
        self.url = ""
        self.folder = folder
        self.index = Index(folder.parent / f"{folder.name}.db")
        self.objects = MemoryObjects()
        self.built: BuildOutput | None = None
        self.read: list[int] = []

    def build(self, *, forced: bool = False, kwargs: str = "") -> TableNode:
        """Rebuild the package, starting from the state of the previous build."""
        words = self.words + (f", kwargs: {{{kwargs}}}" if kwargs else "")
        (self.folder / "build.yml").write_text(f"contents: {{a: {{{words}}}}}")
        previous: Manifest | None = self.built.manifest if self.built else None
        self.built = build_package(
            spec_for(self.folder),
            self.objects,
            previous=previous,
            find_package=Bench().find,
            cache=BuildCache(self.index, "me/a", forced=forced),
            secret=lambda name: self.url,
        )
        node = self.built.manifest.get("a")
        assert isinstance(node, TableNode)
        return node

    def clean(self) -> TableNode:
        """Return the result of a build from scratch."""
        built = build_package(
            spec_for(self.folder),
            MemoryObjects(),
            previous=None,
            find_package=Bench().find,
            secret=lambda name: self.url,
        )
        found = built.manifest.get("a")
        assert isinstance(found, TableNode)
        return found

    def check(self, **options: Any) -> None:
        """Rebuild, and compare the result with a build from scratch and with its own objects."""
        found = _outcome(lambda: self.build(**options))
        assert found == _outcome(self.clean)
        if isinstance(found, str):
            return
        bench = Bench()
        bench.objects = self.objects
        assert self.built
        bench.table(self.built, "a")  # recomputes the content hash from the objects


def _outcome(make: Callable[[], TableNode]) -> object:
    """Return what identifies a table, or the type of the error raised instead."""
    try:
        node = make()
    except BuildFailed as error:
        return type(error).__name__
    return node.content, node.columns, node.rows


def watch_walks(bench: RebuildBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record the number of parsed blocks in `bench.read`."""
    steps = Walk.steps

    def watched(self: Walk) -> Iterator[NewBlock | KnownBlock]:
        count = 0
        for step in steps(self):
            count += isinstance(step, NewBlock)
            yield step
        bench.read.append(count)

    monkeypatch.setattr(Walk, "steps", watched)
