"""What does a build on a Dask cluster cost and gain: one big CSV, more workers, and the time that each task adds?

The cluster runs before the build begins, with one thread a worker; `--on dask` starts one of its own. All workers share
the machine, so more workers than cores gain nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import _data
from _bench import MB, Row, at_most, fresh, options, own_environ, report, scratch, seconds, turns, used

SERVE = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, memory_limit=None, dashboard_address=None,
                      host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
WORKERS = (1, 2)


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Run a cluster of so many processes; yield its address."""
    script = folder / "serve.py"
    script.write_text(SERVE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, script, str(workers)], text=True, **pipes) as process:
        assert process.stdout
        assert process.stdin
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait()


def build(folder: Path, source: Path, *more: str) -> float:
    """Return the seconds of a first build into an empty store."""
    environ = own_environ(fresh(folder / "home"))
    return used("datapkg", "build", "me/data", source, "-q", *more, environ=environ).seconds


def one_csv(folder: Path, size: int, rounds: int) -> Iterator[Row]:
    """Yield the times of one CSV on this machine and on two workers, each the least of its rounds."""
    csv = folder / "trips.csv"
    _data.write_csv(csv, "trips", size)
    with cluster(folder, 2) as address:
        ways = {"one CSV, here": (), "one CSV, two workers": ("--on", address), "one CSV, --on dask": ("--on", "dask")}
        times: dict[str, list[float]] = {what: [] for what in ways}
        for number in range(rounds):
            for what in turns(ways, number):
                times[what].append(build(folder, csv, *ways[what]))
    here = min(times["one CSV, here"])
    for what, each in times.items():
        bar = at_most(min(each) / here, 1.0) if what == "one CSV, two workers" else {}
        yield {"what": what, "seconds": min(each), "MB/s": size / MB / min(each), "times here": min(each) / here, **bar}
    csv.unlink()


def more_workers(folder: Path, count: int, size: int) -> Iterator[Row]:
    """Yield the times of several CSVs by the number of workers."""
    source = fresh(folder / "many")
    for number in range(count):
        _data.write_csv(source / f"trips{number}.csv", "trips", size)
    first = 0.0
    for workers in WORKERS:
        with cluster(folder, workers) as address:
            taken = build(folder, source, "--on", address)
        first = first or taken
        yield {"what": f"{count} CSVs, {workers} workers", "seconds": taken, "speed-up": first / taken}


def least_task(folder: Path, count: int) -> Iterator[Row]:
    """Yield how long a CSV of 1 MB, the least that is sent as a task, takes here."""
    source = fresh(folder / "few")
    times = []
    for number in range(count + 1):
        _data.write_csv(source / f"trips{number}.csv", "trips", MB)
        if number in (0, count):
            times.append(build(folder, source))
    yield {"what": "CSV of 1 MB, here", "ms a task": 1000 * (times[1] - times[0]) / count}


def per_task(folder: Path, count: int) -> Iterator[Row]:
    """Yield how much longer many tiny stages take on a cluster than here, for each."""
    source = fresh(folder / "stages")
    (source / "build.yml").write_text(
        "contents: {}\nstages:\n"
        + "".join(f'  s{number}: {{run: "touch {{out}}", outputs: {{out: a}}}}\n' for number in range(count))
    )
    here = seconds(lambda: build(folder, source / "build.yml", "--jobs", "2"))
    with cluster(folder, 2) as address:
        there = seconds(lambda: build(folder, source / "build.yml", "--on", address, "--jobs", "2"))
        start = build(folder, empty(folder), "--on", address) - build(folder, empty(folder))
    yield {"what": "to connect and check", "seconds": start}
    yield {"what": f"{count} stages, here", "seconds": here, "ms a task": 1000 * here / count}
    added = {"ms a task": 1000 * there / count, "ms added": 1000 * (there - here - start) / count}
    yield {"what": f"{count} stages, two workers", "seconds": there, **added}


def empty(folder: Path) -> Path:
    """Return a build file without contents."""
    path = fresh(folder / "empty") / "build.yml"
    path.write_text("contents: {}\n")
    return path


def main() -> None:
    chosen = options(__doc__, mb=(1, 100, 1_000), rounds=(1, 1, 3), csvs=(2, 8, 16), stages=(3, 100, 500))
    os.environ.pop("DATAPKG_HOME", None)
    with scratch() as folder:
        rows = [
            *one_csv(folder, chosen.mb * MB, chosen.rounds),
            *more_workers(folder, chosen.csvs, chosen.mb * MB // chosen.csvs),
            *least_task(folder, chosen.csvs),
            *per_task(folder, chosen.stages),
        ]
    report(chosen, rows, {"distributed": version("distributed")})


if __name__ == "__main__":
    main()
