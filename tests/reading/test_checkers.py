"""Stubs as those read them for whom they are written: mypy and pyright, each as strict as it can be."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datapkg.home import Home
from tests.reading.packages import array_node, file_node, group_node, install, install_iris, iris_frame, table_node

ROOT = Path(__file__).resolve().parent.parent.parent

RIGHT = '''
"""All of this is right, and each line that reveals something says what."""
from pathlib import Path

import pandas as pd

import datapkg
import datapkg.data.uciml.iris
import datapkg.data.uciml.iris as module
from datapkg.data.examples import odd
from datapkg.data.uciml import iris
from datapkg.data.uciml.iris import measurements, raw, walk

frame: pd.DataFrame = iris.measurements()
some: pd.DataFrame = iris.measurements(columns=["class"], filters=[("petal_length", ">", 5)])
reveal_type(iris.measurements["petal_length"])  # Series[Any]
reveal_type(iris.measurements[["class", "petal_width"]])  # DataFrame
names = ["class"]
reveal_type(iris.measurements[names])  # DataFrame
for name in iris.measurements.columns:
    reveal_type(iris.measurements[name])  # Series[Any]
reveal_type(iris["measurements"]["class"])  # Series[Any]
reveal_type(iris["raw"].a_jpg())  # Path
reveal_type(iris["raw/a.jpg"]())  # Path
reveal_type(iris.raw["b.jpg"].read_text())  # str
reveal_type(iris.weights.shape)  # tuple[int, ...]
reveal_type(iris.hash)  # str
reveal_type(measurements["class"])  # Series[Any]
reveal_type(module.measurements["class"])  # Series[Any]
reveal_type(module.hash)  # str
reveal_type(raw.a_jpg.path)  # Path
path: Path = iris.README_md()
frame = iris()
wanted = "a"
iris[f"raw/{wanted}.jpg"]()
for node_name in iris:
    iris[node_name]
iris.raw[wanted]
print(len(iris), "raw" in iris, iris.meta["title"], iris.ref, iris.raw.keys(), iris.size, list(walk()))
reveal_type(datapkg.data.uciml.iris.measurements["class"])  # Series[Any]
reveal_type(module.measurements["class"])  # Series[Any]
print(datapkg.keys(iris), datapkg.size(iris.raw), iris.measurements.head(2), iris.measurements.rows)
reveal_type(odd.keys())  # Path
reveal_type(odd.class_())  # DataFrame
reveal_type(odd.n2024_sales["class"])  # Series[Any]
reveal_type(odd["2024 sales"]["class"])  # Series[Any]
reveal_type(odd.Literal.Table())  # Path
reveal_type(odd.Literal.int())  # Path
reveal_type(odd._Literal())  # Path
reveal_type(odd["a-b"]())  # Path
'''
WRONG = """
import datapkg.data.uciml.iris as module
from datapkg.data.examples import odd
from datapkg.data.uciml import iris
from datapkg.data.uciml import irsi  # wrong
from datapkg.data.uciml.iris import mesurements  # wrong

