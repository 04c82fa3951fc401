"""Run command lines in this process, with an empty home and, if a test asks for it, a live registry."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datapkg.cli.main import main
from tests.live_registry import LiveRegistry, live_registry

_numbers = itertools.count(1)


@dataclass
class Ended:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Return the `error` object of the one document on standard error."""
        return json.loads(self.err)["error"]


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `datapkg` with its arguments in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: str, stdin: str = "") -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capfd.readouterr()
        try:
            code = main(words)
        except SystemExit as exit:
            code = int(exit.code or 0)
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """Start one registry for all command tests; each test creates its own users."""
    with live_registry(tmp_path_factory.mktemp("registry")) as live:
        yield live


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """Write a folder with a small table, a README and a file."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "flowers.csv").write_text("petal,kind\n1.4,setosa\n4.7,versicolor\n")
    (folder / "README.md").write_text("# Flowers\n")
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    return folder


@dataclass
class Person:
    """A user with a home and a token who runs commands."""

    name: str
    run: Run
    environment: dict[str, str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: str, stdin: str = "") -> Ended:
        for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN", "DATAPKG_HOME"):
            self.monkeypatch.delenv(name, raising=False)
        for name, value in self.environment.items():
            self.monkeypatch.setenv(name, value)
        return self.run(*words, stdin=stdin)


@pytest.fixture
def ada(run: Run, registry: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Create a user with an account."""
    return person(run, registry, tmp_path, monkeypatch)


@pytest.fixture
def bob(run: Run, registry: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Create a second user with an account."""
    return person(run, registry, tmp_path, monkeypatch)


@pytest.fixture
def stranger(run: Run, registry: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Create a user without an account."""
    home = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_HOME": str(tmp_path / "stranger")}
    return Person("", run, home, monkeypatch)


def person(run: Run, registry: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    name = f"user{next(_numbers)}"
    token = registry.add_user(name)
    home = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": token, "DATAPKG_HOME": str(tmp_path / name)}
    return Person(name, run, home, monkeypatch)


@pytest.fixture
def flowers(ada: Person, iris: Path) -> str:
    """Push a package of ada's as version 1.0."""
    package = f"{ada.name}/flowers"
    assert ada("build", package, str(iris)).code == 0
    assert ada("push", package, "-m", "first", "-v", "1.0", "-t", "stable").code == 0
    return package


def changed(ada: Person, package: str, iris: Path) -> str:
    """Build and push a second state, and return its hash."""
    (iris / "flowers.csv").write_text("petal,kind\n9.9,setosa\n")
    hash: str = ada("build", package, str(iris), "--json").json["hash"]
    assert ada("push", package).code == 0
    return hash
