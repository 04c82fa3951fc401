"""How long does a rebuild take after few or no changes, and how many bytes does it add?"""

from __future__ import annotations

import shutil
from pathlib import Path

import _data
from _bench import MB, Row, at_most, bytes_in, options, own_environ, report, scratch, used

APPENDED = 40_000_000
"""Offset of the appended rows in the generated table, far beyond the existing rows."""


class Rebuilds:
    """Builds of one source into one store, with a row of results for each."""

    def __init__(self, source: Path, home: Path) -> None:
        self._source, self._home = source, home
        self.rows: list[Row] = []

    def build(self, what: str, bar: float | None = None, new_bar: float | None = None) -> None:
        """Build, and record the seconds and the growth of the store in bytes."""
        before = bytes_in(self._home / "store")
        usage = used("datapkg", "build", "me/data", self._source, "-q", environ=own_environ(self._home))
        new = bytes_in(self._home / "store") - before
        row: Row = {"what": what, **usage.row(), "new MB": new / MB, "new %": 100 * new / max(before, new, 1)}
        if bar is not None:
            row |= at_most(usage.seconds, bar)
        if new_bar is not None:
            row |= {"bytes bar": f"≤ {new_bar:g} %", "bytes met": "yes" if row["new %"] <= new_bar else "no"}
        self.rows.append(row)


def rebuilt_table(folder: Path, size: int) -> list[Row]:
    """Build a CSV, then rebuild it: unchanged, with more rows at its end, with one more line in its middle."""
    csv = folder / "trips.csv"
    rows = _data.write_csv(csv, "trips", size)
    work = Rebuilds(csv, folder / "home")
    work.build("a CSV, first")
    work.build("nothing changed")
    with open(csv, "ab") as file:
        for part in _data.parts("trips", max(1, rows // 100), APPENDED):
            file.write(_data.csv_bytes(part, header=False))
    work.build("1 % more rows", 1.8, 2)
    insert_line(csv)
    work.build("one line inserted", 1.8, 2)
    return work.rows


def insert_line(csv: Path) -> None:
    """Insert one line into the middle of a file."""
    line = _data.csv_bytes(_data.table("trips", 1, 2 * APPENDED), header=False)
    changed = csv.with_name("changed")
    with open(csv, "rb") as source, open(changed, "wb") as target:
        middle = csv.stat().st_size // 2
        target.write(source.read(middle))
        target.write(source.readline() + line)
        shutil.copyfileobj(source, target, 1 << 20)
    changed.replace(csv)


def rebuilt_files(folder: Path, count: int, size: int) -> list[Row]:
    """Build many small files, then rebuild them: unchanged, and with one of them changed."""
    paths = _data.write_files(folder / "files", count, size)
    work = Rebuilds(folder / "files", folder / "home-of-files")
    work.build(f"{count:,} files, first")
    work.build("nothing changed in them", 0.3)
    paths[len(paths) // 2].write_bytes(b"changed" * (size // 7))
    work.build("one file changed", 0.4)
    return work.rows


def main() -> None:
    chosen = options(__doc__, mb=(1, 100, 1_000), files=(100, 10_000, 10_000), file_bytes=(10_000, 10_000, 10_000))
    with scratch() as folder:
        rows = rebuilt_table(folder, chosen.mb * MB)
    with scratch() as folder:
        rows += rebuilt_files(folder, chosen.files, chosen.file_bytes)
    report(chosen, rows)


if __name__ == "__main__":
    main()
