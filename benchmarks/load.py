"""How long does it take to load a table into pandas, compared with a Parquet file that pandas wrote?

Every load is the first in a new process that has loaded only a few rows before; files are in the page cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import _data
from _bench import MB, Row, at_most, options, report, scratch

import datapkg
from datapkg.api.cache import warm_tables
from datapkg.format.names import Ref
from datapkg.home import Home

TABLES = ("trips", "readings", "posts")
TWO = {"trips": ["fare", "zone"], "readings": ["time", "wind"], "posts": ["score", "author"]}

OURS = """
import datapkg
package = datapkg.load("bench/load")
def load(name, columns): return package[name](columns)
"""
PANDAS = """
import pandas
def load(name, columns): return pandas.read_parquet(f"{folder}/{name}.parquet", columns=columns)
"""
MAPPED = """
import datapkg, time
package = datapkg.load("bench/load")
package["few"].arrow(), package["few"](dtype_backend="pyarrow")
start = time.perf_counter()
{what}
print(time.perf_counter() - start)
"""
AS = {"a table of Arrow": 'package["table"].arrow()', "a frame of Arrow": 'package["table"](dtype_backend="pyarrow")'}
TIMED = """
import json, sys, time
folder, name, columns = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
{loader}
load("few", columns)
start, busy = time.perf_counter(), time.process_time()
frame = load(name, columns)
taken = [time.perf_counter() - start, time.process_time() - busy]
for place in range(frame.shape[1]):  # may be written to
    frame.iloc[0, place] = frame.iloc[1, place]
print(json.dumps(taken))
"""


def timed(loader: str, folder: Path, columns: list[str] | None) -> list[float]:
    """Load in a new process, and return the duration and the CPU time."""
    command = [sys.executable, "-c", TIMED.format(loader=loader), str(folder), "table", json.dumps(columns)]
    took: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return took


def compared(folder: Path, columns: list[str] | None, rounds: int) -> Row:
    """Return the medians of datapkg and pandas, taking turns."""
    taken: dict[str, list[list[float]]] = {OURS: [], PANDAS: []}
    for _ in range(rounds):
        for loader, each in taken.items():
            each.append(timed(loader, folder, columns))
    (ours, our_cpu), (others, other_cpu) = ([median(each) for each in zip(*taken[name], strict=True)] for name in taken)
    cpu = {"CPU s": our_cpu, "pandas CPU s": other_cpu, "CPU times pandas": our_cpu / other_cpu}
    return {"seconds": ours, "pandas s": others, **cpu, "times pandas": ours / others}


def mapped(what: str) -> float:
    """Return the time to write an Arrow cache, in a new process."""
    command = [sys.executable, "-c", MAPPED.format(what=what)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def warmed(folder: Path, rounds: int) -> list[Row]:
    """Load the same table from an Arrow cache: copied into a frame, and memory-mapped."""
    warm_tables(Home(), Ref.parse("bench/load"))
    frame = compared(folder, None, rounds)
    rows = [{"what": "warm copy", **frame, **at_most(frame["times pandas"], 0.4)}]
    for name, what in AS.items():
        seconds = median(mapped(what) for _ in range(rounds))
        rows.append({"what": f"warm copy as {name}", "seconds": seconds, **at_most(seconds, 0.05)})
    return rows


def measured(name: str, size: int, rounds: int, folder: Path) -> list[Row]:
    """Measure one table: all of it, and two columns."""
    table = _data.table(name, max(1_000, size // _data.ROW_BYTES[name]))
    datapkg.build("bench/load", {"table": table, "few": table.slice(0, 10)})
    node = datapkg.load("bench/load")["table"]
    frame = node()
    frame.to_parquet(folder / "table.parquet")
    frame.head(10).to_parquet(folder / "few.parquet")
    del frame, table
    bars = (("all columns", None, 1.1), ("two columns", TWO[name], 1.2))
    rows = [({"what": f"{name}: {what}", **compared(folder, columns, rounds)}, bar) for what, columns, bar in bars]
    found = [{**row, **at_most(row["times pandas"], bar)} for row, bar in rows]
    return found + [{**row, "what": f"{name}: {row['what']}"} for row in warmed(folder, rounds)]


def main() -> None:
    chosen = options(__doc__, mb=(1, 100, 250), rounds=(1, 7, 11))
    rows: list[Row] = []
    for name in TABLES:
        with scratch() as folder:
            os.environ["DATAPKG_HOME"] = str(folder / "home")
            rows += measured(name, chosen.mb * MB, chosen.rounds, folder)
    report(chosen, rows)


if __name__ == "__main__":
    main()
