"""Let many processes write into the same stores while some are killed, and hold that nothing is lost.

python -m tests.faults.writers --seconds 60 --seed 1

Eight processes at a time build, push, install, export, remove and free space, in one home and in two that share a
store, by chance. Others sweep the registry. Processes are killed at random moments, the registry too, which is started
again. After each round everything is verified, every command succeeds, and no leftovers are in the stores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.faults import forked
from tests.faults.forked import HANGS, Ended, Fork
from tests.faults.world import report

ME = "me"
KEPT, REMOVED, SYNCED = (f"{ME}/a", f"{ME}/b"), f"{ME}/v", f"{ME}/s"
MACHINES = ("one", "anna", "bert")
VERSIONS = range(6)
WRITERS = 8
ROUND_COMMANDS = 80
MOST_ROUNDS = 1_000_000
CHECKED = 4
"""How many states of each package a check looks at."""
T = TypeVar("T")
LONGEST_S = 60.0
KILL_EVERY_S = 0.15
REGISTRY_KILLED = 0.05
"""The share of kills that the registry gets."""


@dataclass(frozen=True)
class Action:
    """A command: its words, how often it is drawn, and the codes of errors that others at work may cause."""

    words: str
    weight: int = 2
    errors: frozenset[str] = frozenset()
    machines: tuple[str, ...] = ("one", "one", "one", "anna", "bert")


def _errors(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The registry is killed, so whatever asks it may not reach it; `me/v` is removed and deleted all the time.
REMOTE, GONE, PUSH = _errors("unreachable"), _errors("not_found"), _errors("unreachable conflict invalid")
ACTIONS = (
    Action("build {kept} {source}", 5),
    Action("build {removed} {source}", 2),
    Action("push {kept}", 5, PUSH),
    Action("push {removed}", 2, PUSH | GONE),
    Action("install {kept} --replace", 5, REMOTE),
    Action("install {removed} --replace", 2, REMOTE | GONE),
    Action("fetch {kept}", 1, REMOTE),
    Action("sync {source} {synced}", 2, PUSH),
    Action("append {removed} {source}/README.md --to more --replace", 1, PUSH | GONE),
    Action("cp {kept} {removed}", 1),
    Action("export {kept} {out}", 3),
    Action("export {removed} {out}", 1, GONE),
    Action("bundle {kept} -o {out}.dpkg", 1),
    Action("cat {kept}/t", 1, REMOTE),
    Action("verify --all", 1),
    Action("gc --yes", 2),
    Action("rm {removed}", 3, GONE),
    Action("delete {removed} --yes", 1, REMOTE | GONE),
    Action("gc --store {shared} --yes", 1, machines=("anna", "bert")),
    Action("registry sweep --data {registry} --grace 0", 1, _errors("conflict")),
    Action("registry check --data {registry}", 1),
)


def write_source(folder: Path, version: int) -> None:
    """Write a version: a table, a file long enough for chunk maps and recipes, and enough small ones for a pack."""
    (folder / "small").mkdir(parents=True)
    rows = "".join(f"{row},{row * (version if row % 500 == 0 else 1)}\n" for row in range(3_000))
    (folder / "t.csv").write_text(f"row,number\n{rows}")
    big = bytearray(random.Random(7).randbytes(1_300_000))
    big[version * 100_000 : version * 100_000 + 1_000] = random.Random(version).randbytes(1_000)
    (folder / "big.bin").write_bytes(big)
    for number in range(70):
        (folder / "small" / f"{number}.bin").write_bytes(f"{number} {version if number < 9 else 0}".encode() * 20)
    (folder / "README.md").write_text(f"version {version}\n")


@dataclass
class Running:
    """A command at work; `out` is the folder that it writes, if it is an export."""

    fork: Fork
    action: Action
    machine: str
    words: list[str]
    out: Path
    fd: int
    began: float = field(default_factory=time.monotonic)


class Storm:
    """Homes, a shared store and a registry, with processes that use them at the same time."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.results: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []
        self._running: list[Running] = []
        self._groups: list[int] = []
        self._built: dict[str, set[str]] = {}
        self._pushed: set[tuple[str, str]] = set()
        self._versions: dict[str, int] = {}
        self._count = 0
        self._registry: Fork | None = None
        self._token = ""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def make(self) -> None:
        """Make the sources, the registry, the homes and the shared store."""
        for version in VERSIONS:
            write_source(self.folder / f"source{version}", version)
            built = self.must("clean", "build", f"{ME}/x", str(self.folder / f"source{version}"))
            self._versions[built.json["hash"]] = version
        words = ["user", "add", ME, "--data", str(self.folder / "registry"), "--quiet"]
        self._start_registry()
        self._token = forked.operate(words).wait().out.strip()
        self.must("one", "cache", "share", str(self.folder / "shared"))
        for package in KEPT:
            self.must("one", "build", package, str(self.folder / "source0"), "--push")
            for machine in ("anna", "bert"):
                self.must(machine, "install", package)

    def _start_registry(self) -> None:
        words = ["serve", "--data", str(self.folder / "registry"), "--port", str(self._port)]
        self._registry = forked.operate(words)
        forked.url_of(self._registry)

    def _kill_registry(self) -> None:
        assert self._registry
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._registry.pid, signal.SIGKILL)
        os.waitpid(self._registry.pid, 0)

    def close(self) -> None:
        """End every process."""
        for each in self._running:
            self._kill(each, whole=True)
            os.waitpid(each.fork.pid, 0)
        self._kill_registry()

    def environ(self, machine: str) -> dict[str, str]:
        """Return the settings of a machine: `anna` and `bert` share a store."""
        shared = {} if machine in ("one", "clean") else {"DATAPKG_PATH": str(self.folder / "shared")}
        return {
            "DATAPKG_HOME": str(self.folder / machine),
            "DATAPKG_REGISTRY": f"http://127.0.0.1:{self._port}",
            "DATAPKG_TOKEN": self._token,
            "DATAPKG_TIMEOUT_S": "10",
            **shared,
        }

    def must(self, machine: str, *words: str) -> Ended:
        """Run a command that has to succeed."""
        ended = forked.command([*words, "--json"], self.environ(machine)).wait()
        assert ended.code == 0, f"{machine}: {' '.join(words)} → {ended.code}: {ended.err or ended.out}"
        assert "Traceback" not in ended.err, ended.err
        return ended

    def round(self, seconds: float, commands: int) -> None:
        """Let processes work and be killed for so long, or for so many commands; then check everything."""
        end, last = time.monotonic() + seconds, self._count + commands
        kill_at = 0.0
        while time.monotonic() < end and self._count < last:
            while len(self._running) < WRITERS:
                self._start()
            self._reap(0.02)
            if time.monotonic() >= kill_at:
                self._kill_one()
                kill_at = time.monotonic() + self.chance.expovariate(1 / KILL_EVERY_S)
        while self._running:
            self._reap(1)
        self.check()

    def _start(self) -> None:
        action = self.chance.choices(ACTIONS, [each.weight for each in ACTIONS])[0]
        machine, self._count = self.chance.choice(action.machines), self._count + 1
        out = self.folder / "out" / str(self._count)
        out.parent.mkdir(exist_ok=True)
        names = {"kept": self.chance.choice(KEPT), "removed": REMOVED, "synced": SYNCED, "out": out}
        names |= {"source": self.folder / f"source{self.chance.choice(VERSIONS)}"}
        names |= {"shared": self.folder / "shared", "registry": self.folder / "registry"}
        words = [*action.words.format(**names).split(), "--json"]
        is_operator = words[0] == "registry"
        fork = forked.operate(words[1:]) if is_operator else forked.command(words, self.environ(machine))
        self._running.append(Running(fork, action, machine, words, out, os.pidfd_open(fork.pid)))
        self._groups.append(fork.pid)

    def _reap(self, timeout_s: float) -> None:
        for fd in select.select([each.fd for each in self._running], [], [], timeout_s)[0]:
            each = next(each for each in self._running if each.fd == fd)
            self._running.remove(each)
            os.close(fd)
            self._note(each, each.fork.wait())
        for late in [each for each in self._running if time.monotonic() - each.began > LONGEST_S]:
            self.failures.append(f"{late.machine}: {' '.join(late.words)}: {HANGS}")
            self._kill(late, whole=True)

    def _kill_one(self) -> None:
        if self.chance.random() < REGISTRY_KILLED:
            self._kill_registry()
            self._start_registry()
            self.results["registry serve", "killed"] += 1
        elif self._running:
            self._kill(self.chance.choice(self._running), whole=self.chance.random() < 0.5)

    @staticmethod
    def _kill(each: Running, *, whole: bool) -> None:
        """Kill a command, alone or with the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(each.fork.pid, signal.SIGKILL)

    def _note(self, each: Running, ended: Ended) -> None:
        name = " ".join(word for word in each.action.words.split() if not word.startswith("{"))
        try:
            result = self._judge(each, ended)
        except AssertionError as error:
            result = "WRONG"
            self.failures.append(f"{each.machine}: {' '.join(each.words)}: {error}")
        self.results[name, result] += 1
        if each.out.is_dir():
            shutil.rmtree(each.out)

    def _judge(self, each: Running, ended: Ended) -> str:
        assert "Traceback" not in ended.err, ended.err[-3000:]
        if ended.is_killed:
            return "killed"
        if ended.code:
            if each.words[0] == "verify":
                raise AssertionError(f"{ended.code}: {ended.out[-2000:]}{ended.err[-2000:]}")
            code, message = report(ended)
            assert "bug in datapkg" not in message, message
            assert code in each.action.errors, f"{code}: {message}"
            return code
        command, package = each.words[:2]
        if command == "build" and package in KEPT:
            assert ended.json["hash"] in self._versions, f"{ended.json['hash']} is not the hash of a source"
            self._built.setdefault(f"{each.machine} {package}", set()).add(ended.json["hash"])
        if command == "push" and package in KEPT:
            self._pushed.add((package, ended.json["hash"]))
        if command == "export" and package in KEPT:
            self.check_export(each.out)
        return "done"

    def check_export(self, folder: Path) -> None:
        """Hold that a folder has one version, and all of it."""
        version = int((folder / "README.md").read_text().split()[1])
        source = self.folder / f"source{version}"
        for path in filter(Path.is_file, source.rglob("*")):
            copy = folder / path.relative_to(source)
            assert copy.read_bytes() == path.read_bytes(), f"{copy} is not that of version {version}"

    def check(self) -> None:
        """Hold that nothing is damaged or lost, that every command succeeds, and that nothing is left over."""
        machines = [partial(self._check_machine, each) for each in MACHINES]
        for check in (self._check_processes, self._check_registry, *machines, self._check_leftovers):
            try:
                check()
            except AssertionError as error:
                self.failures.append(f"after a round: {error}")

    def _check_registry(self) -> None:
        words = ["check", "--data", str(self.folder / "registry"), "--json"]
        ended = forked.operate(words).wait()
        assert ended.code == 0, f"registry check: {ended.out}{ended.err}"
        for package, hash in self._some(self._pushed):
            shutil.rmtree(self.folder / "clean", ignore_errors=True)
            self.must("clean", "install", f"{package}@sha256:{hash}")
            self._check_verified("clean")
        for _ in range(2):
            self._operate("sweep", "--grace", "0")

    def _some(self, values: Collection[T]) -> list[T]:
        return self.chance.sample(sorted(values), min(CHECKED, len(values)))  # type: ignore[type-var]

    def _operate(self, *words: str) -> None:
        ended = forked.operate([*words, "--data", str(self.folder / "registry"), "--json"]).wait()
        assert ended.code == 0, f"registry {words}: {ended.code}: {ended.out}{ended.err}"

    def _check_processes(self) -> None:
        """Hold that no process survived the one that started it."""
        end = time.monotonic() + 5
        left = self._groups
        while left and time.monotonic() < end:
            left = [each for each in left if _has_group(each)]
            time.sleep(0.02)
        self._groups = []
        assert not left, f"processes of groups {left} are alive"

    def _check_machine(self, machine: str) -> None:
        self._check_verified(machine)
        for package in KEPT:
            for hash in self._some(self._built.get(f"{machine} {package}", ())):
                state = self.must(machine, "show", f"{package}@sha256:{hash}").json
                assert state["bytes_absent"] == 0, f"{machine}: {package} {hash} is not complete"
        package, out = self.chance.choice(KEPT), self.folder / "out" / "checked"
        shutil.rmtree(out, ignore_errors=True)
        self.must(machine, "build", package, str(self.folder / f"source{self.chance.choice(VERSIONS)}"))
        self.must(machine, "push", package, "--force")
        self.must(machine, "export", package, str(out))
        self.check_export(out)
        self.must(machine, "install", package, "--replace")
        self.must(machine, "gc", "--yes")
        self._check_verified(machine)

    def _check_verified(self, machine: str) -> None:
        found = self.must(machine, "verify", "--all").json
        assert (found["damaged"], found["set_aside"]) == ([], []), f"{machine}: {found}"

    def _check_leftovers(self) -> None:
        self.must("anna", "gc", "--store", str(self.folder / "shared"), "--yes")
        folders = [self.folder / each / "store" for each in MACHINES]
        folders += [self.folder / "shared", self.folder / "registry"]
        left = [
            str(path.relative_to(self.folder))
            for folder in folders
            for name in ("tmp", "trash", "quarantine")
            for path in (folder / name).rglob("*")
            if path.is_file() and path.name != "lock"
        ]
        assert not left, f"leftovers: {left}"


def _has_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def run(seed: int, seconds: float, commands: int = ROUND_COMMANDS, rounds: int = MOST_ROUNDS) -> Storm:
    """Return a storm that went on for so long, in rounds, or until the first failure; then its folder stays."""
    folder = Path(tempfile.mkdtemp(prefix="writers-"))
    storm = Storm(folder, seed)
    try:
        storm.make()
        end = time.monotonic() + seconds
        for _ in range(rounds):
            storm.round(end - time.monotonic(), commands)
            if storm.failures or time.monotonic() >= end:
                break
    finally:
        storm.close()
        if not storm.failures:
            shutil.rmtree(folder, ignore_errors=True)
    return storm


def main() -> int:
    """Run the command line."""
    from tests.faults.chaos import table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--commands", type=int, default=ROUND_COMMANDS, help="how many between two checks")
    parser.add_argument("--rounds", type=int, default=MOST_ROUNDS)
    options = parser.parse_args()
    forked.prepare()
    storm = run(options.seed, options.seconds, options.commands, options.rounds)
    print(f"seed {options.seed}\n{table(storm.results)}")
    for problem in storm.failures:
        print(f"\n{problem}")
    if storm.failures:
        print(f"\nthe folder is {storm.folder}")
    return 1 if storm.failures else 0


if __name__ == "__main__":
    sys.exit(main())
