"""Builds on a Dask cluster give the bytes of local builds, also if workers are lost; no data pass the scheduler."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.building.cluster import connection, runner
from datapkg.building.cluster.connection import Cluster
from datapkg.building.record import versions
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.building.stages.test_watchdog import is_running

# Dask's own warnings, such as those of a lost worker, are no mistakes of ours.
pytestmark = [
    pytest.mark.big,
    pytest.mark.needs_library("distributed"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),
]
REF = Ref("me", "data")
TRAVELS_BYTES = 20_000
"""The most that a task of these tests, or its result, may take on its way through the scheduler."""

BUILD_FILE = f"""
contents:
  rows: {{file: rows.csv}}
  more: {{file: more.csv}}
  both: {{file: "*.csv", concat: true}}
  made: {{python: "make:table", files: [rows.csv]}}
  clean: {{stage: clean}}
  counted: {{stage: count, output: out}}
stages:
  clean:
    run: "{sys.executable} clean.py {{rows}} {{out}}"
    inputs: {{rows: contents.rows}}
    as: csv
    outputs: {{out: clean.csv}}
  count:
    python: count:lines
    inputs: {{folder: stages.clean, notes: notes/}}
    params: {{name: [1, 2]}}
    outputs: {{out: counts/}}
    env: [SECRET_OF_STAGE]
"""
CODE = {
    "clean.py": "import sys, kept\nkept.copy(*sys.argv[1:])\n",
    "kept.py": "import shutil, time\ndef copy(a, b):\n    print('copying')\n    shutil.copy(a, b)\n",
    "make.py": "import pandas as pd\ndef table(path): return pd.read_csv(path).assign(made=1)\n",
    "count.py": """
import os
def lines(folder, notes, out, name):
    text = folder.read_text()
    (out.parent / "beside").touch()
    (out / "lines.txt").write_text(str(len(text.splitlines())) + os.environ["SECRET_OF_STAGE"])
    (out / "names.txt").write_text(" ".join(sorted(each.name for each in notes.iterdir())) + str(name))
""",
}


class Project:
    """A folder with a build file whose tables are large enough to be tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "notes").mkdir(parents=True)
        (folder / "notes" / "a name that no node can have!.txt").write_text("a")
        for name, text in {"build.yml": BUILD_FILE, **CODE}.items():
            (folder / name).write_text(text)
        for number, name in enumerate(("rows", "more")):
            lines = [f"{line},{line * 7 % 1000 / 8},text {line % 1000}" for line in range(number, 60_000 + number)]
            (folder / f"{name}.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")
        for path in folder.iterdir():
            os.utime(path, ns=(time.time_ns() - 10**10,) * 2)

    def build(self, home: Path, on: str = "", objects: str = "", **options: Any) -> BuildResult:
        """Build it into a home of its own."""
        (self.folder / "datapkg.stages.lock").unlink(missing_ok=True)
        environ = {**os.environ, "DATAPKG_HOME": str(home), "SECRET_OF_STAGE": "!"}
        given = BuildOptions(on=on, objects=objects, **options)
        return build_package(Home(environ), REF, self.folder, given)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two processes on this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, memory_limit=None, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as found:
        yield found


