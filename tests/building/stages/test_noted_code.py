"""The code that a run used is known, however its Python processes loaded it and ended: a change of it runs it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from datapkg.building.stages.lock import read_lock
from datapkg.building.stages.noted_files import MODULES_VARIABLE, ROOT_VARIABLE, noted_code, write_site
from tests.building.stages.test_stages import PYTHON, Project

LOADED = {
    "deleted": "import sys, deleted; del sys.modules['deleted']",
    "by_spec": "from importlib.util import *; spec = spec_from_file_location('x', 'by_spec.py'); "
    "spec.loader.exec_module(module_from_spec(spec))",
    "by_path": "import runpy; runpy.run_path('by_path.py')",
    "by_name": "import runpy; runpy.run_module('by_name')",
    "exits": "import exits, os; os._exit(0)",
    "replaced": "import replaced, os; os.execvp('true', ['true'])",
    "killed": "import killed, os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "forked": "import os\nif not os.fork():\n    import forked; os._exit(0)\nos.wait()",
    "moved": "import os, sys; sys.path.insert(0, os.getcwd()); os.chdir('/'); import moved",
    "looked_for": "import importlib.util; importlib.util.find_spec('looked_for')",
    "not_a_file": "exec(compile('', 'not_a_file_of.py', 'exec')); import not_a_file",
}


def run(root: Path, folder: Path, *words: str, python: str = sys.executable) -> list[str]:
    """Run a Python as a stage does, and return the code that is noted."""
    for name in ("notes", "site"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_site(folder / "site")
    own = {MODULES_VARIABLE: str(folder / "notes"), ROOT_VARIABLE: os.path.realpath(root)}
    environ = {**os.environ, **own, "PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([python, *words], cwd=root, env=environ, check=False)
    return noted_code(folder / "notes", root, folder)[0]


@pytest.mark.parametrize("name", LOADED)
def test_a_module_is_noted_however_it_is_loaded(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / f"{name}.py").write_text("")
    (root / "main.py").write_text(LOADED[name])
    assert run(root, tmp_path / "run", "main.py") == sorted(["main.py", f"{name}.py"])
    assert run(root, tmp_path / "again", "-c", LOADED[name]) == [f"{name}.py"]


def test_a_module_in_an_archive_is_noted_as_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("inner.py", "")
    code = "import sys; sys.path.insert(0, 'lib.zip'); import inner"
    assert run(tmp_path, tmp_path / "run", "-c", code) == ["lib.zip"]


def test_a_module_behind_a_link_is_noted_beside_the_build_file(tmp_path: Path) -> None:
    root, shared = tmp_path / "root", tmp_path / "shared"
    root.mkdir()
    shared.mkdir()
    (shared / "helper.py").write_text("")
    (root / "file.py").symlink_to(shared / "helper.py")
    (root / "lib").symlink_to(shared)
    assert run(root, tmp_path / "run", "-c", "import file; from lib import helper") == ["file.py", "lib/helper.py"]


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.10", "3.12", "3.13", "3.14"])
def test_the_python_of_a_stage_need_not_be_ours(tmp_path: Path, version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no Python {version}")
    root = tmp_path / "root"
    root.mkdir()
    (root / "helper.py").write_text("")
    (root / "main.py").write_text("import helper")
    assert run(root, tmp_path / "run", "main.py", python=python) == ["helper.py", "main.py"]


def test_libraries_are_not_noted_and_what_lies_beside_them_is(tmp_path: Path) -> None:
    """The base of an environment, such as /usr, can contain the build folder."""
    base = Path(os.__file__).parents[2].resolve()
    found = run(base, tmp_path / "run", "-c", "import json, pandas, csv")
    assert found == []
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "library.py").write_text("")
    (tmp_path / "mine.py").write_text("")
    code = "import sys; sys.prefix = sys.base_prefix = '.'; sys.path.append('site-packages'); import library, mine"
    assert run(tmp_path, tmp_path / "again", "-c", code) == ["mine.py"]


@pytest.mark.parametrize("before", ["try: import extra\nexcept ImportError: pass\n", "import rows\n"])
@pytest.mark.parametrize("name", ["extra.py", "extra/__init__.py"])
def test_a_module_that_appears_later(project: Project, before: str, name: str) -> None:
    project.write(script_py=f"{before}import sys\nopen(sys.argv[1], 'w').write('a')\n")
    project.write(rows_py="import importlib\ntry: importlib.import_module('extra')\nexcept ImportError: pass\n")
    _stage(project, f'"{PYTHON} script.py {{out}}"')
    assert [project.actions()["s"] for _ in range(2)] == ["ran", "reused"]
    (project.folder / name).parent.mkdir(exist_ok=True)
    (project.folder / name).write_text("")
    os.utime(project.folder / name, ns=(time.time_ns() - 10**10,) * 2)
    assert project.why() == {"s": f"imported.{name} is new"}
    assert project.actions() == {"s": "reused"}
    (project.folder / name).write_text("changed = 1\n")
    os.utime(project.folder / name, ns=(time.time_ns() - 10**10,) * 2)
    assert project.actions() == {"s": "ran"}
    (project.folder / name).unlink()
    assert project.actions() == {"s": "reused"}, "as at first"


def test_modules_that_libraries_look_for_are_not_noted(tmp_path: Path) -> None:
    assert run(tmp_path, tmp_path / "run", "-c", "import json, pandas, no_such_module_of_mine") == []
    _, absent = noted_code(tmp_path / "run" / "notes", tmp_path, tmp_path / "run")
    assert absent == ["no_such_module_of_mine.py", "no_such_module_of_mine/__init__.py"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    (made.folder / "sub").mkdir()
    script = "import sys, helper\nopen(sys.argv[1], 'w').write('a')\n"
    made.write(script_py=script, helper_py="", words_sh=f"{PYTHON} script.py $1\n")
    (made.folder / "sub" / "inner.sh").write_text("echo a > $1\n")
    return made


def _stage(project: Project, run: str, more: str = "") -> None:
    stage = f"{{run: {run}, outputs: {{out: o}}{more}}}"
    project.write(build_yml=f"contents: {{out: {{stage: s, transform: id}}}}\nstages: {{s: {stage}}}\n")


@pytest.mark.parametrize(
    ("run", "more", "changed"),
    [
        (f'"{PYTHON} script.py {{out}}"', ", shell: true", "script.py"),
        (f'"{PYTHON} script.py {{out}}"', ", shell: true", "helper.py"),
        ('"cd sub && sh inner.sh {out}"', ", shell: true", "sub/inner.sh"),
        ('[sh, -c, "cd sub; ./../words.sh {out}"]', "", "words.sh"),
        ('"sh words.sh {out}"', "", "script.py"),
        ('"sh words.sh {out}"', "", "helper.py"),
    ],
)
def test_scripts_that_a_shell_runs_are_code(project: Project, run: str, more: str, changed: str) -> None:
    (project.folder / "words.sh").chmod(0o755)
    (project.folder / "words.sh").write_text(f"cd {project.folder} && {PYTHON} script.py $1\n")
    os.utime(project.folder / "words.sh", ns=(time.time_ns() - 10**10,) * 2)
    _stage(project, run, more)
    assert project.actions() == {"s": "ran"}
    assert project.actions() == {"s": "reused"}
    with (project.folder / changed).open("a") as file:
        file.write("# changed\n")
    assert project.actions() == {"s": "ran"}


def test_a_log_that_a_shell_writes_is_not_code(project: Project) -> None:
    _stage(
        project, f'"{PYTHON} script.py {{out}} 2>&1 >all.log | tee -a more.log; date +%N >>all.log"', ", shell: true"
    )
    assert [project.actions()["s"] for _ in range(3)] == ["ran", "reused", "reused"]


def test_a_python_that_notes_nothing_is_named(project: Project) -> None:
    code = "import sys; sys.path.append('.'); import helper; open(sys.argv[1], 'w')"
    _stage(project, f'[{PYTHON}, -I, -c, "{code}", "{{out}}"]')
    (warning,) = [each for each in project.build().warnings if each.startswith("stage")]
    assert warning.startswith("stage 's': its Python did not note which modules it imported")
    assert not [each for each in read_lock(project.folder)["s"]["known"] if each.startswith("imported")]


@pytest.mark.parametrize("name", ["a\u2028m.py", "a\x0cm.py", "a\x85m.py"], ids=ascii)
def test_a_file_name_with_an_odd_separator_of_lines_is_noted_whole(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / name).write_text("")
    assert run(root, tmp_path / "run", name) == [name]
