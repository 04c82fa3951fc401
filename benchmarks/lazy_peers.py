"""How much is transferred, and how soon, when part of a remote table is read; compared with fetching all of it?

A table of 20 columns is at a registry, and as the Parquet file that pandas wrote at a plain web server; all received
bytes are counted on the wire. Each figure is a new process with empty caches; the tools take turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from _bench import MB, Row, fresh, options, report, run, turns, used, workplace
from _kept import END
from _peers import Peer, peer_environ, peers
from _wire import Wire, counted, file_server
from lazy import connection

COLUMNS = 20
OURS = "datapkg.open"
START = """
import os, sys
url, repository, column, filters = *sys.argv[1:3], "c03", [("c00", "<", 10)]
"""
BUILD = """
import sys, datapkg, pandas
datapkg.build("me/wide", {"table": pandas.read_parquet(sys.argv[1])})
"""


@dataclass(frozen=True)
class Way:
    """The peer whose environment runs it (none for datapkg), and code that reads one column or a few filtered rows."""

    peer: str
    column: str
    rows: str


DVC = """
import dvc.api, pandas
with dvc.api.open("table.parquet", repo=repository, mode="rb") as file:
    answer = pandas.read_parquet(file, {})"""
DATASETS = """
import datasets, pandas
stream = datasets.load_dataset("parquet", data_files=f"{url}/table.parquet", split="train", streaming=True, %s)
answer = pandas.concat(stream.with_format("pandas").iter(100_000))"""
FILE = """
import fsspec, pandas
with fsspec.open(f"{{url}}/table.parquet") as file:
    answer = pandas.read_parquet(file, {})"""
URL = """
import pandas
answer = pandas.read_parquet(f"{{url}}/table.parquet", {})"""
POLARS = """
import polars
answer = polars.scan_parquet(f"{url}/table.parquet")"""
WAYS = {
    OURS: Way(
        "",
        "import datapkg\nanswer = datapkg.open('me/wide').table[column]",
        "import datapkg\nanswer = datapkg.open('me/wide').table(filters=filters)",
    ),
    "datapkg.install, then read": Way(
        "",
        "import datapkg\ndatapkg.install('me/wide')\nanswer = datapkg.load('me/wide').table[column]",
        "import datapkg\ndatapkg.install('me/wide')\nanswer = datapkg.load('me/wide').table(filters=filters)",
    ),
    "pandas.read_parquet(url)": Way("pandas", URL.format("columns=[column]"), URL.format("filters=filters")),
    "pandas, fsspec": Way("pandas", FILE.format("columns=[column]"), FILE.format("filters=filters")),
    "polars.scan_parquet": Way(
        "polars",
        f"{POLARS}.select(column).collect()",
        f"{POLARS}.filter(polars.col('c00') < 10).collect()",
    ),
    "datasets, streaming": Way("datasets", DATASETS % "columns=[column]", DATASETS % "filters=filters"),
    "dvc.api.open": Way("dvc", DVC.format("columns=[column]"), DVC.format("filters=filters")),
    "pins": Way(
        "pins",
        """
import pins
answer = pins.board_urls(url, {"table": "/pins/"}).pin_read("table")[column]""",
        """
import pins
table = pins.board_urls(url, {"table": "/pins/"}).pin_read("table")
answer = table[table["c00"] < 10]""",
    ),
}


def publish(folder: Path, environ: dict[str, str], rows: int, installed: dict[str, Peer]) -> None:
    """Publish the table at the registry, and in the folder of the web server as the other tools store it."""
    web = fresh(folder / "web")
    random = np.random.default_rng(1)
    frame = pd.DataFrame({f"c{at:02}": random.standard_normal(rows).round(6) for at in range(1, COLUMNS)})
    frame.insert(0, "c00", np.arange(rows))
    frame.to_parquet(web / "table.parquet")
    del frame
    run(Path(sys.executable).name, "-c", BUILD, str(web / "table.parquet"), environ=environ)
    run("datapkg", "push", "me/wide", environ=environ)
    if "dvc" in installed:
        publish_dvc(folder, installed["dvc"].program("dvc"))
    if "pins" in installed:
        code = f"""
