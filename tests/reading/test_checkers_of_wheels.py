"""Stubs of thin wheels, as type checkers find them beside the client: in the package tree, or in `datapkg-stubs`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datapkg.format.manifest.parsed import Manifest
from datapkg.home import Home
from tests.reading.packages import file_node, install, install_iris, table_node
from tests.reading.packages import iris_frame as frame
from tests.reading.test_checkers import ROOT, Project, Said, expected, new_environment
from tests.thin_wheels import put_wheel

RIGHT = '''
"""All of this is right, and each line that reveals something says what."""
import pandas as pd

import datapkg.data.uciml.iris as module
from datapkg.data.uciml import iris, wine
from datapkg.data.uciml.iris import measurements, raw, walk
from datapkg.data.examples import many

frame: pd.DataFrame = iris.measurements()
reveal_type(iris.measurements["petal_length"])  # Series[Any]
reveal_type(iris.measurements[["class", "petal_width"]])  # DataFrame
for name in iris.measurements.columns:
    reveal_type(iris.measurements[name])  # Series[Any]
reveal_type(measurements["class"])  # Series[Any]
reveal_type(module.hash)  # str
reveal_type(raw["a.jpg"]())  # Path
reveal_type(raw.b_jpg.path)  # Path
reveal_type(wine.wines["class"])  # Series[Any]
many.file_7()
print(len(iris.keys()), list(walk()), iris.meta["title"], iris.README_md())
'''
WRONG = """
from datapkg.data.uciml import iris
from datapkg.data.uciml import irsi  # wrong
from datapkg.data.uciml.iris import mesurements  # wrong

print(iris.mesurements)  # wrong
print(iris.raw.c_jpg)  # wrong
print(iris.measurements["petal_lenght"])  # wrong
print(iris.measurements.groupby("class"))  # wrong
"""
# What only the stubs of `datapkg stubs` know: for others, a package is a module.
OF_STUBS = """
from datapkg.data.uciml import iris

reveal_type(iris["measurements"]["class"])  # Series[Any]
print(iris())
"""
CODE = {"right.py": RIGHT, "wrong.py": WRONG}


def new_project(folder: Path, home: Home, *, editable: bool) -> Project:
    """An environment with wheels of three packages, and the client beside them or as an editable install."""
    install_iris(home)
    install(home, "uciml/wine", table_node(home, "wines", frame()))
    install(home, "examples/many", *(file_node(home, f"file_{number}", b"") for number in range(1_000)))
    python = new_environment(folder / "environment")
    library = next((folder / "environment/lib").glob("python*")) / "site-packages"
    if not editable:
        shutil.copytree(ROOT / "datapkg", library / "datapkg", ignore=shutil.ignore_patterns("__pycache__"))
        seen = library / "seen.pth"
        seen.write_text("".join(line for line in seen.read_text().splitlines(True) if Path(line.strip()) != ROOT))
    for package in ("uciml/iris", "uciml/wine", "examples/many"):
        put_wheel(library, state_of(home, package), package, "https://data.example.org")
    (folder / "environment/project").mkdir()
    for file, code in CODE.items():
        (folder / "environment/project" / file).write_text(code)
    return Project(folder / "environment/project", python)


def state_of(home: Home, package: str) -> Manifest:
    user, _, name = package.partition("/")
    current = next(home.store.refs.current(ref) for ref in home.store.refs.packages(user) if ref.name == name)
    assert current
    return home.store.manifest(current.hash)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An environment with wheels and the client, which no test changes."""
    folder = tmp_path_factory.mktemp("wheels")
    return new_project(folder, Home({"DATAPKG_HOME": str(folder / "home")}), editable=False)


def assert_known(found: list[tuple[str, int, str, str]]) -> None:
    right, wrong = (Said.of(found, file) for file in CODE)
    assert right.errors == {}
    assert_revealed(right, RIGHT)
    lines = {line for line, text in enumerate(WRONG.splitlines(), 1) if text.endswith("# wrong")}
    assert {line: wrong.errors.get(line) for line in lines ^ wrong.errors.keys()} == {}


def assert_revealed(said: Said, code: str) -> None:
    wanted = expected(code)
    assert said.revealed.keys() == wanted.keys()
    assert {line: text for line, text in said.revealed.items() if wanted[line] not in text} == {}


def test_mypy_knows_what_is_in_wheels(project: Project) -> None:
    assert_known(project.mypy())


def test_pyright_knows_what_is_in_wheels(project: Project) -> None:
    assert_known(project.pyright())


@pytest.mark.big
@pytest.mark.needs_library("ty")
def test_ty_knows_what_is_in_wheels(project: Project) -> None:
    assert_known(ty(project))


@pytest.mark.big
@pytest.mark.needs_library("ty")
def test_beside_an_editable_client_stubs_are_known_once_written(tmp_path: Path) -> None:
    project = new_project(tmp_path, Home(), editable=True)
    done = subprocess.run(
        [project.python, "-m", "datapkg", "stubs"], cwd=project.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (project.folder / "of_stubs.py").write_text(OF_STUBS)
    for found in (project.mypy(), project.pyright(), ty(project)):
        assert_known(found)
        assert_revealed(Said.of(found, "of_stubs.py"), OF_STUBS)
        assert Said.of(found, "of_stubs.py").errors == {}


def ty(project: Project) -> list[tuple[str, int, str, str]]:
    """File, line, kind and text of all that ty says."""
    options = ["--output-format", "concise", "--ignore", "undefined-reveal", "--color", "never"]
    command = [sys.executable, "-m", "ty", "check", *options, "--python", str(project.python.parent.parent)]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = []
    for line in done.stdout.splitlines():
        place, _, rest = line.partition(": ")
        if place.count(":") == 2:
            path, number, _ = place.split(":")
            kind = "note" if rest.startswith("info") else "error"
            text = rest.replace("info[revealed-type] ", "")
            found.append((path, int(number), kind, text))
    return found
