"""Helpers for journeys: source files written inline, machines with their own homes, and fresh processes."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import datapkg
from datapkg.cli.main import main
from datapkg.home import Home
from tests.conftest import Person
from tests.fresh_process import FreshProcess
from tests.live_registry import ROOT

Files = Mapping[str, str | bytes]
TIMEOUT_S = 100


def write(folder: Path, files: Files) -> Path:
    """Write files into a folder, creating it if needed, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one document on standard output."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Return the `error` object of the one document on standard error."""
        assert self.code, self.out
        return json.loads(self.err)["error"]


@dataclass(frozen=True)
class Machine:
    """A user at a machine: a home, settings, and a working folder."""

    environ: dict[str, str]
    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.environ)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Make this process use the settings and the folder of the machine."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with mock.patch.dict(os.environ, self.environ), contextlib.chdir(self.folder):
            yield

    def run(self, *words: str) -> Ended:
        """Run `datapkg` with these arguments in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with self.here(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Ended(code, *texts)

    def ask(self, *words: str) -> Any:
        """Return the JSON output of a command that must succeed."""
        return self.run(*words, "--json").json

    def fail(self, *words: str) -> Any:
        """Return the JSON error of a command that must fail."""
        return self.run(*words, "--json").error

    def start(self, *words: str) -> FreshProcess:
        """Start a separate process: `python` with these arguments, its output piped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FreshProcess([*words], cwd=self.folder, env=self.process_environ)

    def python(self, code: str) -> str:
        """Return what a fresh Python process prints that runs this code."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=self.process_environ, cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def process_environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
        return kept | self.environ | {"PYTHONPATH": str(ROOT)}


def at(person: Person, machine: str = "own", url: str | None = None) -> Machine:
    """Return a person's machine of this name; `url` is another route to the registry."""
    return Machine(person.environ(machine, url), person.folder / f"{machine}-work")


@pytest.fixture
def here(own_home: Path, tmp_path: Path) -> Machine:
    """Return a machine without a registry: the home of this process."""
    return Machine({"DATAPKG_HOME": str(own_home)}, tmp_path / "work")


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[[Files], Path]:
    """Return a function that writes files into a new folder on each call."""
    numbers = itertools.count()
    return lambda files: write(tmp_path / f"source{next(numbers)}", files)


Build = Callable[..., Any]


@pytest.fixture
def build(new_folder: Callable[[Files], Path]) -> Build:
    """Return a function that builds files, as me/p by default, with their build.yml if there is one."""

    def build(files: Files, package: str = "me/p", **options: Any) -> Any:
        return datapkg.build(package, new_folder(files), **options)

    return build


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    """Make every test import packages anew, as a fresh process would."""
    yield
    for name in [name for name in sys.modules if name.startswith("datapkg.data")]:
        del sys.modules[name]


Publish = Callable[..., str]


@pytest.fixture
def publish(new_folder: Callable[[Files], Path]) -> Publish:
    """Return a function that builds and pushes files as a person's package and returns its hash."""

    def publish(person: Person, name: str, files: Files, *options: str) -> str:
        machine, package = at(person), f"{person.name}/{name}"
        built = machine.ask("build", package, str(new_folder(files)))
        pushed = machine.ask("push", package, *options)
        assert pushed["hash"] == built["hash"]
        hash: str = pushed["hash"]
        return hash

    return publish


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry failed requests without waiting."""
    monkeypatch.setattr("datapkg.remote.session.pause_s", lambda number, retry_after: 0.0)
