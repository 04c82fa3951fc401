"""What do packs gain: many small objects put into a folder of files, and into packs?"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import Row, report, seconds

from datapkg.objects.base import Objects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.packs import PackedObjects


def measured(name: str, home: Objects, items: list[bytes]) -> list[Row]:
    """How long putting, asking for and reading these objects takes."""
    hashes: list[str] = []
    return [
        (f"{name}: put", seconds(lambda: hashes.extend(home.put_many(items))), "s", ""),
        (f"{name}: missing", seconds(lambda: home.missing(hashes)), "s", ""),
        (f"{name}: read", seconds(lambda: list(home.read_many(hashes))), "s", ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000)
    options = parser.parse_args()
    items = [os.urandom(options.size) for _ in range(options.count)]
    rows: list[Row] = []
    for name in ("files", "packs"):
        with TemporaryDirectory(prefix="datapkg-bench-") as folder:
            home: Objects = (
                PackedObjects(Path(folder)) if name == "packs" else DirectoryObjects(Path(folder) / "objects")
            )
            rows += measured(name, home, items)
    report("packs", rows, count=options.count, size_bytes=options.size)


if __name__ == "__main__":
    main()
