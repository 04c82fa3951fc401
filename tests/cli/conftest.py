"""Runs command lines in this process, against an empty home and, where a test asks for one, a live registry."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datapkg.cli.main import main
from tests.live_registry import LiveRegistry, live_registry


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The inside of the one document on standard error."""
        return json.loads(self.err)["error"]


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `datapkg` with these words in an empty folder."""
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
    """One registry for all tests of the commands; each makes users of its own."""
    with live_registry(tmp_path_factory.mktemp("registry")) as live:
        yield live


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """A folder with a small table, a README and a file."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "flowers.csv").write_text("petal,kind\n1.4,setosa\n4.7,versicolor\n")
    (folder / "README.md").write_text("# Flowers\n")
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    return folder
