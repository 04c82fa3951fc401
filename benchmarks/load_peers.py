"""How long does it take a new process to get a table from each library: open it, its first rows, columns, all?

Each figure is a new process from its start to its end, except repeated loads in the same process; the libraries take
turns, and files are in the page cache. quilt3, dvc and pins store the Parquet file that pandas wrote, datasets Arrow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import _data
import pyarrow.parquet
from _bench import MB, Row, Usage, middle, options, report, scratch, turns, used
from _kept import END, OURS, START, WARM, WAYS
from _peers import ahead, peer_environ, peers

TABLE = "trips"
COLUMNS = "fare,zone"
AGAIN = """
from statistics import median
from time import perf_counter
taken = []
for _ in range(4):
    start = perf_counter()
    answer = {all}
    taken.append(perf_counter() - start)
    del answer
print(median(taken[1:]), flush=True)
"""
QUESTIONS = ("open it", "the first five rows", "two columns", "all")

Pythons = Mapping[str, str]


def asked(name: str) -> dict[str, str]:
    """Return the program of each query for one library."""
    way = WAYS[name]
    return {what: way.code(code) for what, code in zip(QUESTIONS, (way.about, way.head, way.two, way.all), strict=True)}


def environ(name: str, folder: Path) -> dict[str, str]:
    """Return the environment; datapkg with an Arrow cache has its own home."""
    home = folder / ("warm" if name == WARM else "home")
    return {**peer_environ(folder), "DATAPKG_HOME": str(home)}


def store(folder: Path, pythons: Pythons, rows: int) -> None:
    """Store the table with each library."""
    table = _data.table(TABLE, rows)
    pyarrow.parquet.write_table(table, folder / "source.parquet")
    table.to_pandas().to_parquet(folder / "table.parquet")
    del table
    for name, python in pythons.items():
        used(python, "-c", START + WAYS[name].store, folder, COLUMNS, environ=environ(name, folder))


def in_new_processes(folder: Path, pythons: Pythons, rounds: int) -> dict[str, dict[str, list[Usage]]]:
    """Return the duration of each query with each library in each round."""
    taken: dict[str, dict[str, list[Usage]]] = {what: {name: [] for name in pythons} for what in QUESTIONS}
    for number in range(rounds):
        for name in turns(pythons, number):
            for what, code in asked(name).items():
                usage = used(pythons[name], "-c", code, folder, COLUMNS, environ=environ(name, folder))
                taken[what][name].append(usage)
    return taken


def again(folder: Path, pythons: Pythons, rounds: int) -> dict[str, float]:
    """Return the median of loads after the first in a process."""
    taken: dict[str, list[float]] = {name: [] for name in pythons}
    for number in range(rounds):
        for name in turns(pythons, number):
            code = f"{START}{WAYS[name].open}{AGAIN.format(all=WAYS[name].all)}{END}"
            command = [pythons[name], "-c", code, str(folder), COLUMNS]
            done = subprocess.run(command, env=environ(name, folder), capture_output=True, text=True, check=True)
            taken[name].append(float(done.stdout))
    return {name: median(each) for name, each in taken.items()}


def row(what: str, values: Mapping[str, float]) -> Row:
    """Return one row: the duration of each, and datapkg relative to the best of the others."""
    others = [value for name, value in values.items() if name not in (OURS, WARM)]
    return {"what": what, **values, **ahead(values[OURS], others)}


def measured(title: str, folder: Path, pythons: Pythons, chosen: argparse.Namespace) -> list[Row]:
    """Measure every query on a stored table."""
    taken = in_new_processes(folder, pythons, chosen.rounds)
    usages = {what: {name: middle(each) for name, each in of.items()} for what, of in taken.items()}
    rows = [row(f"{title}: {what}", {name: use.seconds for name, use in of.items()}) for what, of in usages.items()]
    rows.append(row(f"{title}: all, again", again(folder, pythons, min(chosen.rounds, 3))))
    peak = {name: use.peak / MB for name, use in usages["all"].items()}
    return [*rows, row(f"{title}: all, peak MB", peak)]


def main() -> None:
    chosen = options(__doc__, peers=True, mb=(1, 50, 250), few=(1_000, 10_000, 10_000), rounds=(1, 5, 5))
    installed = list(peers(chosen, "datasets", "quilt3", "dvc", "pins"))
    pythons = dict.fromkeys((OURS, WARM, "pandas"), sys.executable)
    pythons |= {peer.name: str(peer.python) for peer in installed}
    rows: list[Row] = []
    many = chosen.mb * MB // _data.ROW_BYTES[TABLE]
    for title, count in ((f"{chosen.mb} MB", many), (f"{chosen.few:,} rows", chosen.few)):
        with scratch() as folder:
            store(folder, pythons, count)
            rows += measured(title, folder, pythons, chosen)
    report(chosen, rows, {peer.name: peer.version for peer in installed})


if __name__ == "__main__":
    main()
