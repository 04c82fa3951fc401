"""How much faster are packs than a folder of files for many small objects?"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import Row, options, report, seconds

from datapkg.objects.base import Objects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.packs import PackedObjects


def measured(name: str, home: Objects, items: list[bytes]) -> list[Row]:
    """Return the time to put, look up and read these objects."""
    hashes: list[str] = []
    return [
        {"what": f"{name}: put", "seconds": seconds(lambda: hashes.extend(home.put_many(items)))},
        {"what": f"{name}: missing", "seconds": seconds(lambda: home.missing(hashes))},
        {"what": f"{name}: read", "seconds": seconds(lambda: list(home.read_many(hashes)))},
    ]


def main() -> None:
    chosen = options(__doc__, count=(100, 10_000, 10_000), object_bytes=(10_000, 10_000, 10_000))
    items = [os.urandom(chosen.object_bytes) for _ in range(chosen.count)]
    rows: list[Row] = []
    for name in ("files", "packs"):
        with TemporaryDirectory(prefix="datapkg-bench-") as folder:
            home: Objects = (
                PackedObjects(Path(folder)) if name == "packs" else DirectoryObjects(Path(folder) / "objects")
            )
            rows += measured(name, home, items)
    report(chosen, rows)


if __name__ == "__main__":
    main()
