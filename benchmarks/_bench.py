"""What every benchmark needs: a clock that gives medians, a registry, a table, and a file of results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PROGRAMS = Path(sys.executable).parent
Row = tuple[str, float, str, str]


def seconds(work: Callable[[], object], repeats: int = 1, prepare: Callable[[], object] = lambda: None) -> float:
    """The median of how long a piece of work takes, in seconds; `prepare` runs before each and is not counted."""
    taken = []
    for _ in range(repeats):
        prepare()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def run(*command: str, environ: Mapping[str, str] | None = None) -> str:
    """Runs a program of this environment; gives what it printed."""
    program = str(PROGRAMS / command[0])
    done = subprocess.run([program, *command[1:]], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@contextmanager
def workplace() -> Iterator[tuple[Path, dict[str, str]]]:
    """A temporary folder, and the environment of a user `me` of a registry that runs in it."""
    with TemporaryDirectory(prefix="datapkg-bench-") as name:
        folder = Path(name)
        data = str(folder / "registry")
        serve = [str(PROGRAMS / "datapkg-registry"), "serve", "--data", data, "--port", "0"]
        process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            token = json.loads(run("datapkg-registry", "user", "add", "me", "--data", data, "--json"))["token"]
            kept = {key: value for key, value in os.environ.items() if not key.startswith("DATAPKG_")}
            home = {"DATAPKG_HOME": str(folder / "home"), "DATAPKG_REGISTRY": url, "DATAPKG_TOKEN": token}
            yield folder, {**kept, **home}
        finally:
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()


def report(name: str, rows: list[Row], **settings: Any) -> None:
    """Prints a table of (what, value, unit, bar) and keeps it with the versions it was measured with."""
    import pandas
    import pyarrow

    import datapkg

    width = max(len(row[0]) for row in rows)
    for what, value, unit, bar in rows:
        print(f"  {what:<{width}}  {value:10.3g} {unit:<3} {bar}")
    versions = {"datapkg": datapkg.__version__, "pandas": pandas.__version__, "pyarrow": pyarrow.__version__}
    versions |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    values = [{"what": what, "value": value, "unit": unit, "bar": bar} for what, value, unit, bar in rows]
    RESULTS.mkdir(exist_ok=True)
    result = {"name": name, "settings": settings, "versions": versions, "cpus": os.cpu_count(), "rows": values}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
