"""Every command ends with a clear error where the disk, rights or limits fail it, and works on read-only media."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from registry_server.__main__ import cli as operators
from tests.cli.test_main import ALL, commands
from tests.examples import examples
from tests.faults.commands import ELSEWHERE, FAULTS, LINES, MOUNTS
from tests.faults.surroundings import can_mount
from tests.live_registry import ROOT

SOME = examples(12, 48)


def tried(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.commands", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_has_a_line() -> None:
    own = {" ".join(words): command for words, command in ALL.items()}
    own |= {" ".join(("registry", *words)): command for words, command in commands(operators)}
    assert {name for name, each in own.items() if not isinstance(each, click.Group)} == {*LINES, *ELSEWHERE}


def test_some_commands_with_faults_by_chance() -> None:
    tried("--seed", "1", "--trials", str(SOME))


@pytest.mark.big
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", [*FAULTS, *MOUNTS])
def test_all_commands_with_a_fault(fault: str, tmp_path: Path) -> None:
    if fault in MOUNTS and not can_mount(tmp_path):
        pytest.skip("no file system can be mounted here")
    tried("--only", fault)
