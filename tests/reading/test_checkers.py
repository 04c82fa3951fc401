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


@dataclass(frozen=True)
class Project:
    """A folder with code in it, and an environment into which `datapkg stubs` wrote."""

    folder: Path
    python: Path

    def mypy(self, *options: str) -> tuple[dict[int, str], dict[int, str]]:
        """What mypy reveals and finds wrong in `code.py`, by line."""
        options = ("--strict", "--no-pretty", "--config-file=", "--python-executable", str(self.python), *options)
        command = [sys.executable, "-m", "mypy", *options, "--cache-dir", "../mypy", "code.py"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        found = re.findall(r"^(\S+?):(\d+): (note|error): (.*)$", done.stdout, re.MULTILINE)
        elsewhere = [each for each in found if each[0] != "code.py"]
        assert not elsewhere
        revealed = {int(line): text for _, line, _, text in found if text.startswith("Revealed type")}
        return revealed, {int(line): text for _, line, kind, text in found if kind == "error"}

    def pyright(self) -> tuple[dict[int, str], dict[int, str]]:
        """What pyright reveals and finds wrong in `code.py`, by line."""
        (self.folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
        command = [sys.executable, "-m", "pyright", "--pythonpath", str(self.python), "--outputjson"]
        environ = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        found = json.loads(done.stdout)["generalDiagnostics"]
        assert {Path(each["file"]).name for each in found} <= {"code.py"}, found
        lines = [(each["range"]["start"]["line"] + 1, each["severity"], each["message"]) for each in found]
        revealed = {line: text for line, severity, text in lines if severity == "information"}
        return revealed, {line: text for line, severity, text in lines if severity != "information"}

    def write(self, code: str) -> None:
        (self.folder / "code.py").write_text(code)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that sees datapkg and all its libraries, and has a place for stubs of its own."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    libraries = next((folder / "lib").glob("python*")) / "site-packages"
    seen = [str(ROOT), *(each for each in sys.path if each.endswith("-packages")), *site.getsitepackages()]
    (libraries / "seen.pth").write_text("\n".join(dict.fromkeys(seen)) + "\n")
    return folder


@pytest.fixture
def project(environment: Path, home: Home) -> Project:
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
        array_node(home, 'q"""', __import__("numpy").arange(3)),
        group_node("empty"),
    ]
    install(home, "examples/odd", *nodes, meta={"title": '"""\\', "description": "\u202e![a](http://b)"})
    folder = environment / "project"
    folder.mkdir(exist_ok=True)
    python = environment / "bin" / "python"
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


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_right_code_passes_and_is_known(project: Project, checker: str) -> None:
    project.write(RIGHT)
    revealed, errors = getattr(project, checker)()
    assert errors == {}
    assert_revealed(revealed)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_what_is_misspelt_is_found(project: Project, checker: str) -> None:
    project.write(WRONG)
    _, errors = getattr(project, checker)()
    assert errors.keys() == {line for line, text in enumerate(WRONG.splitlines(), 1) if text.endswith("# wrong")}


def test_without_stubs_mypy_takes_anything(project: Project) -> None:
    project.write("from datapkg.data.nobody import anything\nanything.table()['a']\n")
    assert project.mypy() == ({}, {})