@pytest.fixture
def travelling(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The name, the size and the size of the result of each task that is sent."""
    sizes: list[tuple[str, int, int]] = []
    run = Cluster.run

    def noted(self: Cluster, task: Any, what: str, *more: Any) -> Any:
        result = run(self, task, what, *more)
        sizes.append((what, len(pickle.dumps(task)), len(pickle.dumps(result))))
        return result

    monkeypatch.setattr(Cluster, "run", noted)
    return sizes


TASKS = {"rows", "more", "both", "made", "clean", "stage clean", "stage count"}


def test_the_same_bytes_in_the_same_store(
    project: Project, cluster: Any, tmp_path: Path, travelling: list[tuple[str, int, int]]
) -> None:
    here = project.build(tmp_path / "here")
    there = project.build(tmp_path / "there", cluster.scheduler_address)
    assert there.hash == here.hash
    assert there.warnings == here.warnings
    assert any("'beside'" in each for each in there.warnings)
    assert {each for each, _, _ in travelling} == TASKS
    assert max(max(task, result) for _, task, result in travelling) < TRAVELS_BYTES
    again = project.build(tmp_path / "there", cluster.scheduler_address)
    assert (again.hash, again.built) == (here.hash, 0)
    assert {each["action"] for each in again.stages} == {"reused"}
    assert len(travelling) == len(TASKS)  # nothing was sent again


def test_the_same_bytes_through_another_place(
    project: Project, cluster: Any, tmp_path: Path, travelling: list[tuple[str, int, int]]
) -> None:
    here = project.build(tmp_path / "here")
    there = project.build(tmp_path / "there", cluster.scheduler_address, (tmp_path / "objects").as_uri())
    assert there.hash == here.hash
    assert {each for each, _, _ in travelling} == TASKS - {"both", "made"}
    assert max(max(task, result) for _, task, result in travelling) < TRAVELS_BYTES
    # All is in the store: what the workers used may go.
    home = Home({"DATAPKG_HOME": str(tmp_path / "there")})
    assert not home.store.objects.missing(home.store.manifest(there.hash).objects())


def test_a_change_is_read_as_here(project: Project, cluster: Any, tmp_path: Path) -> None:
    for home, on in (("here", ""), ("there", cluster.scheduler_address)):
        project.build(tmp_path / home, on)
    with (project.folder / "rows.csv").open("a") as file:
        file.write("9,9.5,new\n")
    here, there = (
        project.build(tmp_path / home, on) for home, on in (("here", ""), ("there", cluster.scheduler_address))
    )
    assert here.hash == there.hash
    assert (here.built, here.reused) == (there.built, there.reused)


def test_a_lost_worker_does_not_matter(project: Project, cluster: Any, tmp_path: Path) -> None:
    kept = project.folder / "kept.py"
    began = tmp_path / "began"
    kept.write_text(
        "import os, pathlib, shutil, time\n"
        "def copy(a, b):\n"
        f"    began = pathlib.Path({str(began)!r})\n"
        "    is_first = not began.exists()\n"
        "    if is_first: began.write_text(f'{os.getppid()} {os.getpid()}')\n"
        "    time.sleep(600 if is_first else 0)\n"
        "    shutil.copy(a, b)\n"
    )

    def kill() -> None:
        while not (began.exists() and began.read_text()):
            time.sleep(0.05)
        os.kill(int(began.read_text().split()[0]), signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    there = project.build(tmp_path / "there", cluster.scheduler_address)
    killer.join()
    assert there.hash == project.build(tmp_path / "here").hash
    assert not is_running(int(began.read_text().split()[1]))  # the command of the lost worker has ended with it


SWEEP = """
contents:
  scores: {{stage: train}}
  results: {{results_of: train}}
stages:
  train:
    run: [{python}, train.py, "{{out}}", "{{rate}}"]
    matrix: {{rate: [1, 2, 3, 4, 5, 6]}}
    outputs: {{out: score.txt}}
"""
TRAIN = """
import datapkg, os, pathlib, signal, sys, time
out, rate = sys.argv[1:]
datapkg.log_metrics({{"loss": 1 / int(rate)}}, step=1)
began = pathlib.Path({began!r}, rate)
if rate in ("2", "5") and not began.exists():
    began.write_text(f"{{os.getppid()}} {{os.getpid()}}")
    os.kill(os.getppid(), signal.SIGKILL)  # the worker that runs it
    time.sleep(600)
pathlib.Path(out).write_text(rate)
"""


def test_workers_that_are_lost_in_a_sweep_do_not_matter(cluster: Any, tmp_path: Path) -> None:
    found, tries = [], []
    for name, on in (("there", cluster.scheduler_address), ("here", "")):
        folder, began = tmp_path / name, tmp_path / f"{name} began"
        folder.mkdir()
        began.mkdir()
        (folder / "build.yml").write_text(SWEEP.format(python=sys.executable))
        (folder / "train.py").write_text(TRAIN.format(began=str(began)))
        if not on:  # there, nothing is killed
            for rate in ("2", "5"):
                (began / rate).write_text("0 0")
        home = Home({**os.environ, "DATAPKG_HOME": str(tmp_path / f"home {name}")})
        found.append(build_package(home, REF, folder, BuildOptions(on=on, jobs=2)).hash)
        tries.append([each.read_text().split() for each in sorted(began.iterdir())])
    assert found[0] == found[1]
    workers, commands = zip(*tries[0], strict=True)
    assert len(set(workers)) == 2
    assert not [each for each in commands if is_running(int(each))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", 'a,b,c\n1,2,3\n"never closed' + "x" * (2 << 20)),
        ("clean.py", "print('some', 'words'); raise SystemExit(3)"),
        ("make.py", "def table(path): raise KeyError('city')"),
        ("count.py", "def lines(**given): print('much'); given['missing']"),
    ],
)
@pytest.mark.parametrize("place", ["", "objects"])
def test_the_same_errors(project: Project, cluster: Any, tmp_path: Path, name: str, text: str, place: str) -> None:
    (project.folder / name).write_text(text)
    objects = (tmp_path / place).as_uri() if place else ""
    found = []
    for home, on, where in (("here", "", ""), ("there", cluster.scheduler_address, objects)):
        with pytest.raises(DatapkgError) as failed:
            project.build(tmp_path / home, on, where)
        found.append((type(failed.value), _plain(failed.value.message), _plain(failed.value.hint)))
    assert found[0] == found[1]
    assert issubclass(found[0][0], BuildFailed)


def _plain(text: str) -> str:
    """Return a message without the names of temporary files, of logs and homes."""
    return re.sub(r"[^ \"',]*/[^ \"',]*/([^/ \"',]*)", r"…/\1", re.sub(r"\d{8}T[\d.]+\.log", "LOG", text))


def test_a_worker_of_another_version(
    project: Project, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "versions", lambda: {**versions(), "datapkg": "9.9"})
    with pytest.raises(InvalidInput, match=r"has other versions than this machine: datapkg 0\.1\.0 \(here 9\.9\)"):
        project.build(tmp_path / "there", cluster.scheduler_address)
    assert not (project.folder / "datapkg.stages.lock").exists()


def test_workers_that_do_not_see_the_store(
    project: Project, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_folder_state", lambda root: (str(tmp_path / "absent"), 1, 1))
    with pytest.raises(InvalidInput, match="does not see the store") as failed:
        project.build(tmp_path / "there", cluster.scheduler_address)
    assert failed.value.hint.endswith("--objects s3://BUCKET/PREFIX")


def test_a_cluster_of_its_own(project: Project, tmp_path: Path) -> None:
    assert project.build(tmp_path / "there", "dask").hash == project.build(tmp_path / "here").hash
