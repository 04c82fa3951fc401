"""Commands survive crashes, errors of the system and bad connections: a few trials of `make chaos`, by a fixed seed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples import examples
from tests.live_registry import ROOT

SECONDS, COMMANDS = examples(4, 20), examples(24, 80)


def tried(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_with_faults_by_chance() -> None:
    tried("tests.faults.chaos", "--seconds", str(SECONDS), "--seed", "1")


def test_many_writers_with_kills_by_chance() -> None:
    tried("tests.faults.writers", "--rounds", "1", "--commands", str(COMMANDS), "--seed", "1")


@pytest.mark.big
def test_many_writers_with_kills_for_longer() -> None:
    tried("tests.faults.writers", "--rounds", "5", "--seed", "2")
