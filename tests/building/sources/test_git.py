"""A build in an untrusted repository runs none of the commands that its settings name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from datapkg.building.record import git_state
from tests.building.builds import Bench

pytestmark = pytest.mark.needs("git")

HOSTILE = (
    "alias.diff-index",
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.fsmonitor",
    "core.gitProxy",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "diff.evil.command",
    "diff.evil.textconv",
    "diff.external",
    "filter.evil.clean",
    "filter.evil.process",
    "filter.evil.smudge",
    "gpg.program",
    "interactive.diffFilter",
    "merge.evil.driver",
    "pager.diff-index",
    "remote.origin.receivepack",
    "remote.origin.uploadpack",
    "sequence.editor",
    "ssh.program",
    "uploadpack.packObjectsHook",
)
# Each setting makes a fetch run a program; "{evil}" is a shell command.
REMOTES = {
    "ssh": "ssh://localhost/x",
    "scp": "localhost:x",
    "ext": "ext::{evil}",
    "file": "file:///",
    "path": "/",
    "proxy": "git://localhost/x",
}


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout.strip()


def planted(tmp_path: Path, remote: str, included: bool = False) -> tuple[Path, Path]:
    """Return a repository that would fetch a missing tree, and the file that a command in its settings creates."""
    folder, marker = tmp_path / "repository", tmp_path / "ran"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.txt").write_text("a")
    (folder / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    git(folder, "init", "--quiet", "--template=")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=m")
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    script.chmod(0o755)
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "pre-auto-gc"):
        (hooks / hook).write_text(script.read_text())
        (hooks / hook).chmod(0o755)
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "extensions.partialClone", "origin")
    file = ["--file", str(folder / ".git" / "more")] if included else []
    if included:
        git(folder, "config", "include.path", "more")
    values = {key: str(script) for key in HOSTILE} | {"core.hooksPath": str(hooks), "protocol.allow": "always"}
    values |= {f"protocol.{name}.allow": "always" for name in ("ext", "file", "git", "ssh")}
    values |= {"remote.origin.url": remote.format(evil=script), "remote.origin.promisor": "true"}
    for key, value in values.items():
        git(folder, "config", *file, key, value)
    return folder, marker


@pytest.mark.parametrize("kind", REMOTES)
def test_missing_tree_is_not_fetched(tmp_path: Path, kind: str) -> None:
    folder, marker = planted(tmp_path, REMOTES[kind], included=kind == "scp")
    commit = git(folder, "rev-parse", "HEAD")
    marker.unlink(missing_ok=True)
    (folder / "data" / "a.txt").write_text("b")
    (folder / ".git" / "index").unlink()
    assert git_state(folder) == {"commit": commit, "dirty": None}
    assert git_state(folder / "data") == {"commit": commit, "dirty": None}
    assert not marker.exists()
    git(
        folder,
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "diff-index",
        "--cached",
        "--name-only",
        "HEAD",
        check=False,
    )
    assert marker.exists(), "plain git runs the planted command"


def test_build_in_a_malicious_repository_runs_nothing(tmp_path: Path) -> None:
    folder, marker = planted(tmp_path, REMOTES["ssh"])
    marker.unlink(missing_ok=True)
    assert Bench().build(folder / "data").record["git"]["dirty"] is None
    assert not marker.exists()


def test_foreign_work_tree_and_nested_repository_run_nothing(tmp_path: Path) -> None:
    folder, marker = planted(tmp_path, REMOTES["ssh"])
    git(folder, "config", "core.worktree", str(tmp_path))
    marker.unlink(missing_ok=True)
    git_state(folder)
    git_state(folder / ".git")
    assert not marker.exists()
