"""Which lock decides: that of the running code, whatever the working directory is; `DATAPKG_LOCK` overrules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datapkg import code_folder
from datapkg.errors import InvalidLock, PackageNotInstalled
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.lock_search import deciding_lock
from datapkg.resolve import find_installed
from datapkg.store.refs import Current
from tests.reading.packages import file_node, install

PRINT = "from datapkg.data.u import p\nprint(p.hash)\n"


@pytest.fixture
def states() -> dict[str, str]:
    """Install three states of `u/p`, of which the last is the current one; return their hashes."""
    home = Home()
    return {name: install(home, "u/p", file_node(home, name, b"")) for name in ("code", "here", "current")}


@pytest.fixture
def project(tmp_path: Path, states: dict[str, str]) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "src" / "app.py").write_text(PRINT)
    pin(folder, states["code"])
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    (folder / ".git").mkdir(parents=True)
    return folder


def pin(folder: Path, hash: str) -> Path:
    (folder / "datapkg.lock").write_bytes(Lock((Pin("u/p", "u/p", "https://data.example.org", hash, 0),)).to_bytes())
    return folder / "datapkg.lock"


def ran(*words: str | Path, cwd: Path, **environ: str) -> tuple[str, str]:
    """Run Python and return what it printed, and its errors."""
    run = subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    return run.stdout.strip(), run.stderr


def test_lock_of_the_script_decides_from_any_folder(states: dict[str, str], project: Path, elsewhere: Path) -> None:
    link = elsewhere / "link.py"
    link.symlink_to(project / "src" / "app.py")
    for script in (project / "src" / "app.py", link):
        assert ran(script, cwd=elsewhere) == (states["code"], "")
    assert ran("-c", PRINT, cwd=elsewhere) == (states["current"], "")
    assert ran("-c", PRINT, cwd=project) == (states["code"], "")


def test_differing_lock_of_the_working_directory_is_reported_once(
    states: dict[str, str], project: Path, elsewhere: Path
) -> None:
    other, script = pin(elsewhere, states["here"]), project / "src" / "app.py"
    script.write_text(PRINT + "import importlib; importlib.reload(p)\n")
    printed, errors = ran(script, cwd=elsewhere)
    assert printed == states["code"]
    assert errors.count("UserWarning") == 1
    assert f"{project / 'datapkg.lock'} of the running code is used, not {other}" in errors
    assert ran(script, cwd=elsewhere, DATAPKG_LOCK=str(other)) == (states["here"], "")
    other.write_bytes((project / "datapkg.lock").read_bytes())
    assert ran(script, cwd=elsewhere) == (states["code"], "")


def test_lock_of_the_working_directory_decides_where_the_code_has_none(
    states: dict[str, str], project: Path, elsewhere: Path
) -> None:
    (project / "datapkg.lock").unlink()
    pin(elsewhere, states["here"])
    assert ran(project / "src" / "app.py", cwd=elsewhere) == (states["here"], "")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing_follow_the_lock_of_their_script(
    states: dict[str, str], project: Path, elsewhere: Path, method: str
) -> None:
    script = project / "src" / "parent.py"
    script.write_text(
        "import multiprocessing\n"
        "from datapkg.data.u import p as at_top\n"
        "def found():\n"
        "    import datapkg\n"
        "    print(at_top.hash, datapkg.load('u/p').hash, flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    child = multiprocessing.get_context({method!r}).Process(target=found)\n"
        "    child.start(), child.join()\n"
    )
    assert ran("-W", "ignore", script, cwd=elsewhere)[0] == f"{states['code']} {states['code']}"


def test_programs_of_an_environment_follow_the_working_directory(
    states: dict[str, str], project: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "tools" / "lib" / "site-packages" / "tool"
    tools.mkdir(parents=True)
    (tools / "__main__.py").write_text(PRINT)
    pin(tools.parent, states["here"])
    assert ran("-m", "tool", cwd=project, PYTHONPATH=str(tools.parent)) == (states["code"], "")
    shown = ran("-m", "datapkg", "show", "u/p", "--json", cwd=project)[0]
    assert states["code"] in shown


def test_setting_lock_overrules(
    states: dict[str, str], project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = project / "src" / "app.py"
    assert ran(script, cwd=project, DATAPKG_LOCK="off") == (states["current"], "")
    other = pin(elsewhere, states["here"])
    assert ran(script, cwd=elsewhere.parent, DATAPKG_LOCK="elsewhere/datapkg.lock") == (states["here"], "")
    monkeypatch.setenv("DATAPKG_LOCK", str(other))
    assert find_installed(Home(), Ref("u", "p")).hash == states["here"], "commands follow it too"
    assert Home().settings.get("lock").source == "DATAPKG_LOCK"
    other.unlink()
    with pytest.raises(InvalidLock, match="not a file") as caught:
        deciding_lock(Home())
    assert caught.value.hint == "unset DATAPKG_LOCK"


def test_pinned_state_that_is_absent_shows_what_to_type_from_anywhere(
    states: dict[str, str], project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(project, "0" * 64)
    monkeypatch.setattr(code_folder, "_test_roots", [str(project / "src")])

    def hint(cwd: Path) -> str | None:
        monkeypatch.chdir(cwd)
        with pytest.raises(PackageNotInstalled, match="pinned to sha256:0000") as caught:
            find_installed(Home(), Ref("u", "p"), of_code=True)
        return caught.value.hint

    assert hint(project / "src") == "datapkg install"
    assert hint(elsewhere) == f"datapkg install u/p@sha256:{'0' * 64}"
    (project / "datapkg.yml").write_text("packages: [u/p]\n")
    assert hint(elsewhere) == f"datapkg install -r {project / 'datapkg.yml'}"


def test_tests_follow_the_lock_of_the_root_of_pytest(states: dict[str, str], project: Path, elsewhere: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "src" / "test_it.py").write_text(
        "import datapkg, sys\n"
        f"def test_it(): assert datapkg.load('u/p').hash == {states['code']!r}\n"
        "def test_plugin_is_light(): assert 'datapkg.pytest_plugin' in sys.modules\n"
    )
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", project / "src")
    assert "2 passed" in ran(*words, cwd=elsewhere)[0]
    # Without a file that configures pytest, its root is the folder above both.
    (project / "pytest.ini").unlink()
    (elsewhere / "datapkg.lock").write_bytes((project / "datapkg.lock").read_bytes().replace(b"u/p", b"u/q"))
    assert "2 passed" in ran(*words, cwd=elsewhere)[0]
    words = (*words[:-1], project / "src" / "test_it.py::test_it")
    assert "1 passed" in ran(*words, cwd=elsewhere)[0]
    # Before a test imports more, the plugin has loaded nothing but itself.
    listed = "import datapkg.pytest_plugin, sys; print(sorted(n for n in sys.modules if n.startswith('datapkg')))"
    assert ran("-c", listed, cwd=elsewhere)[0] == "['datapkg', 'datapkg.code_folder', 'datapkg.pytest_plugin']"


def test_missing_pin_shows_what_to_type(states: dict[str, str], project: Path, elsewhere: Path) -> None:
    home, script = Home(), project / "src" / "app.py"
    hash = install(home, "u/q", file_node(home, "f", b""))
    script.write_text("from datapkg.data.u import q\nimport importlib; importlib.reload(q)\nprint(q.hash)\n")
    assert ran(script, cwd=project) == (hash, ""), "what was built here can have no pin"
    home.store.refs.set_current(Ref("u", "q"), Current(hash, "https://data.example.org"))
    for cwd, line in ((project, "datapkg add u/q"), (elsewhere, f"cd {project} && datapkg add u/q")):
        printed, errors = ran(script, cwd=cwd)
        assert printed == hash
        assert errors.count("is not pinned by") == 1
        assert f"to pin it: {line}\n" in errors
    script.write_text("from datapkg.data.u import absent\n")
    printed, errors = ran(script, cwd=project)
    assert f"u/absent is not installed, and {project / 'datapkg.lock'} does not pin it; type: datapkg add" in errors