print(iris.mesurements)  # wrong
print(iris.raw.c_jpg)  # wrong
print(iris.measurements["petal_lenght"])  # wrong
print(iris["measurements"]["petal_lenght"])  # wrong
print(iris.measurements.groupby("class"))  # wrong
print(iris.measurements(colums=["class"]))  # wrong
print(module.mesurements)  # wrong
iris.measurements = iris.measurements()  # wrong
print(odd.a_b)  # wrong
print(odd.empty.anything)  # wrong
"""


OPEN = "from datapkg.data.nobody import anything\nprint(anything.table()['a'])\n"
CODE = {"right.py": RIGHT, "wrong.py": WRONG}


@dataclass(frozen=True)
class Said:
    """What a checker said of a file: what it revealed and what it found wrong, by line."""

    revealed: dict[int, str]
    errors: dict[int, str]

    @classmethod
    def of(cls, found: list[tuple[str, int, str, str]], file: str) -> Said:
        said = [(line, kind, text) for path, line, kind, text in found if Path(path).name == file]
        return cls(
            {line: text for line, _, text in said if text.startswith(("Revealed type", "Type of"))},
            {line: text for line, kind, text in said if kind in ("error", "warning")},
        )


@dataclass(frozen=True)
class Project:
    """A folder with code in it, and an environment into which `datapkg stubs` wrote."""

    folder: Path
    python: Path

    def mypy(self) -> list[tuple[str, int, str, str]]:
        """File, line, kind and text of all that mypy says; its cache is kept, for what it knows of other libraries."""
        options = ["--strict", "--no-pretty", "--config-file=", "--python-executable", str(self.python)]
        command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(ROOT / ".mypy_cache" / "strict"), "."]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        lines = re.findall(r"^(\S+?):(\d+): (note|error): (.*)$", done.stdout, re.MULTILINE)
        return [(path, int(line), kind, text) for path, line, kind, text in lines]

    def pyright(self) -> list[tuple[str, int, str, str]]:
        """File, line, kind and text of all that pyright says."""
        (self.folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
        command = [sys.executable, "-m", "pyright", "--pythonpath", str(self.python), "--outputjson"]
        environ = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        found = json.loads(done.stdout)["generalDiagnostics"]
        return [(each["file"], each["range"]["start"]["line"] + 1, each["severity"], each["message"]) for each in found]


def new_environment(folder: Path) -> Path:
    """An environment that sees datapkg and all its libraries, and has a place for stubs of its own; its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    libraries = next((folder / "lib").glob("python*")) / "site-packages"
    seen = [str(ROOT), *(each for each in sys.path if each.endswith("-packages")), *site.getsitepackages()]
    (libraries / "seen.pth").write_text("\n".join(dict.fromkeys(seen)) + "\n")
    return folder / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path, home: Home) -> Project:
    install_iris(home)
    nodes = [
        file_node(home, "keys", b"1", file_name="keys"),
        table_node(home, "class", iris_frame()),
        table_node(home, "2024 sales", iris_frame()),
        file_node(home, "Literal/Table", b"1"),
        file_node(home, "Literal/int", b"1"),
        file_node(home, "_Literal", b"1"),
        file_node(home, "a-b", b"1"),
        file_node(home, "a_b", b"2"),
        file_node(home, "__init__", b"2"),
        array_node(home, 'q"""', np.arange(3)),
        group_node("empty"),
    ]
    install(home, "examples/odd", *nodes, meta={"title": '"""\\', "description": "\u202e![a](http://b)"})
    python = new_environment(tmp_path / "environment")
    folder = tmp_path / "environment" / "project"
    folder.mkdir()
    for file, code in CODE.items():
        (folder / file).write_text(code)
    done = subprocess.run([python, "-m", "datapkg", "stubs"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Project(folder, python)


def expected(code: str) -> dict[int, str]:
    """What stands in the comments of lines that reveal something."""
    lines = enumerate(code.splitlines(), 1)
    return {number: line.partition("# ")[2] for number, line in lines if "reveal_type" in line}


def assert_revealed(revealed: dict[int, str]) -> None:
    wanted = expected(RIGHT)
    assert revealed.keys() == wanted.keys()
    wrong = {line: text for line, text in revealed.items() if not re.search(rf"\b{re.escape(wanted[line])}\W*$", text)}
    assert not wrong


def assert_known(found: list[tuple[str, int, str, str]]) -> None:
    """Right code passes, and is known; each line that is wrong is found, and no other."""
    assert {Path(path).name for path, _, _, _ in found} <= {*CODE, "open.py"}
    right, wrong = (Said.of(found, file) for file in CODE)
    assert right.errors == {}
    assert_revealed(right.revealed)
    lines = {line for line, text in enumerate(WRONG.splitlines(), 1) if text.endswith("# wrong")}
    assert {line: wrong.errors.get(line) for line in lines ^ wrong.errors.keys()} == {}


@pytest.mark.big
def test_mypy_knows_what_is_in_packages(project: Project) -> None:
    (project.folder / "open.py").write_text(OPEN)
    found = project.mypy()
    assert_known(found)
    assert Said.of(found, "open.py") == Said({}, {})  # of users who are not here, anything is believed


def test_pyright_knows_what_is_in_packages(project: Project) -> None:
    assert_known(project.pyright())


def test_pyright_finds_stubs_in_a_folder_of_the_project(project: Project) -> None:
    libraries = next((project.folder.parent / "lib").glob("python*")) / "site-packages"
    (project.folder / "typings").mkdir()
    (libraries / "datapkg-stubs").rename(project.folder / "typings" / "datapkg-stubs")
    assert_known(project.pyright())
