"""How many bytes of a table are new after an edit, and how much bigger is it than one plain Parquet file?

"By object" is sent to a registry that knows objects; "by page" would be sent to one that knows their pages.
"""

from __future__ import annotations

import os
from pathlib import Path

import _data
import pyarrow as pa
import pyarrow.parquet as pq
from _bench import MB, Row, at_most, options, report, scratch
from _edits import ADDED, EDITS
from _pages import Part, column_bytes, new_bytes, object_part, page_parts

import datapkg

BARS = {"insert one row": 1.5, "append 1 %": 2.0, "change one cell": 0.1, "add a column": 3.0}
TABLES = ("trips", "readings", "posts")


def built(table: pa.Table) -> list[Path]:
    """Return the objects of a table that is built separately."""
    datapkg.build("bench/dedup", {"table": table})
    path = datapkg.load("bench/dedup")["table"].path
    return sorted(path.iterdir()) if path.is_dir() else [path]


def parts(files: list[Path]) -> tuple[list[Part], list[Part]]:
    """Return the parts of the files: by object, and by page."""
    datas = [path.read_bytes() for path in files]
    return [object_part(data) for data in datas], [part for data in datas for part in page_parts(data)]


def measured(name: str, size: int, folder: Path) -> list[Row]:
    """Measure one table: its size, and what is new after each edit."""
    rows = max(1_000, size // _data.ROW_BYTES[name])
    table = _data.table(name, rows)
    other = _data.table(name, rows // 100, start=40_000_000)
    pq.write_table(table, folder / "plain.parquet", compression="zstd")
    plain = (folder / "plain.parquet").stat().st_size
    before = parts(built(table))
    whole = sum(size for _, size in before[0])
    ratio = whole / plain
    lines: list[Row] = [
        {
            "what": f"{name}: size",
            "MB": whole / MB,
            "times plain": ratio,
            "objects": len(before[0]),
            **at_most(ratio, 1.12),
        }
    ]
    for what, edit in EDITS.items():
        lines.append({"what": f"{name}: {what}", **_edited(what, before, built(edit(table, other)))})
    return lines


def _edited(what: str, before: tuple[list[Part], list[Part]], files: list[Path]) -> Row:
    after = parts(files)
    whole = sum(size for _, size in after[0])
    by_object, by_page = (100 * new_bytes(*each) / whole for each in zip(before, after, strict=True))
    row: Row = {"MB": whole / MB, "objects": len(files), "new % by object": by_object, "new % by page": by_page}
    if what == "add a column":
        share = 100 * column_bytes(files, ADDED) / whole
        row["column %"] = share
        by_page -= share
    return {**row, **(at_most(by_page, BARS[what]) if what in BARS else {})}


def main() -> None:
    chosen = options(__doc__, mb=(1, 30, 250))
    rows: list[Row] = []
    for name in TABLES:
        with scratch() as folder:
            os.environ["DATAPKG_HOME"] = str(folder / "home")
            rows += measured(name, chosen.mb * MB, folder)
    report(chosen, rows)


if __name__ == "__main__":
    main()
