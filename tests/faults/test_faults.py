"""Commands survive crashes, errors of the system and bad connections: a few trials of `make chaos`, by a fixed seed."""

from __future__ import annotations

import subprocess
import sys

from tests.examples import examples
from tests.live_registry import ROOT

SECONDS = examples(6, 20)


def test_commands_with_faults_by_chance() -> None:
    words = ["-m", "tests.faults.chaos", "--seconds", str(SECONDS), "--seed", "1"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
