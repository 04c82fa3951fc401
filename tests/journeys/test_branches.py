"""Data follows the branch: folders of a project have what its lock pins, also after git switched or merged branches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.checkout import checkout_folders
from datapkg.api.lock import install_locked
from datapkg.api.push import push_package
from datapkg.errors import Conflict, InvalidLock
from datapkg.format.checkout import parse_checkout
from datapkg.home import Home
from tests.conftest import Person

FILES = {
    "1.0": {"same.txt": "same", "changed.txt": "one", "gone.txt": "gone"},
    "2.0": {"same.txt": "same", "changed.txt": "two", "new.txt": "new"},
}


def git(folder: Path, *words: str, **environ: str) -> str:
    """Run git and return what it and its hooks printed; raise if it failed."""
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@example.org"}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={"PATH": programs, "HOME": str(folder), **identity, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files(folder: Path) -> dict[str, str]:
    return {str(each.relative_to(folder)): each.read_text() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def versions(person: Person, tmp_path: Path) -> dict[str, str]:
    """Push a package in two versions, and return their hashes."""
    home, hashes = person.home("publisher"), {}
    for version, contents in FILES.items():
        folder = tmp_path / "source" / version / "raw"
        folder.mkdir(parents=True)
        for name, text in contents.items():
            (folder / name).write_text(text)
        build_package(home, person.ref("p"), folder.parent)
        hashes[version] = push_package(home, person.ref("p"), version=version).hash
    return hashes


@pytest.fixture
def project(person: Person, versions: dict[str, str], tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("/data/\n")
    require(folder, person, "1.0")
    return folder


def require(folder: Path, person: Person, version: str) -> None:
    text = f"packages: [{person.name}/p@{version}]\ncheckout: {{data/raw: {person.name}/p/raw}}\n"
    (folder / "datapkg.yml").write_text(text)


@pytest.fixture
def install(person: Person, project: Path) -> Callable[[], list[str]]:
    """Install the project, and return the errors of its checkout folders."""
    home = person.home()

    def run() -> list[str]:
        assert not [each.error for each in install_locked(home, project) if each.error]
        return [str(each.error) for each in checkout_folders(home, project) if each.error]

    return run


def test_folder_follows_the_lock(person: Person, project: Path, install: Callable[[], list[str]]) -> None:
    raw = project / "data" / "raw"
    for version in ("1.0", "2.0", "1.0"):
        require(project, person, version)
        assert install() == []
        assert files(raw) == FILES[version]
    inode = (raw / "changed.txt").stat().st_ino
    (done,) = checkout_folders(person.home(), project)
    assert (done.written, done.unchanged, done.removed) == (0, 3, 0)
    assert (raw / "changed.txt").stat().st_ino == inode


def test_edits_are_never_overwritten(person: Person, project: Path, install: Callable[[], list[str]]) -> None:
    raw = project / "data" / "raw"
    install()
    (raw / "same.txt").write_text("SAME")
    (raw / "own.txt").write_text("own")
    require(project, person, "2.0")
    assert install() == [], "nothing that was edited changes"
    assert files(raw) == {**FILES["2.0"], "same.txt": "SAME", "own.txt": "own"}
    assert install() == []
    assert files(raw)["same.txt"] == "SAME", "an edit that was kept is still one"

    (raw / "changed.txt").write_text("edited")
    before = files(raw)
    require(project, person, "1.0")
    (error,) = install()
    assert "changed.txt" in error
    assert files(raw) == before, "nothing is lost or half done"
    (done,) = checkout_folders(person.home(), project)
    assert done.error is not None
    assert done.error.hint.startswith("datapkg export --force ")
    command = [sys.executable, "-m", *done.error.hint.split()]
    subprocess.run(command, env={**os.environ, **person.environ()}, cwd=project, check=True)
    assert files(raw) == {**FILES["1.0"], "own.txt": "own"}
    assert install() == []


def test_git_switches_the_data(person: Person, project: Path, versions: dict[str, str]) -> None:
    environ, raw = person.environ(), project / "data" / "raw"

    def datapkg(*words: str) -> str:
        command = [sys.executable, "-m", "datapkg", *words]
        return subprocess.run(
            command, cwd=project, env={**os.environ, **environ}, capture_output=True, text=True, check=True
        ).stdout

    datapkg("init", "--git-hooks")
    datapkg("lock")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "one")
    assert "data/raw is" in datapkg("install")
    git(project, "checkout", "-qb", "two", **environ)
    require(project, person, "2.0")
    datapkg("lock")
    git(project, "commit", "-qam", "two")

    git(project, "checkout", "-q", "main", **environ)
    assert files(raw) == FILES["1.0"]
    git(project, "checkout", "-q", "two", **environ)
    assert files(raw) == FILES["2.0"]

    (raw / "changed.txt").write_text("edited")
    printed = git(project, "checkout", "-q", "main", **environ)
    assert "changed.txt" in printed
    assert "datapkg export --force" in printed
    assert files(raw) == {**FILES["2.0"], "changed.txt": "edited"}, "the folder stays as it was"
    (raw / "changed.txt").write_text("two")
    git(project, "merge", "-q", "two", **environ)
    assert files(raw) == FILES["2.0"]
    git(project, "checkout", "-q", "HEAD~1", **{**environ, "DATAPKG_REGISTRY": "http://127.0.0.1:9"})
    assert git(project, "log", "--format=%s", "-1") == "one\n", "a registry that is down does not stop git"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{.git/hooks: u/p}", "begin with a dot"),
        ("{../out: u/p}", "begin with a dot"),
        ("{/etc: u/p}", "a folder below this file"),
        ("{'': u/p}", "a folder below this file"),
        ("{a: u/p, a/b: u/q}", "one inside the other"),
        ("{a: u/p@1.0}", "the lock decides the state"),
        ("{a: {ref: u/p, link: soft}}", "reflink"),
        ("{a: [u/p]}", "a reference such as"),
        ("[a]", "expected folders"),
    ],
)
def test_folders_that_are_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidLock, match=problem):
        parse_checkout(f"packages: [u/p]\ncheckout: {text}\n".encode())


def test_links_out_of_the_project_are_not_followed(
    person: Person, project: Path, install: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (project / "data").symlink_to(tmp_path / "out")
    (error,) = install()
    assert "symbolic link" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_folder_that_was_there_is_kept(
    person: Person, project: Path, install: Callable[[], list[str]], versions: dict[str, str]
) -> None:
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    assert install() == [], "an empty folder is free"
    (project / "datapkg.yml").write_text(
        f"packages: [{person.name}/p@1.0]\ncheckout: {{mine: {person.name}/p/raw, no: u/absent}}\n"
    )
    (project / "mine").mkdir()
    (project / "mine" / "own.txt").write_text("own")
    errors = install()
    assert ["exists" in errors[0], "is not locked" in errors[1]] == [True] * 2
    assert files(project / "mine") == {"own.txt": "own"}
    assert Home(person.environ()).store.holds(versions["1.0"])


def test_python_updates_the_folders(
    person: Person, project: Path, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project)
    raw = project / "data" / "raw"
    datapkg.install()
    assert files(raw) == FILES["1.0"]
    (raw / "changed.txt").write_text("edited")
    require(project, person, "2.0")
    with pytest.raises(Conflict, match=r"changed\.txt"):
        datapkg.install()
    assert files(raw) == {**FILES["1.0"], "changed.txt": "edited"}


@pytest.mark.parametrize("link", ["copy", "symlink"])
def test_one_file_follows_the_lock(person: Person, project: Path, install: Callable[[], list[str]], link: str) -> None:
    def pinned(version: str) -> None:
        ref = f"{person.name}/p/raw/changed.txt"
        checkout = f"checkout: {{data/one.txt: {{ref: {ref}, link: {link}}}}}\n"
        (project / "datapkg.yml").write_text(f"packages: [{person.name}/p@{version}]\n{checkout}")

    one = project / "data" / "one.txt"
    for version, text in (("1.0", "one"), ("2.0", "two"), ("1.0", "one")):
        pinned(version)
        assert install() == []
        assert one.read_text() == text
        (again,) = checkout_folders(person.home(), project)
        assert (again.written, again.unchanged) == (0, 1)
    one.unlink()
    one.write_text("edited")
    assert install() == [], "the pinned state has it as before"
    assert one.read_text() == "edited"
    (planned,) = checkout_folders(person.home(), project, dry_run=True)
    assert (planned.edited, planned.error) == (["one.txt"], None)
    pinned("2.0")
    assert "was edited" in install()[0]
    assert one.read_text() == "edited"
    (done,) = checkout_folders(person.home(), project)
    assert done.error is not None
    command = [sys.executable, "-m", *done.error.hint.split()]
    subprocess.run(command, env={**os.environ, **person.environ()}, cwd=project, check=True)
    assert one.read_text() == "two"
    assert install() == []
    pinned("1.0")
    assert install() == [], "what the hint wrote counts as written by an install"
    assert one.read_text() == "one"


def test_file_that_nobody_wrote_is_kept(person: Person, project: Path, install: Callable[[], list[str]]) -> None:
    (project / "data").mkdir()
    (project / "data" / "file").write_text("mine")
    (project / "data" / "folder").mkdir()
    (project / "data" / "folder" / "own").write_text("own")
    ref = f"{person.name}/p/raw/same.txt"
    checkout = f"checkout: {{data/file: {ref}, data/folder: {ref}}}\n"
    (project / "datapkg.yml").write_text(f"packages: [{person.name}/p@1.0]\n{checkout}")
    before = files(project / "data")
    errors = install()
    assert ["edited or made" in errors[0], "is a folder" in errors[1]] == [True] * 2
    planned = checkout_folders(person.home(), project, dry_run=True)
    assert [isinstance(each.error, Conflict) for each in planned] == [True] * 2
    assert files(project / "data") == before


def test_dry_run_names_folders_and_edits(person: Person, project: Path, install: Callable[[], list[str]]) -> None:
    assert install() == []
    raw = project / "data" / "raw"
    (raw / "same.txt").write_text("SAME")
    command = [sys.executable, "-m", "datapkg", "install", "--dry-run"]
    environ = {**os.environ, **person.environ()}
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "would update data/raw to" in done.stdout, "'same.txt'" in done.stdout) == (0, True, True)
    assert (raw / "same.txt").read_text() == "SAME"
