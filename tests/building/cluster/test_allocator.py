"""A worker of Dask keeps memory while it reads a table, and gives it back afterwards."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

CODE = """
import json, os, resource
from datapkg.building.cluster.allocator import keeping_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bytearray(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = [faults()]
with keeping_memory(os.environ):
    with keeping_memory(os.environ):
        found.append(faults())
    found.append(faults())
print(json.dumps([*found, faults()]))
"""


def faults(**environ: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, **environ}, capture_output=True, text=True, check=True
    )
    found: list[int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc reads the variable")
def test_memory_is_kept_inside_the_block_alone() -> None:
    before, inside, still, after = faults(MALLOC_TRIM_THRESHOLD_="65536")
    assert 5 * inside < before
    assert 5 * still < before
    assert 5 * inside < after


@pytest.mark.parametrize("value", ["", "many"])
def test_without_a_number_nothing_changes(value: str) -> None:
    assert len(faults(MALLOC_TRIM_THRESHOLD_=value)) == 4
