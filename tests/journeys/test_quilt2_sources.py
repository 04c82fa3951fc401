"""Behaviour 29 of Quilt 2: building from a git repository, here served by git itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.building.sources.git_server import GitServer, commit, git, git_server
from tests.journeys.conftest import Machine

pytestmark = pytest.mark.needs("git")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    repository = tmp_path / "served" / "flowers"
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet")
    (repository / "petals.csv").write_text("a,b\n1,x\n")
    commit(repository)
    git(repository, "branch", "old")
    (repository / "petals.csv").write_text("a,b\n1,x\n2,y\n")
    commit(repository)
    with git_server(tmp_path / "served") as served:
        yield served


def test_029_repository_is_built(here: Machine, server: GitServer) -> None:
    new = here.ask("build", "me/flowers", f"{server.url}/flowers")
    assert here.ask("show", "me/flowers")["nodes"][0]["rows"] == 2
    old = here.ask("build", "me/flowers", f"{server.url}/flowers@old")
    assert here.ask("show", "me/flowers")["nodes"][0]["rows"] == 1
    assert new["hash"] != old["hash"]


def test_029_failed_clone_creates_no_package(here: Machine, server: GitServer) -> None:
    for address in (f"{server.url}/nothing", f"{server.url}/flowers@nothing", "http://127.0.0.1:9/flowers"):
        ended = here.run("build", "me/flowers", address)
        assert ended.code in (3, 8)
        assert "cannot be fetched" in ended.err
    assert here.ask("ls")["packages"] == []
