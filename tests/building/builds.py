"""Build packages in memory and read them back: the shared test bench of the building tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.building.pipeline import BuildOutput, build_package
from datapkg.building.spec.from_value import spec_for, spec_from_values
from datapkg.errors import PackageNotInstalled
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.objects.base import Objects, Readable
from datapkg.objects.memory import MemoryObjects
from datapkg.reading.tables.pandas_reader import to_pandas
from datapkg.tables.content_hash import content_of_objects
from datapkg.tables.pandas_metadata import restore_categories


class Bench:
    """An in-memory object store and the packages built into it."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.packages: dict[str, Manifest] = {}

    def find(self, ref: Ref) -> tuple[Manifest, Readable]:
        if ref.package not in self.packages:
            raise PackageNotInstalled(f"{ref.package} is not installed", hint=f"datapkg install {ref.package}")
        return self.packages[ref.package], self.objects

    def build(
        self, source: Any, *, previous: Manifest | None = None, into: Objects | None = None, **options: Any
    ) -> BuildOutput:
        """Build a path or values; the options are those of `spec_for`."""
        spec = spec_for(source, **options) if isinstance(source, Path) else spec_from_values(source)
        objects = self.objects if into is None else into
        return build_package(spec, objects, previous=previous, find_package=self.find)

    def table(self, built: BuildOutput, path: str) -> pa.Table:
        """Return a table node as Arrow, after its content hash has been recomputed from its objects."""
        node = built.manifest.get(path)
        assert isinstance(node, TableNode)
        streams = [io.BytesIO(self.objects.read(block.hash)) for block in node.blocks]
        found = content_of_objects(streams)
        assert (found.hash, found.columns, found.rows) == (node.content, node.columns, node.rows)
        return pa.concat_tables([restore_categories(pq.ParquetFile(stream).read()) for stream in streams])

    def frame(self, built: BuildOutput, path: str) -> pandas.DataFrame:
        """Return a table node as the DataFrame that a reader gets."""
        return to_pandas(self.table(built, path))


def paths(built: BuildOutput) -> list[str]:
    """Return the paths of all nodes, including groups that have their own line."""
    return [node.path for node in built.manifest.nodes]


def kinds(built: BuildOutput) -> dict[str, str]:
    """Return the kind of each path."""
    return {node.path: node.kind for node in built.manifest.nodes}


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a folder and return the folder."""
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return folder
