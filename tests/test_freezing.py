"""A program that imports datapkg, frozen by PyInstaller."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pandas as pd
import pytest

import datapkg

PROGRAM = """\
from datapkg.data.uciml import iris
import datapkg

print(iris.measurements()["petal_length"].sum(), iris.measurements.columns)
datapkg.build("me/made", {"t": iris.measurements()})
print(datapkg.load("me/made").t.rows)
"""


def test_the_hook_is_found_by_its_entry_point() -> None:
    (point,) = (each for each in entry_points(group="pyinstaller40") if each.module.partition(".")[0] == "datapkg")
    (folder,) = point.load()()
    assert point.name == "hook-dirs"
    text = Path(folder, "hook-datapkg.py").read_text()
    assert "datapkg.data" in text
    compile(text, "hook-datapkg.py", "exec")


@pytest.mark.needs_library("PyInstaller")
@pytest.mark.timeout(900)
def test_a_frozen_program_imports_packages(tmp_path: Path) -> None:
    datapkg.build("uciml/iris", {"measurements": pd.DataFrame({"petal_length": [1.5, 4.5]})})
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "-m", "PyInstaller", "--clean", "--noconfirm", "--log-level", "WARN", "program.py"]
    environment = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "cache")}
    made = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    program = tmp_path / "dist" / "program" / "program"
    ended = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.stdout.splitlines(), ended.stderr) == (["6.0 ['petal_length']", "2"], "")