import pandas, pathlib, pins
board = pins.board_folder({str(folder / "board")!r})
board.pin_write(pandas.read_parquet({str(web / "table.parquet")!r}), "table", type="parquet")
[version] = pathlib.Path({str(folder / "board")!r}, "table").iterdir()
version.rename({str(web / "pins")!r})"""
        used(installed["pins"].python, "-c", code, environ=peer_environ(folder / "publisher"))


def publish_dvc(folder: Path, program: Path) -> None:
    """Create a repository that has the table, pushed to a folder that is served, with an empty cache."""
    environ = peer_environ(folder / "publisher")
    place = fresh(folder / "dvc")
    (place / "table.parquet").write_bytes((folder / "web" / "table.parquet").read_bytes())
    used(program, "init", "--no-scm", "-q", environ=environ, folder=place)
    used(program, "remote", "add", "-d", "there", folder / "web" / "dvc", "-q", environ=environ, folder=place)
    used(program, "add", "table.parquet", "-q", environ=environ, folder=place)
    used(program, "push", "-q", environ=environ, folder=place)
    (place / "table.parquet").unlink()
    fresh(place / ".dvc" / "cache")


@contextmanager
def served(folder: Path, registry: str, installed: dict[str, Peer]) -> Iterator[tuple[Wire, Wire]]:
    """Run the registry and the web server, both behind a counting proxy."""
    with file_server(folder / "web") as plain, counted(plain) as files, counted(registry) as packages:
        if "dvc" in installed:
            url = ("remote", "modify", "there", "url", f"{files.url}/dvc", "-q")
            environ = peer_environ(folder / "publisher")
            used(installed["dvc"].program("dvc"), *url, environ=environ, folder=folder / "dvc")
        yield files, packages


def took(python: str, code: str, wire: Wire, folder: Path, environ: dict[str, str]) -> tuple[float, int]:
    """Return the seconds and the received bytes of one answer in a new process."""
    before = wire.received
    usage = used(python, "-c", START + code + END, wire.url, folder / "dvc", environ=environ)
    return usage.seconds, wire.since(before)


def measured(chosen: argparse.Namespace, installed: dict[str, Peer]) -> list[Row]:
    """Run every tool and query in every round."""
    taken: dict[str, list[tuple[float, int]]] = {}
    with workplace() as (folder, environ):
        publish(folder, environ, chosen.rows, installed)
        size = (folder / "web" / "table.parquet").stat().st_size
        names = [name for name, way in WAYS.items() if not way.peer or way.peer in installed]
        with served(folder, environ["DATAPKG_REGISTRY"], installed) as (files, packages):
            there = {**connection(environ), "DATAPKG_REGISTRY": packages.url, "HF_HUB_OFFLINE": "0"}
            for what, number in product(("one column of 20", "ten rows by a filter"), range(chosen.rounds)):
                for name in turns(names, number):
                    way = WAYS[name]
                    python = str(installed[way.peer].python) if way.peer else sys.executable
                    code = way.rows if "filter" in what else way.column
                    reader = {**peer_environ(fresh(folder / "reader")), **there}
                    found = took(python, code, files if way.peer else packages, folder, reader)
                    taken.setdefault(f"{what}: {name}", []).append(found)
    return rows_of(taken, size)


def rows_of(taken: dict[str, list[tuple[float, int]]], size: int) -> list[Row]:
    """Return the medians, in seconds and in bytes relative to those of the file."""
    rows: list[Row] = []
    for what, each in taken.items():
        took, received = (median(values) for values in zip(*each, strict=True))
        rows.append(
            {"what": what, "seconds": took, "MB received": received / MB, "% of the file": 100 * received / size}
        )
    return rows


def main() -> None:
    chosen = options(__doc__, peers=True, rows=(20_000, 300_000, 2_000_000), rounds=(1, 3, 5))
    installed = {peer.name: peer for peer in peers(chosen, "pandas", "polars", "datasets", "dvc", "pins")}
    rows = measured(chosen, installed)
    report(chosen, rows, {name: peer.version for name, peer in installed.items()})


if __name__ == "__main__":
    main()
