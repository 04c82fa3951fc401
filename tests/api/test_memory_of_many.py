"""Commands on very many files, and their registry, need little memory for each: a bar in bytes a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode
from datapkg.format.manifest.patch import make_long
from datapkg.format.names import Ref
from datapkg.format.object_sizes import MANY
from datapkg.store.refs import Current, LogEvent
from tests.conftest import Person
from tests.live_registry import LiveRegistry, live_registry
from tests.registry_server.test_live import peak_mib

pytestmark = [pytest.mark.big, pytest.mark.timeout(1800)]

FEW, MORE = MANY + 5_000, 100_000
BARS = {
    "build": 1_300,
    "verify": 180,
    "gc": 240,
    "du": 240,
    "show": 100,
    "push": 400,
    "push again": 60,
    "install": 200,
    "registry": 360,
}
"""Bytes a file, of which buffers that do not grow any more take a part. A manifest in memory would add 160, a second
plan of objects 52, a dict of hashes 240."""
# Not by `os.wait4`, whose peak is at least that of the process that started the command.
COMMAND = """
from datapkg.__main__ import main
try:
    main()
finally:
    words = open("/proc/self/status").read().split()
    print(words[words.index("VmHWM:") + 1])
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LiveRegistry]:
    with live_registry(tmp_path) as live:
        yield live


def make(person: Person, ref: Ref, count: int) -> None:
    """Make a package of so many files, as a build would leave it."""
    home = person.home(f"of {count}")
    home.store.prepare()
    bodies = (b"%d of %d" % (number, count) for number in range(count))
    hashes = home.store.objects.put_many(bodies)
    manifest = make_long(
        (
            FileNode(path=f"g{at // 1000:04}/{at:07}.txt", hash=hash, size=len(b"%d of %d" % (at, count)))
            for at, hash in enumerate(hashes)
        ),
        {},
    )
    assert manifest.hash == hash_bytes(manifest.data)
    home.store.save(manifest)
    home.store.refs.append_log(ref, LogEvent("build", manifest.hash, "2026-01-01T00:00:00+00:00"))
    home.store.refs.set_current(ref, Current(manifest.hash, "local", bytes_logical=manifest.size()))


def write_files(folder: Path, count: int) -> Path:
    """Write so many files, some thousand in each folder."""
    for number in range(count):
        path = folder / f"{number // 1000}/{number}.txt"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d of %d" % (number, count))
    return folder


def peak(person: Person, machine: str, *words: str) -> int:
    """Run a command in a process of its own, and return its peak of memory in bytes."""
    environ = {**os.environ, **person.environ(machine), "DATAPKG_TIMEOUT_S": "300"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words, "-q"], env=environ, stdout=PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-1]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to tell the peak")
def test_memory_grows_little_with_the_files(registry: LiveRegistry, tmp_path: Path) -> None:
    person = Person("ada", registry.add_user("ada"), registry.url, tmp_path / "ada")
    peaks: list[dict[str, int]] = []
    for count in (FEW, FEW + MORE):
        ref = person.ref(f"many{count}")
        make(person, ref, count)
        sources = write_files(tmp_path / f"sources {count}", count)
        found = {
            "build": peak(person, f"builds {count}", "build", "me/files", str(sources)),
            "verify": peak(person, f"of {count}", "verify", ref.package),
            "gc": peak(person, f"of {count}", "gc", "--dry-run"),
            "du": peak(person, f"of {count}", "cache", "du"),
            # It makes the index of the manifest.
            "show": peak(person, f"of {count}", "show", ref.package),
            "push": peak(person, f"of {count}", "push", ref.package),
            "push again": peak(person, f"of {count}", "push", ref.package),
            "install": peak(person, f"for {count}", "install", ref.package),
        }
        peaks.append({**found, "registry": peak_mib(registry) << 20})
    grown = {name: (peaks[1][name] - peaks[0][name]) / MORE for name in BARS}
    assert all(grown[name] < bar for name, bar in BARS.items()), grown
