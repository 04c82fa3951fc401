"""Files of a git repository as sources of nodes: `url: git+https://…` with `extract`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.status import statuses
from datapkg.building.spec.options import BuildOptions
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import BuildFailed, IntegrityError, InvalidBuildFile, NotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.building.builds import write
from tests.building.sources.git_server import GitServer, commit, git, git_server

pytestmark = pytest.mark.needs("git")
REF = Ref("me", "data")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    folder = tmp_path / "served" / "r"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    write(folder, {"data/a.csv": "n\n1\n", "data/deep/b.csv": "n\n2\n", "run.sh": "#!/bin/sh\n", "日本.txt": "x"})
    (folder / "run.sh").chmod(0o755)
    (folder / "link.csv").symlink_to("data/a.csv")
    commit(folder)
    with git_server(tmp_path / "served") as served:
        yield served


def write_build_file(folder: Path, server: GitServer, address: str = "r@main", extract: str = "data/a.csv") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "build.yml"
    path.write_text(f'contents:\n  a:\n    url: git+{server.url}/{address}\n    extract: "{extract}"\n')
    return path


def build(path: Path, machine: str = "one", **options: bool) -> str:
    home = Home({**os.environ, "DATAPKG_HOME": str(path.parent / machine)})
    return build_package(home, REF, path, BuildOptions(**options)).hash


def test_a_file_is_pinned_by_the_hash_of_the_revision(server: GitServer, tmp_path: Path) -> None:
    path = write_build_file(tmp_path / "work", server)
    with pytest.raises(InvalidBuildFile, match="--update"):
        build(path)
    first = build(path, update=True)
    assert "\n    sha256: " in path.read_text()
    seen = len(server.seen)
    assert build(path) == first
    assert len(server.seen) == seen, "what is here is not fetched again"
    assert build(path, "two") == first, "another machine gets the same bytes"
    write(server.folder / "r", {"data/a.csv": "n\n7\n"})
    commit(server.folder / "r")
    with pytest.raises(IntegrityError, match=r"/r@main has changed: expected"):
        build(path, "three")
    assert build(path, update=True) != first


def test_a_glob_of_a_folder_at_a_tag(server: GitServer, tmp_path: Path) -> None:
    git(server.folder / "r", "tag", "v1")
    write(server.folder / "r", {"data/c.csv": "n\n3\n"})
    commit(server.folder / "r")
    path = write_build_file(tmp_path / "work", server, "r@v1#data", "**/*.csv")
    build_package(Home(), REF, path, BuildOptions(update=True))
    package = datapkg.load("me/data")
    assert {node: package[node]()["n"].tolist() for node in ("a/a", "a/deep/b")} == {"a/a": [1], "a/deep/b": [2]}
    assert list(package.a) == ["a", "deep"]


def test_status_compares_commits(server: GitServer, tmp_path: Path) -> None:
    path = write_build_file(tmp_path / "work", server)
    build_package(Home(), REF, path, BuildOptions(update=True))

    def state() -> tuple[str, str]:
        (found,) = statuses(Home(), REF, path, upstream=True)
        (source,) = found.upstream or ()
        return source.state, source.why

    assert state()[0] == "unchanged"
    write(server.folder / "r", {"more.txt": "x"})
    new = commit(server.folder / "r")
    assert state() == ("changed", f"commit {state()[1].split()[1]} → {new[:12]}")
    server.status = 404
    assert state()[0] == "unknown"


@pytest.mark.parametrize(
    ("address", "extract", "kind"),
    [
        ("r@main", "data/z.csv", BuildFailed),
        ("r@main", "link.csv", BuildFailed),
        ("r@main", ".git/config", BuildFailed),
        ("r@nowhere", "data/a.csv", NotFound),
        ("other@main", "data/a.csv", NotFound),
        ("r@main#nothing", "a.csv", NotFound),
    ],
)
def test_what_is_not_there(server: GitServer, tmp_path: Path, address: str, extract: str, kind: type) -> None:
    path = write_build_file(tmp_path / "work", server, address, extract)
    before = path.read_text()
    with pytest.raises(kind, match=r"build\.yml:2: contents\.a"):
        build(path, update=True)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("git+ftp://x.example/r.git", "fetched by https or ssh"),
        ("git+http://x.example/r.git", "plain http, which others may change"),
        ("git+git@x.example:r.git", "this is not the address of a repository"),
        ("git+https://u:p@x.example/r.git", "has no password in it"),
        ("git+https://x.example/r.git@../x", "is not a branch, tag or commit"),
        ("git+file:///etc", "fetched by https or ssh"),
    ],
)
def test_addresses_that_are_refused(tmp_path: Path, address: str, problem: str) -> None:
    (tmp_path / "build.yml").write_text(f"contents:\n  a: {{url: '{address}', extract: a.csv}}\n")
    with pytest.raises(InvalidBuildFile, match=problem) as found:
        read_build_file(tmp_path / "build.yml", update=True)
    assert len(found.value.problems) == 1


def test_a_repository_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "build.yml").write_text("contents:\n  a: {url: 'git+https://x.example/r.git'}\n")
    with pytest.raises(InvalidBuildFile, match="a repository has many files; name one"):
        read_build_file(tmp_path / "build.yml", update=True)
