"""Try commands with faults drawn by chance until the time is over, and print how they ended.

python -m tests.faults.chaos --seconds 60 --seed 1
python -m tests.faults.chaos --only 'push kill 17 0'    # one trial again

In a run of a minute or more, the last fifth of the time is for many writers at once (`tests.faults.writers`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import forked, surroundings, writers
from tests.faults.injection import Injection
from tests.faults.scenarios import BY_NAME, SCENARIOS, Scenario, beside, check_after, check_end, check_registry_after
from tests.faults.world import World
from tests.faulty_proxy import CHANGES, CONNECTIONS, STATUSES, Fault, faulty_way

LOCAL = ("kill", "power", "ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "short")
WIRE = tuple(kind for kind in (*STATUSES, *CONNECTIONS, *CHANGES, "flip upload") if kind not in ("404", "slow"))
SERVER = ("kill", "power", "ENOSPC", "EIO", "short")
MAX_SKIPPED = 8
LONG_S = 60
WRITERS_SHARE = 0.2


@dataclass(frozen=True)
class Trial:
    """A scenario with a fault: `at` is the number of the call, or of the request, at which it happens."""

    scenario: Scenario
    kind: str
    at: int
    seed: int

    def __str__(self) -> str:
        return f"{self.scenario.name} {self.kind.replace(' ', '_')} {self.at} {self.seed}"

    @classmethod
    def parse(cls, text: str) -> Trial:
        """Return the trial that was printed so."""
        name, kind, at, seed = text.split()
        return cls(BY_NAME[name], kind.replace("_", " "), int(at), int(seed))


class Chaos:
    """A world, the number of calls of each command as far as they were counted, and the results."""

    def __init__(self, folder: Path, is_verbose: bool = False) -> None:
        self._is_verbose = is_verbose
        self.world = World(folder)
        self.world.make()
        is_able = surroundings.can_mount(folder)
        self.around = [each for each in surroundings.KINDS if is_able or each not in surroundings.MOUNTS]
        self._calls: dict[tuple[str, str], int] = {}
        self.results: Counter[tuple[str, str]] = Counter()
        self.failures: list[tuple[Trial, str]] = []

    def calls(self, scenario: Scenario, kind: str) -> int:
        """Return how many calls of a command can fail in this way."""
        key = scenario.name, kind
        if key not in self._calls:
            self.world.restore()
            with beside(self.world, scenario):
                injection = self._injection(scenario, kind, 0, 0)
                ended = self._run(scenario, injection)
            assert ended.code == 0, ended.err
            self._calls[key] = len(ended.calls)
        return self._calls[key]

    def _injection(self, scenario: Scenario, kind: str, at: int, seed: int) -> Injection:
        roots = (str(self.world.now / scenario.machine), str(self.world.now / "out"))
        return Injection(kind, at, roots, lasting=kind != "kill" and seed % 2 == 1, seed=seed)

    def _run(self, scenario: Scenario, injection: Injection | None = None, shift_s: float = 0) -> forked.Ended:
        ended = scenario.start(self.world, injection, lambda: surroundings.shift_clock(shift_s)).wait()
        if self._is_verbose and ended.code:
            print(f"{ended.code}: {ended.err.strip()}", flush=True)
        return ended

    def draw(self, chance: random.Random, scenarios: list[Scenario]) -> Trial:
        """Return a trial of one of these scenarios by chance."""
        while True:
            scenario, seed = chance.choice(scenarios), chance.randrange(1_000)
            if scenario.registry and chance.random() < 0.4:
                return Trial(scenario, chance.choice(WIRE), chance.randrange(MAX_SKIPPED), seed)
            if scenario.pushes and chance.random() < 0.4:
                kind = f"server {chance.choice(SERVER)}"
                calls = self.server_calls(scenario, kind.removeprefix("server "))
            else:
                kind = chance.choice(LOCAL if scenario.operates else (*LOCAL, *self.around))
                if kind in self.around:
                    return Trial(scenario, kind, 0, seed)
                calls = self.calls(scenario, kind)
            if calls:
                return Trial(scenario, kind, chance.randrange(1, calls + 1), seed)

    def server_calls(self, scenario: Scenario, kind: str) -> int:
        """Return how many calls of the registry can fail while the command runs."""
        key = scenario.name, f"server {kind}"
        if key not in self._calls:
            self.world.restore()
            injection = self._server_injection(scenario, kind, 0, 0)
            with forked.serving(self.world.now / scenario.registry, self.world.port, injection) as (_, fork):
                assert self._run(scenario).code == 0
                os.kill(fork.pid, signal.SIGTERM)
                self._calls[key] = len(fork.wait().calls)
        return self._calls[key]

    def _server_injection(self, scenario: Scenario, kind: str, at: int, seed: int) -> Injection:
        return Injection(kind, at, (str(self.world.now / scenario.registry),), seed=seed)

    def run(self, trial: Trial) -> str:
        """Run one trial; return how the command ended, or raise `AssertionError`."""
        self.world.restore()
        if trial.kind.startswith("server "):
            return self._run_on_server(trial)
        if trial.kind in WIRE:
            return self._run_on_wire(trial)
        if trial.kind in surroundings.KINDS:
            return self._run_around(trial)
        with beside(self.world, trial.scenario):
            ended = self._run(trial.scenario, self._injection(trial.scenario, trial.kind, trial.at, trial.seed))
            result = check_end(self.world, trial.scenario, ended, trial.kind)
            self._check_after(trial.scenario, ended)
        return result

    def _check_after(self, scenario: Scenario, ended: forked.Ended) -> None:
        if scenario.operates:
            check_registry_after(self.world, scenario)
        else:
            check_after(self.world, scenario, ended)

    def _run_around(self, trial: Trial) -> str:
        """Run a command while what surrounds it is at fault."""
        scenario, world = trial.scenario, self.world
        shift = surroundings.CLOCKS.get(trial.kind, 0.0)
        with beside(world, scenario):
            with surroundings.around(trial.kind, world.now / scenario.machine, trial.seed):
                ended = self._run(scenario, shift_s=shift)
                result = check_end(world, scenario, ended, trial.kind)
            self._check_after(scenario, ended)
        return result

    def _run_on_wire(self, trial: Trial) -> str:
        """Run a command through a proxy that fails once, three times, or from then on."""
        times = (1, 3, 1_000_000)[trial.seed % 3]
        with beside(self.world, trial.scenario, port=0) as url:
            proxy = forked.start(lambda: self._be_proxy(url, trial, times), {})
            try:
                _wait_for(self.world.port)
                ended = self._run(trial.scenario)
            finally:
                os.kill(proxy.pid, signal.SIGKILL)
                proxy.wait()
        result = check_end(self.world, trial.scenario, ended, trial.kind)
        with beside(self.world, trial.scenario):
            check_after(self.world, trial.scenario, ended)
        return result

    def _be_proxy(self, url: str, trial: Trial, times: int) -> int:
        with faulty_way(url, self.world.port) as way:
            way.chance = random.Random(trial.seed)
            way.faults.append(Fault(trial.kind, times=times, skip=trial.at))
            time.sleep(1_000)
        return 0

    def _run_on_server(self, trial: Trial) -> str:
        """Run a command while the registry fails, or is killed and started again."""
        scenario = trial.scenario
        kind = trial.kind.removeprefix("server ")
        injection = self._server_injection(scenario, kind, trial.at, trial.seed)
        try:
            with forked.serving(self.world.now / scenario.registry, self.world.port, injection):
                ended = self._run(scenario)
        except RuntimeError as error:  # it did not start
            is_crash = "Traceback" in str(error)
            said = "it did not start" if not is_crash else str(error)
            ended = forked.Ended(8, "", json.dumps({"error": {"code": "unreachable", "message": said}}))
        result = check_end(self.world, scenario, ended, kind)
        with beside(self.world, scenario):
            check_after(self.world, scenario, ended)
        return result

    def note(self, trial: Trial, run: Callable[[Trial], str]) -> None:
        """Run a trial and count how it ended."""
        try:
            result = run(trial)
            if self._is_verbose:
                print(f"{trial} → {result}", flush=True)
        except AssertionError as error:
            result = "WRONG"
            self.failures.append((trial, str(error)))
        self.results[trial.kind, result] += 1


def _wait_for(port: int) -> None:
    import socket

    for _ in range(500):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)


def table(results: Counter[tuple[str, str]]) -> str:
    """Return the counts by kind of fault and by how the command ended."""
    ends = sorted({end for _, end in results})
    kinds = sorted({kind for kind, _ in results})
    rows = [["fault", *ends, "all"]]
    for kind in kinds:
        counts = [results[kind, end] for end in ends]
        rows.append([kind, *(str(count or "") for count in counts), str(sum(counts))])
    totals = [sum(results[kind, end] for kind in kinds) for end in ends]
    rows.append(["all", *map(str, totals), str(sum(totals))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--scenario", default="", help="only scenarios whose name begins so")
    parser.add_argument("--only", default="", metavar="TRIAL", help="one trial, as it was printed")
    parser.add_argument("--verbose", action="store_true", help="print each trial and its error")
    options = parser.parse_args()
    forked.prepare()
    storm: writers.Storm | None = None
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))  # a `TemporaryDirectory` would be deleted at the end of a fork
    try:
        chaos = Chaos(folder, options.verbose)
        if options.only:
            chaos.note(Trial.parse(options.only), chaos.run)
        else:
            chance = random.Random(options.seed)
            scenarios = [each for each in SCENARIOS if each.name.startswith(options.scenario)]
            has_writers = options.seconds >= LONG_S and not options.scenario
            end = time.monotonic() + options.seconds * (1 - WRITERS_SHARE * has_writers)
            while time.monotonic() < end and chaos.results.total() < options.trials:
                chaos.note(chaos.draw(chance, scenarios), chaos.run)
            if has_writers:
                storm = writers.run(options.seed, options.seconds * WRITERS_SHARE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"seed {options.seed}\n{table(chaos.results)}")
    if storm:
        print(f"\nwriters at once\n{table(storm.results)}")
        for problem in storm.failures:
            print(f"\n{problem}\n  in {storm.folder}")
    for trial, problem in chaos.failures:
        print(f"\npython -m tests.faults.chaos --only '{trial}'\n  {problem}")
    return 1 if chaos.failures or (storm and storm.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
