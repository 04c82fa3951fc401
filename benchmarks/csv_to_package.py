"""How long does it take to build a package from a big CSV, with how much memory, and how do other tools compare?

Each tool is used as in its documentation, in its own process, one after the other in every round. The CSV has integers,
floats with few and with many digits, text with few and with many distinct values, times and nulls.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import _data
from _bench import (
    MB,
    Row,
    Usage,
    at_least,
    at_most,
    bytes_in,
    fresh,
    middle,
    options,
    own_environ,
    report,
    scratch,
    used,
)
from _peers import Peer, peers

PANDAS = "import sys, pandas; pandas.read_csv(sys.argv[1]).to_parquet(sys.argv[2])"
DUCKDB = """
import sys, duckdb
source, target = sys.argv[1:]
duckdb.sql(f"COPY (FROM read_csv('{source}')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
"""
POLARS = "import sys, polars; polars.scan_csv(sys.argv[1]).sink_parquet(sys.argv[2])"
DATASETS = "import sys, datasets; datasets.load_dataset('csv', data_files=sys.argv[1], cache_dir=sys.argv[2])"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "DVC_NO_ANALYTICS": "1"}

Tool = Callable[[], Usage]


def tools(csv: Path, out: Path, installed: Mapping[str, Peer]) -> dict[str, Tool]:
    """Return the measured tools, datapkg first; each writes into the folder `out`, which is empty before."""
    environ = own_environ(out / "home", **OFFLINE, HF_HOME=str(out / "hf"), DVC_SITE_CACHE_DIR=str(out / "site"))

    def script(python: Path | str, text: str, target: str) -> Tool:
        return lambda: used(python, "-c", text, csv, out / target, environ=environ)

    def dvc_add(dvc: Path) -> Tool:
        def add() -> Usage:
            shutil.copyfile(csv, out / csv.name)
            used(dvc, "init", "--no-scm", "--quiet", environ=environ, folder=out)
            fresh(out / "nothing")
            return used(dvc, "add", "--quiet", csv.name, environ=environ, folder=out)

        return add

    found: dict[str, Tool] = {
        "datapkg build": lambda: used("datapkg", "build", "me/trips", csv, "-q", environ=environ),
        "pandas read_csv, to_parquet": script("python", PANDAS, "out.parquet"),
    }
    scripts = {
        "duckdb": ("DuckDB COPY, zstd", DUCKDB, "out.parquet"),
        "polars": ("polars sink_parquet", POLARS, "out.parquet"),
        "datasets": ("datasets load_dataset", DATASETS, "datasets"),
    }
    for name, (what, text, target) in scripts.items():
        if name in installed:
            found[what] = script(installed[name].python, text, target)
    if "dvc" in installed:
        found["dvc add"] = dvc_add(installed["dvc"].program("dvc"))
    return found


def size_of(what: str, out: Path) -> int:
    """Return the size of a tool's output: the cache of dvc, the Arrow files of datasets, the Parquet of all others."""
    return bytes_in({"dvc add": out / ".dvc", "datasets load_dataset": out / "datasets"}.get(what, out))


def measured(chosen: argparse.Namespace, csv: Path, out: Path, installed: Mapping[str, Peer]) -> list[Row]:
    """Run every tool in every round, and return rows of medians with datapkg's factor relative to each."""
    usages: dict[str, list[Usage]] = {}
    sizes: dict[str, int] = {}
    for _ in range(chosen.rounds):
        for what, tool in tools(csv, out, installed).items():
            fresh(out)
            usages.setdefault(what, []).append(tool())
            sizes[what] = size_of(what, out)
    ours = middle(usages["datapkg build"])
    rows = []
    for what, each in usages.items():
        usage = middle(each)
        times = {"times ours": usage.seconds / ours.seconds}
        rows.append({"what": what, **usage.row(), "MB": sizes[what] / MB, **times, **bars(what, usage, ours)})
    return rows


def bars(what: str, usage: Usage, ours: Usage) -> Row:
    """Return the limits that datapkg must meet relative to this tool; for datapkg itself, the memory limit."""
    if what == "datapkg build":
        bar = at_most(ours.peak / MB, 500)
        return {**bar, "bar": f"peak MB {bar['bar']}"}
    needed = {"pandas read_csv, to_parquet": 1.4, "DuckDB COPY, zstd": 1 / 1.15}.get(what, 1.0)
    bar = at_least(usage.seconds / ours.seconds, round(needed, 2))
    return {**bar, "bar": f"times ours {bar['bar']}"} if what != "dvc add" else {}


def main() -> None:
    chosen = options(__doc__, peers=True, mb=(1, 100, 1_000), rounds=(1, 3, 3))
    installed = {peer.name: peer for peer in peers(chosen, "duckdb", "polars", "datasets", "dvc")}
    with scratch() as folder:
        csv = folder / "trips.csv"
        _data.write_csv(csv, "trips", chosen.mb * MB)
        rows = measured(chosen, csv, folder / "out", installed)
    report(chosen, rows, {name: peer.version for name, peer in installed.items()})


if __name__ == "__main__":
    main()
