"""Messages if datapkg may not write its own folder; the denial is mocked, since root is never denied."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

import datapkg
from datapkg.errors import Refused
from tests.cli.conftest import Run


@pytest.fixture(params=[errno.EACCES, errno.EROFS])
def read_only(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a home in which the system denies creating folders."""
    home = tmp_path / "home"
    monkeypatch.setenv("DATAPKG_HOME", str(home))
    mkdir = os.mkdir

    def refuse(path: Any, *args: Any, **options: Any) -> None:
        if Path(path).is_relative_to(home):
            raise OSError(request.param, os.strerror(request.param), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    return home


@pytest.mark.parametrize("words", [("build", "me/x", "{iris}"), ("config", "registry", "https://a.example.org")])
def test_command_names_the_variable(run: Run, read_only: Path, iris: Path, words: tuple[str, ...]) -> None:
    ended = run(*(word.format(iris=iris) for word in words))
    assert ended.code == 7
    assert f"datapkg cannot write {read_only}" in ended.err
    assert "hint: export DATAPKG_HOME=" in ended.err


@pytest.mark.usefixtures("read_only")
def test_python_names_the_variable(iris: Path) -> None:
    with pytest.raises(Refused, match="datapkg cannot write") as caught:
        datapkg.build("me/x", iris)
    assert "DATAPKG_HOME" in caught.value.hint


def test_store_that_became_read_only(run: Run, iris: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("build", "me/x", str(iris)).code == 0
    opened = os.open

    def refuse(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(own_home)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    (iris / "new.txt").write_text("new")
    ended = run("build", "me/x", str(iris))
    assert (ended.code, "hint: export DATAPKG_HOME=" in ended.err) == (7, True)


def test_home_that_is_a_file(run: Run, iris: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "file"))
    ended = run("build", "me/x", str(iris))
    assert (ended.code, "which is not a folder" in ended.err, "DATAPKG_HOME" in ended.err) == (2, True, True)
