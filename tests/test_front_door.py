"""The front door: its names are those that the README lists, and coming in loads nothing heavy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import datapkg
from datapkg.home import Home
from tests.reading.packages import install_iris

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    *(
        "click",
        "duckdb",
        "filelock",
        "fsspec",
        "msgspec",
        "numpy",
        "packaging",
        "pandas",
        "polars",
        "pyarrow",
        "pydantic",
    ),
    *("python_calamine", "requests", "rich", "urllib3", "yaml"),
}
# Modules of the standard library that each take as long to load as a third of all that an import may take.
DEAR = {
    "asyncio",
    "concurrent",
    "ctypes",
    "dataclasses",
    "email",
    "http",
    "inspect",
    "pkgutil",
    "sqlite3",
    "subprocess",
}
LOADED = "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are loaded after this code ran in a process of its own."""
    command = [sys.executable, "-c", code + LOADED]
    before = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=ROOT)
    after = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(after.stdout)) - set(json.loads(before.stdout))


@pytest.fixture
def _iris() -> None:
    install_iris(Home())


def test_importing_datapkg_loads_nothing_heavy() -> None:
    assert loaded_by("import datapkg") & (HEAVY | DEAR) == set()


@pytest.mark.usefixtures("_iris")
def test_importing_a_package_loads_nothing_heavy() -> None:
    assert loaded_by("from datapkg.data.uciml import iris") & (HEAVY | DEAR) == set()


def test_a_build_without_changes_loads_no_library_of_tables_and_none_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.csv").write_text("x\n1\n")
    code = f"import datapkg; datapkg.build('me/p', {str(tmp_path)!r})"
    assert "pandas" in loaded_by(code)
    assert loaded_by(code) & HEAVY == {"msgspec"}


def test_stages_without_changes_load_no_library_of_tables_and_none_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a")
    stage = "{run: 'cp {raw} {out}', inputs: {raw: raw}, outputs: {out: made}}"
    (tmp_path / "build.yml").write_text(f"contents: {{made: {{stage: copy}}}}\nstages: {{copy: {stage}}}\n")
    code = f"import datapkg; datapkg.build('me/p', {str(tmp_path)!r})"
    loaded_by(code)
    assert loaded_by(code) & HEAVY == {"msgspec", "yaml"}


def test_a_build_on_a_cluster_loads_no_library_of_tables_and_none_of_the_network_itself() -> None:
    assert loaded_by("import datapkg.building.cluster.runner") & HEAVY == {"msgspec", "yaml"}


def test_push_and_install_make_no_classes_of_results_of_other_commands() -> None:
    code = "import datapkg.api.push, datapkg.api.install, sys; assert 'datapkg.api.results' not in sys.modules"
    assert "datapkg" in loaded_by(code)


@pytest.mark.usefixtures("_iris")
def test_looking_at_a_package_loads_the_manifest_and_no_more() -> None:
    code = "from datapkg.data.uciml.iris import measurements, README_md, raw"
    assert loaded_by(code) & HEAVY == {"msgspec"}
    look = "; measurements.columns, len(measurements), list(raw), README_md().read_text(), repr(raw)"
    assert loaded_by(code + look) & HEAVY == {"msgspec"}


@pytest.mark.usefixtures("_iris")
def test_pandas_comes_with_the_first_frame_and_not_with_arrow() -> None:
    code = "from datapkg.data.uciml.iris import measurements; "
    assert loaded_by(code + "measurements.arrow(), repr(measurements)") & HEAVY == {"msgspec", "numpy", "pyarrow"}
    assert loaded_by(code + "measurements._repr_mimebundle_()") & HEAVY == {"msgspec", "numpy", "pyarrow"}
    assert loaded_by(code + "measurements()") & HEAVY == {"msgspec", "numpy", "pandas", "pyarrow"}


def test_readme_lists_the_public_names() -> None:
    section = (ROOT / "README.md").read_text().partition("Its names:")[2].partition("```")[0]
    assert sorted(re.findall(r"`([A-Za-z]\w*)`", section)) == sorted(datapkg.__all__)
    for name in datapkg.__all__:
        assert getattr(datapkg, name) is not None
