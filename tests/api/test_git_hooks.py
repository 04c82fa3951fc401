"""Hooks of git that install what a branch pins: hooks that were there keep what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.api.git_hooks import HOOKS, install_hooks
from datapkg.errors import Conflict, InvalidInput
from tests.journeys.test_branches import git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    folder = tmp_path / "repository"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "datapkg.yml").write_text("packages: []\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    return folder


def test_hooks_are_written_once(repository: Path) -> None:
    assert [each.change for each in install_hooks(repository)] == ["created", "created"]
    texts = [(repository / ".git" / "hooks" / name).read_text() for name in HOOKS]
    assert [each.change for each in install_hooks(repository)] == ["unchanged", "unchanged"]
    assert [each.change for each in install_hooks(repository / "sub dir")] == ["updated", "updated"]
    assert [each.change for each in install_hooks(repository)] == ["unchanged", "unchanged"]
    assert all(text.count(">>> datapkg") == 1 for text in texts)
    git(repository, "checkout", "-qb", "two")


def test_hook_that_is_there_keeps_what_it_does(repository: Path, tmp_path: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\necho ran >> '{tmp_path}/ran'\nexit 0\n")
    hook.chmod(0o755)
    assert [each.change for each in install_hooks(repository)] == ["updated", "created"]
    assert hook.read_text().endswith("exit 0\n")
    git(repository, "checkout", "-qb", "two")
    assert (tmp_path / "ran").read_text() == "ran\n"


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("#!/usr/bin/env python3\nprint()\n", 0o755, "not a shell script"),
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("\x7fELF", 0o755, "not a shell script"),
    ],
)
def test_hook_that_cannot_be_edited_is_left_alone(repository: Path, text: str, mode: int, problem: str) -> None:
    hook = repository / ".git" / "hooks" / "post-merge"
    hook.write_text(text)
    hook.chmod(mode)
    with pytest.raises(Conflict, match=problem):
        install_hooks(repository)
    assert hook.read_text() == text
    assert not (hook.parent / "post-checkout").exists()


def test_configured_folder_of_hooks_is_used(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "core.hooksPath", ".githooks")
    install_hooks(repository)
    text = (repository / ".githooks" / "post-checkout").read_text()
    assert str(tmp_path) not in text, "it may be committed"
    git(repository, "checkout", "-qb", "two")
    git(repository, "config", "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(Conflict, match="other repositories may share"):
        install_hooks(repository)
    assert not (tmp_path / "shared").exists()


def test_outside_a_repository_there_are_no_hooks(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not in a git repository"):
        install_hooks(tmp_path)
