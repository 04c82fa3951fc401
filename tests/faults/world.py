"""What a trial begins with: homes, a registry and source folders, made once and copied for each trial."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import forked
from tests.faults.forked import Ended

ME = "me"
P, Q, S = f"{ME}/p", f"{ME}/q", f"{ME}/s"
PIPELINE = """\
contents:
  twice: {stage: twice, transform: id}
  parts: {stage: parts, transform: id}
stages:
  twice: {shell: true, run: "cat {a} {a} > {out}", inputs: {a: words.bin}, outputs: {out: twice.bin}}
  parts: {shell: true, run: "split -b 500000 {a} {out}/", inputs: {a: stages.twice}, outputs: {out: parts/}}
"""
ROWS = 40_000
BIG_BYTES = 1_500_000
EDIT_BYTES = 2_000
VERSIONS = (1, 2, 3)


def write_sources(folder: Path, version: int) -> None:
    """Write a version: a table and a file long enough for chunk maps, small files, and some that never change."""
    folder.mkdir(parents=True)
    chance = random.Random(7)
    numbers = [chance.randrange(1 << 40) for _ in range(ROWS)]
    big = bytearray(chance.randbytes(BIG_BYTES))
    for edit in range(1, version):
        numbers[edit * 1000] = edit
        big[edit * 300_000 : edit * 300_000 + EDIT_BYTES] = random.Random(edit).randbytes(EDIT_BYTES)
    rows = "".join(f"{row},{number},x{number % 97}\n" for row, number in enumerate(numbers))
    (folder / "t.csv").write_text(f"row,number,word\n{rows}")
    (folder / "big.bin").write_bytes(big)
    for number in range(8):
        (folder / f"small{number}.bin").write_bytes(f"{number} {version if number < 3 else 0}".encode() * 50)
    (folder / "README.md").write_text(f"# Version {version}\n")


@dataclass
class World:
    """A folder with `template`, which has every home, and `now`, a copy of it that one trial uses.

    The machines: `maker` built version 1, pushed it, and built 2; `user` installed 1; `fresh` has nothing; `thin`
    has the manifest of 2 alone; `hoard` built all three, and so did `frugal`, which freed space since. The registries:
    `old` has version 1, `new` has 2 as well, and of `swept` a package was deleted since. `cook` built and pushed
    another package, to which the folder `pipeline` with stages belongs, and ran none of these.
    """

    folder: Path
    port: int = 0
    token: str = ""
    hashes: dict[int, str] = field(default_factory=dict)

    @property
    def now(self) -> Path:
        """The folder of the trial."""
        return self.folder / "now"

    @property
    def url(self) -> str:
        """The address of the registry, or of what is before it."""
        return f"http://127.0.0.1:{self.port}"

    def sources(self, version: int) -> str:
        """Return the folder of a version."""
        return str(self.folder / f"sources{version}")

    def environ(self, machine: str) -> dict[str, str]:
        """Return the settings of a machine."""
        return {
            "DATAPKG_HOME": str(self.now / machine),
            "DATAPKG_REGISTRY": self.url,
            "DATAPKG_TOKEN": self.token,
            "DATAPKG_TIMEOUT_S": "5",
        }

    def ask(self, machine: str, *words: str) -> Any:
        """Return the JSON output of a command that must succeed."""
        ended = forked.command([*words, "--json"], self.environ(machine)).wait()
        if ended.code:
            raise AssertionError(f"{' '.join(words)} → {ended.code}: {ended.err}")
        return ended.json

    def restore(self) -> None:
        """Make `now` as it was at the beginning."""
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.folder / "template", self.now, symlinks=True)

    def make(self) -> None:
        """Make all machines and registries."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for version in VERSIONS:
            write_sources(Path(self.sources(version)), version)
            self.hashes[version] = self.ask("clean", "build", P, self.sources(version))["hash"]
        shutil.rmtree(self.now / "clean")
        registry = self.now / "old"
        with forked.serving(registry, self.port):
            self.token = forked.operate(["user", "add", ME, "--data", str(registry), "--quiet"]).wait().out.strip()
            for package in (P, Q):
                self.ask("maker", "build", package, self.sources(1))
                self.ask("maker", "push", package)
            self.ask("user", "install", P)
            self.ask("maker", "build", P, self.sources(2))
            self.ask("cook", "build", S, str(Path(self.sources(1)) / "small0.bin"))
            self.ask("cook", "push", S)
        (self.now / "pipeline").mkdir()
        (self.now / "pipeline" / "words.bin").write_bytes(random.Random(9).randbytes(BIG_BYTES // 2))
        (self.now / "pipeline" / "build.yml").write_text(PIPELINE)
        shutil.copytree(self.now / "maker", self.folder / "maker")
        shutil.copytree(registry, self.now / "new", symlinks=True)
        with forked.serving(self.now / "new", self.port):
            self.ask("maker", "push", P)
            self.ask("thin", "install", P, "--meta-only")
        shutil.copytree(self.now / "new", self.now / "swept", symlinks=True)
        with forked.serving(self.now / "swept", self.port):
            self.ask("user", "build", f"{ME}/x", str(Path(self.sources(3)) / "small0.bin"))
            self.ask("user", "push", f"{ME}/x")
            self.ask("user", "delete", f"{ME}/x", "--yes")
            self.ask("user", "rm", f"{ME}/x")
        for machine in ("hoard", "frugal"):
            for version in VERSIONS:
                self.ask(machine, "build", P, self.sources(version))
        self.ask("frugal", "gc", "--now", "--yes")
        shutil.rmtree(self.now / "maker")
        shutil.move(self.folder / "maker", self.now / "maker")
        (self.now / "fresh").mkdir()
        shutil.move(self.now, self.folder / "template")


def report(ended: Ended) -> tuple[str, str]:
    """Return the code and the message of the error that a command printed as JSON; raise `AssertionError` for other."""
    try:
        error = json.loads(ended.err.strip().splitlines()[-1])["error"]
    except (ValueError, LookupError, TypeError):
        raise AssertionError(f"exit code {ended.code} with no error: {ended.err[-2000:] or ended.out}") from None
    return error["code"], error["message"]


@contextlib.contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    """Inside, these variables are set."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
