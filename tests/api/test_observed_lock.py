"""What a script was seen to use is pinned, in the states that it used, with the nodes that it read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.lock import install_locked
from datapkg.api.observed_lock import reduced
from datapkg.api.push import push_package
from datapkg.format.lockfile import Lock
from tests.conftest import Person


@pytest.fixture
def hashes(person: Person, tmp_path: Path) -> list[str]:
    """Push two versions of a package, of which the first is installed; return their hashes."""
    home, found = person.home("publisher"), []
    (tmp_path / "source").mkdir()
    for number in ("1", "2"):
        for name in ("a", "b"):
            (tmp_path / "source" / f"{name}.txt").write_text(number)
        build_package(home, person.ref("p"), tmp_path / "source")
        found.append(push_package(home, person.ref("p"), version=f"{number}.0").hash)
    (done,) = install_packages(person.home(), [person.ref("p@1.0")])
    assert done.error is None
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / ".git").mkdir()
    return folder


def lock(person: Person, *words: str | Path, cwd: Path, code: int = 0) -> dict[str, object]:
    """Run `datapkg lock --observed --json`, and return its answer, or its error."""
    command = [sys.executable, "-m", "datapkg", "lock", "--json", *words]
    environ = {**os.environ, **person.environ()}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    answer: dict[str, object] = json.loads(done.stdout or done.stderr[done.stderr.index('{"error"') :])
    return answer


def pins(project: Path) -> dict[str, tuple[str, str | None]]:
    found = Lock.parse((project / "datapkg.lock").read_bytes()).pins
    return {pin.requirement: (pin.hash, pin.version) for pin in found}


def test_script_is_pinned_with_its_nodes(person: Person, hashes: list[str], project: Path) -> None:
    script = project / "src" / "train.py"
    (project / "src" / "helper.py").write_text(f"from datapkg.data.{person.name} import p\n")
    script.write_text(
        "import os, sys, helper\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1:], __file__)\n"
        "    helper.p.a_txt.read_text()\n"
        "    if not os.fork():\n"
        "        helper.p['b.txt'].read_text()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    answer = lock(person, "--observed", "src/train.py", "--epochs", "3", "--json", cwd=project)
    assert answer["lock"] == str(project / "datapkg.lock")
    user = person.name
    assert (project / "datapkg.yml").read_text() == f"packages:\n- {user}/p/a.txt\n- {user}/p/b.txt\n"
    assert pins(project) == {f"{user}/p/{name}.txt": (hashes[0], "1.0") for name in "ab"}
    assert Lock.parse((project / "datapkg.lock").read_bytes()).pins[0].registry == person.url

    home = person.home("another")
    assert [each.error for each in install_locked(home, project, frozen=True)] == [None, None]
    assert home.store.holds(hashes[0])


CHILDREN = """\
import multiprocessing, subprocess, sys

def read(name):
    import datapkg
    datapkg.load("USER/p")[name].read_text()

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=read, args=("a.txt",))
    child.start()
    child.join()
    code = "from datapkg.data.USER import p; p.b_txt.read_text()"
    subprocess.run([sys.executable, "-c", code], check=True)
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    raise SystemExit(child.exitcode)
"""


def test_children_that_are_started_anew_are_seen(person: Person, hashes: list[str], project: Path) -> None:
    (project / "src" / "train.py").write_text(CHILDREN.replace("USER", person.name))
    lock(person, "--observed", "src/train.py", cwd=project)
    assert pins(project) == {f"{person.name}/p/{name}.txt": (hashes[0], "1.0") for name in "ab"}


def test_child_that_outlives_the_file_of_facts_reads_on(person: Person, hashes: list[str], tmp_path: Path) -> None:
    environ = {**os.environ, **person.environ(), "DATAPKG_OBSERVED": str(tmp_path / "gone")}
    code = f"from datapkg.data.{person.name} import p; print(p.a_txt.read_text())"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert not (tmp_path / "gone").exists()


def test_requirements_that_are_there_stay(person: Person, hashes: list[str], project: Path) -> None:
    script = project / "src" / "train.py"
    script.write_text(f"import datapkg\ndatapkg.load('{person.name}/p').a_txt.read_text()\n")
    text = f"# Ours.\npackages:\n- other/q@1.0 # not used\n- {person.name}/p@1.0\n"
    (project / "datapkg.yml").write_text(text)
    lock(person, "--observed", script, cwd=project.parent)
    assert (project / "datapkg.yml").read_text() == text
    assert pins(project) == {f"{person.name}/p@1.0": (hashes[0], "1.0")}
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/p@2.0]\n")
    (project / "datapkg.lock").unlink()
    error = lock(person, "--observed", script, cwd=project, code=4)["error"]
    assert isinstance(error, dict)
    assert error["hint"] == f"datapkg add {person.name}/p@sha256:{hashes[0]}"
    assert not (project / "datapkg.lock").exists()


def test_script_that_fails_pins_nothing(person: Person, hashes: list[str], project: Path) -> None:
    script = project / "src" / "train.py"
    script.write_text(f"import datapkg\ndatapkg.load('{person.name}/p')\nraise SystemExit(3)\n")
    assert "ended with exit code 3" in str(lock(person, "--observed", script, cwd=project, code=5))
    assert "absent.py" in str(lock(person, "--observed", "absent.py", cwd=project, code=3))
    assert "takes a script" in str(lock(person, "--observed", cwd=project, code=2))
    assert "takes a script" in str(lock(person, "train.py", cwd=project, code=2))
    assert not (project / "datapkg.yml").exists()


def test_seen_locks_in_python(
    person: Person, hashes: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environ().items():
        monkeypatch.setenv(name, value)
    install_packages(person.home(), [person.ref("p@2.0")])
    with datapkg.track() as seen:
        datapkg.load(f"{person.name}/p")
        datapkg.load(f"{person.name}/p@1.0").a_txt.read_text()
        datapkg.build(f"{person.name}/local", {"a": pd.DataFrame({"n": [1]})})
        datapkg.load(f"{person.name}/local")
    planned = seen.lock(project, dry_run=True)
    assert not (project / "datapkg.lock").exists()
    done = seen.lock(project)
    assert done.pins == planned.pins
    assert pins(project) == {f"{person.name}/p": (hashes[1], "2.0")}, "what the code does not name itself is pinned"
    assert [f"{person.name}/local was built here and never pushed" in each for each in done.warnings] == [True]


def test_many_nodes_become_their_groups() -> None:
    assert reduced([]) == [""]
    assert reduced(["b", "a/x"]) == ["a/x", "b"]
    assert reduced([*(f"raw/{number}.jpg" for number in range(30)), "t"]) == ["raw", "t"]
    assert reduced(f"{number}" for number in range(30)) == [""]
