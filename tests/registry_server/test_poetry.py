"""The index of a registry as poetry uses it: the real poetry, against a registry in its own process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.registry_server.test_uv import Project, Published, block, project, published

__all__ = ["project", "published"]  # fixtures

pytestmark = [pytest.mark.big, pytest.mark.needs_library("poetry")]
PROJECT = '[project]\nname = "analysis"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = []\n\n'
POETRY = (sys.executable, "-m", "poetry", "--no-interaction")


def configured(project: Project) -> Project:
    """The project with the index as the page shows it, and poetry's files in folders of the test."""
    project.write(PROJECT + "[tool.poetry]\npackage-mode = false\n\n" + block("[[tool.poetry.source]]"))
    home = Path(project.environ["HOME"])
    return project.with_environ(
        POETRY_VIRTUALENVS_IN_PROJECT="1",
        POETRY_CONFIG_DIR=str(home / "config"),
        POETRY_CACHE_DIR=str(home / "poetry-cache"),
        POETRY_DATA_DIR=str(home / "data"),
        PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring",
    )


def test_poetry_adds_upgrades_and_removes_a_package(project: Project, published: Published) -> None:
    project, states, name = configured(project), published.states, published.name("iris")
    project.run(*POETRY, "add", "--source", "data", f"{name}==1.2.0")
    project.see_client()
    assert project.pins == {"iris": states["iris 1.2.0"]}
    assert project.imported("iris") == f"{states['iris 1.2.0']} 0"
    lock = (project.folder / "poetry.lock").read_text()
    assert 'hash = "sha256:' in lock
    assert f'url = "{published.url}/simple"' in lock
    project.run(*POETRY, "add", "--source", "data", f"{name}==1.4.0", published.name("wine"))
    assert project.pins == {"iris": states["iris 1.4.0"], "wine": states["wine 1.0"]}
    assert project.imported("iris") == f"{states['iris 1.4.0']} 1"
    project.run(*POETRY, "remove", name, published.name("wine"))
    assert set(project.files) <= {"datapkg/data"}  # poetry leaves an empty folder


def test_poetry_reads_private_packages_with_a_token(project: Project, published: Published) -> None:
    project, name = configured(project), published.name("secret")
    assert "Could not find" in project.run(*POETRY, "add", "--source", "data", name, fails=True)
    given = project.with_environ(
        POETRY_HTTP_BASIC_DATA_USERNAME="__token__", POETRY_HTTP_BASIC_DATA_PASSWORD=published.token
    )
    given.run(*POETRY, "add", "--source", "data", name)
    assert project.pins == {"secret": published.states["secret 1.0"]}
    assert published.token not in (project.folder / "poetry.lock").read_text()
    netrc = Path(project.environ["HOME"]) / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {published.token}\n")
    project.run(*POETRY, "cache", "clear", "--all", ".")
    project.run(*POETRY, "lock", "--regenerate")
    project.run(*POETRY, "sync")
    assert project.pins == {"secret": published.states["secret 1.0"]}
