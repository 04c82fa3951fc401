"""What travels when a new version is pushed, and when it is installed in a home that has the version before?

Bytes of bodies, as the sessions of the client count them, in % of the new version. Each row is a new process.
"""

from __future__ import annotations

import os
from pathlib import Path

import _data
import pyarrow as pa
import pyarrow.parquet as pq
from _bench import MB, Row, at_most, options, own_environ, report, workplace
from _edits import ADDED, EDITS
from _traffic import traffic

BARS = {"insert one row": 1.5, "append 1 %": 2.0, "change one cell": 0.1, "add a column": 3.0, "insert one line": 0.25}
TABLES = ("trips", "readings", "posts")
BUILD = """
import pyarrow.parquet as pq
datapkg.build("{ref}", {{"table": pq.read_table(r"{path}")}})
"""
BUILD_FILE = """
from pathlib import Path
datapkg.build("{ref}", Path(r"{path}"))
"""
PUSH = "datapkg.push('{ref}')"
INSTALL = "datapkg.install('{ref}')"


def main() -> None:
    chosen = options(__doc__, mb=(2, 45, 350), raw_mb=(4, 100, 1_000))
    with workplace() as (folder, environ):
        connection = {name: environ[name] for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN")}
        homes = environ, own_environ(folder / "other", **connection)
        rows = [row for name in TABLES for row in table_rows(name, chosen.mb * MB, folder, homes)]
        rows += raw_rows(chosen.raw_mb * MB, folder, homes)
    report(chosen, rows)


def table_rows(name: str, size: int, folder: Path, homes: tuple[dict[str, str], dict[str, str]]) -> list[Row]:
    """The edits of one table."""
    count = max(1_000, size // _data.ROW_BYTES[name])
    table, other = _data.table(name, count), _data.table(name, count // 100, start=40_000_000)
    rows = []
    for number, (what, edit) in enumerate(EDITS.items()):
        versions = [folder / f"{version}.parquet" for version in range(2)]
        pq.write_table(table, versions[0], compression="zstd")
        edited = edit(table, other)
        pq.write_table(edited, versions[1], compression="zstd")
        row = measured(f"me/{name}{number}", BUILD, versions, homes)
        share = 100 * column_bytes(edited) / MB / row["MB"] if what == "add a column" else 0.0
        most = max(row["up %"], row["down %"]) - share
        rows.append({"what": f"{name}: {what}", **row, **(at_most(most, BARS[what]) if what in BARS else {})})
    return rows


def column_bytes(table: pa.Table) -> int:
    """The bytes of the added column: random floats, which nothing makes smaller."""
    return int(table.column(ADDED).nbytes)


def raw_rows(size: int, folder: Path, homes: tuple[dict[str, str], dict[str, str]]) -> list[Row]:
    """A large text file, kept as it is, and a line more in its middle."""
    versions = [folder / str(version) / "lines.txt" for version in range(2)]
    for path in versions:
        path.parent.mkdir()
    with versions[0].open("wb") as file:
        for _ in range(0, size, MB):
            file.write(os.urandom(MB // 2).hex().encode())
    with versions[0].open("rb") as old, versions[1].open("wb") as new:
        new.write(old.read(size // 2))
        new.write(b"one more line\n")
        while piece := old.read(MB):
            new.write(piece)
    row = measured("me/raw", BUILD_FILE, versions, homes)
    most = max(row["up %"], row["down %"])
    return [{"what": "a raw file: insert one line", **row, **at_most(most, BARS["insert one line"])}]


def measured(ref: str, build: str, versions: list[Path], homes: tuple[dict[str, str], dict[str, str]]) -> Row:
    """Push and install the version before, then the next one; the row is of the second."""
    mine, theirs = homes
    for path in versions:
        traffic(build.format(ref=ref, path=path), mine)
        up = traffic(PUSH.format(ref=ref), mine)
        down = traffic(INSTALL.format(ref=ref), theirs)
    size = installed_bytes(ref, theirs)
    return {
        "MB": size / MB,
        "up %": 100 * up["MB sent"] * MB / size,
        "down %": 100 * down["MB received"] * MB / size,
        "push s": up["seconds"],
        "install s": down["seconds"],
    }


def installed_bytes(ref: str, environ: dict[str, str]) -> int:
    """The size of all objects of a package."""
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.resolve import find_installed

    found = find_installed(Home(environ), Ref.parse(ref))
    return found.store.manifest(found.hash).size()


if __name__ == "__main__":
    main()
