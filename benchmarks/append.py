"""How much does it cost to append a thousand rows to a long table?

The table is at a registry on this machine. The last row is for comparison: a table in one file has to be read,
rewritten and sent completely.
"""

from __future__ import annotations

import sys
from pathlib import Path

import _data
import pyarrow.parquet as pq
from _bench import MB, Row, options, own_environ, report, run, used, workplace
from _traffic import traffic

ROWS = 1_000
APPEND = """
import pandas
rows = pandas.read_parquet({rows!r})
with datapkg.edit("me/long") as draft:
    draft.append("table", rows)
"""
WHOLE = """
import pandas
whole = pandas.concat([pandas.read_parquet({table!r}), pandas.read_parquet({rows!r})], ignore_index=True)
whole.to_parquet({table!r})
"""


def main() -> None:
    chosen = options(__doc__, rows=(100_000, 1_000_000, 6_000_000))
    with workplace() as (folder, environ):
        table, more = folder / "table.parquet", folder / "more.parquet"
        pq.write_table(_data.table("trips", chosen.rows), folder / "table.arrow.parquet", compression="zstd")
        pq.write_table(_data.trips(10_000, ROWS), more)
        run(Path(sys.executable).name, "-c", as_pandas(folder / "table.arrow.parquet", table))
        run("datapkg", "build", "me/long", str(build_file(folder)), environ=environ)
        run("datapkg", "push", "me/long", environ=environ)
        connection = {name: environ[name] for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN")}
        other = own_environ(folder / "other", **connection)
        code = APPEND.format(rows=str(more))
        rows: list[Row] = [
            {"what": "datapkg, from an empty home", **traffic(code, other)},
            {"what": "datapkg, once more from there", **traffic(code, other)},
            {"what": "pandas: read all, write all", **whole(table, more)},
        ]
    report(chosen, rows)


def as_pandas(source: Path, target: Path) -> str:
    """Return code that writes the table as pandas does."""
    return f"import pandas; pandas.read_parquet({str(source)!r}).to_parquet({str(target)!r})"


def build_file(folder: Path) -> Path:
    """Write a build file that stores the table in datapkg's own blocks."""
    path = folder / "build.yml"
    path.write_text("contents:\n  table: {file: table.parquet, kwargs: {rewrite: true}}\n")
    return path


def whole(table: Path, more: Path) -> Row:
    usage = used(sys.executable, "-c", WHOLE.format(table=str(table), rows=str(more)))
    return {
        "seconds": usage.seconds,
        "CPU s": usage.cpu,
        "MB sent": table.stat().st_size / MB,
        "MB received": "",
        "peak MB": usage.peak / MB,
    }


if __name__ == "__main__":
    main()
