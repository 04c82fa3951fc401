"""Shared parts of all benchmarks: sizes, timers that return medians, a registry, and stored tables of results."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
LAUNCHER = Path(__file__).resolve().parent / "_launch.py"
PROGRAMS = Path(sys.executable).parent
SIZES = ("tiny", "small", "full")
MB = 1_000_000

Row = dict[str, Any]
"""One row of a table of results: `what`, then values by column name, in order."""


def options(
    question: str | None, peers: bool = False, pieces: bool = False, **sizes: tuple[int, int, int]
) -> argparse.Namespace:
    """Parse the command line: each number has a default for each of the `SIZES` and its own option."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--size", choices=SIZES, default="small", help="default %(default)s; tiny only tries the code")
    for name, values in sizes.items():
        defaults = ", ".join(f"{value:,}" for value in values)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"for tiny, small, full: {defaults}")
    parser.add_argument("--results", type=Path, help="a folder for the results, instead of benchmarks/results/SIZE")
    if peers:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        parser.add_argument("--peers", type=Path, default=cache / "datapkg-bench", help="where peers are installed")
        parser.add_argument("--without-peers", action="store_true", help="measure ours alone")
    if pieces:
        parser.add_argument("--only", default="", metavar="PATTERN", help="measure the rows whose title matches this")
        parser.add_argument("--resume", action="store_true", help="measure the rows that have no result yet")
    chosen = parser.parse_args()
    _compile()
    for name, values in sizes.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, values[SIZES.index(chosen.size)])
    return chosen


def _compile() -> None:
    """Compile the bytecode as pip does at installation; without it, each new process would compile its imports."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("datapkg", "registry_server"):
        spec = find_spec(name)
        for folder in spec.submodule_search_locations or () if spec else ():
            compileall.compile_dir(folder, quiet=1)


def seconds(work: Callable[[], object], repeats: int = 1, prepare: Callable[[], object] = lambda: None) -> float:
    """Return the median duration of a piece of work in seconds; `prepare` runs before each run and is not timed."""
    taken = []
    for _ in range(repeats):
        prepare()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


@dataclass(frozen=True)
class Usage:
    """Resources of a command: seconds, CPU seconds, and the peak memory of one of its processes in bytes."""

    seconds: float
    cpu: float
    peak: int

    def row(self) -> Row:
        return {"seconds": self.seconds, "CPU s": self.cpu, "peak MB": self.peak / MB}


def middle(usages: list[Usage]) -> Usage:
    """Return the medians of seconds and CPU, and the highest peak."""
    taken, cpu = ([getattr(usage, name) for usage in usages] for name in ("seconds", "cpu"))
    return Usage(statistics.median(taken), statistics.median(cpu), max(usage.peak for usage in usages))


def used(*command: str | Path, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Usage:
    """Run a program and measure it; a name without a folder is a program of this environment."""
    program = str(command[0])
    program = program if os.sep in program or not (PROGRAMS / program).exists() else str(PROGRAMS / program)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), program, *map(str, command[1:])]
    done = subprocess.run(launch, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"status": done.returncode}
    if result.pop("status"):
        raise SystemExit(f"{' '.join(map(str, command))} failed: {done.stderr[-2000:]}")
    return Usage(**result)


def run(*command: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a program of this environment and return what it printed."""
    program = str(PROGRAMS / command[0])
    done = subprocess.run([program, *command[1:]], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def own_environ(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a user whose store is in this folder, isolated from the caller's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DATAPKG_")}
    return {**kept, "DATAPKG_HOME": str(home), **more}


def turns(names: Iterable[str], number: int) -> list[str]:
    """Return the names in an order that starts with another one each round, so that noise is spread evenly."""
    order = list(names)
    start = number % len(order)
    return order[start:] + order[:start]


@contextmanager
def scratch() -> Iterator[Path]:
    """Create a temporary folder for a benchmark's data."""
    with TemporaryDirectory(prefix="datapkg-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def workplace() -> Iterator[tuple[Path, dict[str, str]]]:
    """Create a temporary folder, and the environment of a user `me` of a registry that runs in it."""
    with scratch() as folder:
        data = str(folder / "registry")
        serve = [str(PROGRAMS / "datapkg-registry"), "serve", "--data", data, "--port", "0"]
        process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            token = json.loads(run("datapkg-registry", "user", "add", "me", "--data", data, "--json"))["token"]
            yield folder, own_environ(folder / "home", DATAPKG_REGISTRY=url, DATAPKG_TOKEN=token)
        finally:
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()


def fresh(folder: Path) -> Path:
    """Replace this folder by an empty one, after earlier writes were synced to the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()
    return folder


def bytes_in(folder: Path) -> int:
    """Return the size of all files below a folder, or of one file."""
    if folder.is_file():
        return folder.stat().st_size
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def at_most(value: float, bar: float) -> Row:
    """Return the columns that compare a value with its upper limit."""
    return {"bar": f"≤ {shown(bar)}", "met": "yes" if value <= bar else "no"}


def at_least(value: float, bar: float) -> Row:
    """Return the columns that compare a value with its lower limit."""
    return {"bar": f"≥ {shown(bar)}", "met": "yes" if value >= bar else "no"}


def results_file(options: argparse.Namespace) -> Path:
    """Return where the results of this benchmark are stored."""
    return (options.results or RESULTS / options.size) / f"{Path(sys.argv[0]).stem}.json"


def report(
    options: argparse.Namespace,
    rows: list[Row],
    versions: Mapping[str, str] | None = None,
    shown: list[Row] | None = None,
) -> None:
    """Print a table, of some of the rows if told, and store all rows with settings and the versions of what ran."""
    print(as_table(rows if shown is None else shown), flush=True)
    if options.size == "tiny" and options.results is None:
        return
    path = results_file(options)
    own = {each: version(each) for each in ("datapkg", "pandas", "pyarrow", "numpy")}
    own |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    left_out = ("results", "peers", "size", "without_peers", "only", "resume")
    settings = {key: value for key, value in vars(options).items() if key not in left_out}
    result = {"name": path.stem, "size": options.size, "settings": settings, "versions": {**own, **(versions or {})}}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**result, "cpus": os.cpu_count(), "rows": rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n")


def as_table(rows: list[Row]) -> str:
    """Return the rows as aligned columns, numbers with three significant digits."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[name if name != "what" else "" for name in names]]
    cells += [[shown(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    lines = []
    for line in cells:
        parts = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        lines.append("  " + "  ".join(parts).rstrip())
    return "\n".join(lines)


def shown(value: object) -> str:
    """Return a value as it is displayed in a table."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
