"""Commands that are tried with faults, what they may leave behind, and what must be true afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from datapkg.format.names import Ref
from datapkg.store.refs import Refs
from tests.faults import forked
from tests.faults.forked import HANGS, Ended, Fork
from tests.faults.injection import Injection
from tests.faults.world import VERSIONS, P, Q, S, World, report

READING = frozenset({"export", "old-state", "bundle", "cat", "verify"})
# Errors that never are the answer to a lack of space, rights or files: they blame the data.
BLAMING = frozenset({"integrity", "build_failed", "error"})


@dataclass(frozen=True)
class Scenario:
    """A command of a machine; `before` and `after` are the versions of the package there, 0 for none.

    `again` repeats it where that is another command; `registry` is the one that runs meanwhile.
    """

    name: str
    machine: str
    words: tuple[str, ...]
    before: int = 0
    after: int = 0
    package: str = P
    registry: str = ""
    again: tuple[str, ...] = ()
    pushes: bool = False
    operates: bool = False

    def start(
        self, world: World, injection: Injection | None = None, before: Callable[[], None] = lambda: None
    ) -> Fork:
        """Start the command."""
        return self._start(world, self.words, injection, before)

    def start_again(self, world: World) -> Fork:
        """Start what completes it."""
        return self._start(world, self.again or self.words, None, lambda: None)

    def _start(
        self, world: World, words: tuple[str, ...], injection: Injection | None, before: Callable[[], None]
    ) -> Fork:
        names = {f"{{{version}}}": world.sources(version) for version in VERSIONS}
        names |= {"{out}": str(world.now / "out"), "{new}": str(world.now / "new-out")}
        names |= {"{data}": str(world.now / self.machine), "{pipeline}": str(world.now / "pipeline")}
        names |= {f"{{p{version}}}": f"{P}@sha256:{hash}" for version, hash in world.hashes.items()}
        filled = [*(names[word] if word.startswith("{") else word for word in words), "--json"]
        if self.operates:
            return forked.operate(filled, injection, before)
        return forked.command(filled, world.environ(self.machine), injection, before)


SCENARIOS = [
    Scenario("build", "maker", ("build", P, "{3}"), before=2, after=3),
    Scenario("build-first", "fresh", ("build", P, "{3}"), after=3),
    Scenario("cp", "maker", ("cp", P, "me/r"), after=2, package="me/r"),
    Scenario("merge", "maker", ("merge", P, f"{Q}/t", "--on-conflict", "ours", "-o", "me/r"), package="me/r"),
    Scenario("rm", "maker", ("rm", P), before=2, again=("rm", "--now")),
    Scenario("export", "maker", ("export", P, "{out}"), before=2, after=2, again=("export", P, "{out}", "--force")),
    Scenario("verify", "maker", ("verify",), before=2, after=2),
    Scenario("gc", "hoard", ("gc", "--now", "--yes"), before=3, after=3),
    Scenario("gc-keep", "hoard", ("gc", "--keep", "1", "--now", "--yes"), before=3, after=3),
    Scenario("old-state", "frugal", ("export", "{p1}", "{out}"), before=3, after=3, again=("export", "{p1}", "{new}")),
    Scenario("bundle", "maker", ("bundle", P, "-o", "{out}", "--force"), before=2, after=2),
    Scenario("sweep", "swept", ("sweep", "--data", "{data}", "--grace", "0"), operates=True),
    Scenario("install", "fresh", ("install", P), after=2, registry="new"),
    Scenario("upgrade", "user", ("install", P), before=1, after=2, registry="new"),
    Scenario("fetch", "thin", ("fetch", P), before=2, after=2, registry="new"),
    Scenario("cat", "fresh", ("cat", f"{P}/t"), registry="new"),
    Scenario("push", "maker", ("push", P), before=2, after=2, registry="old", pushes=True),
    Scenario("sync", "user", ("sync", "{3}", P), before=1, after=3, registry="old", pushes=True),
    Scenario(
        "push-cache",
        "cook",
        ("build", S, "{pipeline}", "--push-cache"),
        before=1,
        package=S,
        registry="old",
        pushes=True,
    ),
    Scenario("append", "user", ("append", P, "{3}", "--to", "more"), before=1, registry="old", pushes=True),
]
BY_NAME = {each.name: each for each in SCENARIOS}


@contextlib.contextmanager
def beside(world: World, scenario: Scenario, port: int | None = None) -> Iterator[str]:
    """Run the registry of a scenario, if it has one."""
    if not scenario.registry:
        yield ""
        return
    with forked.serving(world.now / scenario.registry, world.port if port is None else port) as (url, _):
        yield url


def check_end(world: World, scenario: Scenario, ended: Ended, kind: str) -> str:
    """Return how a command ended; raise `AssertionError` for a crash, a hang, or an error that is not the fault's."""
    assert ended.err != HANGS, "it hangs"
    assert "Traceback" not in ended.err, ended.err[-3000:]
    if ended.is_killed:
        return "killed"
    if ended.code == 0:
        return "done"
    code, message = report(ended)
    assert "bug in datapkg" not in message, message
    if kind in ("ENOSPC", "EDQUOT", "EACCES", "EROFS", "EMFILE", "small disk"):
        assert code not in BLAMING or (code != "integrity" and _names_fault(message)), f"{code}: {message}"
    return code


def _names_fault(message: str) -> bool:
    words = ("No space", "quota", "Permission", "Read-only", "Too many open files", "Input/output")
    return any(word in message for word in words)


def check_after(world: World, scenario: Scenario, ended: Ended) -> None:
    """Check that nothing is damaged or lost, and that the command succeeds now."""
    _check_here(world, scenario, {scenario.before, scenario.after}, was_interrupted=True)
    if scenario.name == "rm" and ended.code:  # it may or may not have begun
        forked.command(["rm", P], world.environ(scenario.machine)).wait()
    result = scenario.start_again(world).wait()
    assert result.code == 0, f"the second run: {result.code}: {result.err or result.out}"
    _check_here(world, scenario, {scenario.after})
    if scenario.name not in READING:  # others sweep what killed processes left
        left = [str(each) for each in (world.now / scenario.machine).glob("store/tmp/*") if each.is_file()]
        assert not left, f"leftovers: {left}"
    if scenario.name == "push-cache":
        _check_run_cache(world)
    if scenario.pushes:
        _check_registry(world, scenario)


def _check_run_cache(world: World) -> None:
    """Check that another machine can take every result, and gets what was built here."""
    pipeline = str(world.now / "pipeline")
    mine, theirs = world.ask("cook", "build", S, pipeline), world.ask("fresh", "build", S, pipeline, "--pull-cache")
    assert {each["action"] for each in theirs["stages"]} == {"taken"}, theirs
    assert theirs["hash"] == mine["hash"]
    assert world.ask("fresh", "verify")["damaged"] == []


def check_registry_after(world: World, scenario: Scenario) -> None:
    """Check that nothing of a registry is lost, and that a command of its operator succeeds now."""
    for _ in range(2):  # what is unused goes in two steps
        result = scenario.start_again(world).wait()
        assert result.code == 0, f"the second run: {result.code}: {result.err or result.out}"
    with forked.serving(world.now / scenario.machine, world.port):
        _check_registry(world, Scenario(scenario.name, "fresh", (), after=2, registry=scenario.machine))


def _check_here(world: World, scenario: Scenario, allowed: set[int], *, was_interrupted: bool = False) -> None:
    verified = forked.command(["verify", "--json"], world.environ(scenario.machine)).wait()
    assert verified.code == 0, f"verify: {verified.code}: {verified.out}{verified.err}"
    assert verified.json["damaged"] == []
    assert verified.json["set_aside"] == [], verified.out
    here = {each["package"]: each["hash"] for each in world.ask(scenario.machine, "ls")["packages"]}
    found = here.get(scenario.package)
    known = {world.hashes.get(version) for version in allowed}
    if scenario.after or scenario.name == "rm":
        assert found in known, f"{scenario.package} is {found}, not of {allowed}"
    log = Refs(world.now / scenario.machine / "store" / "packages", world.now / "tmp").log(Ref.parse(scenario.package))
    newest = next((each.hash for each in log if each.event != "push"), found)
    # A kill between the two leaves them different, until the command is run again.
    assert newest == found or was_interrupted, f"the newest of the log is {newest}, current is {found}"
    if scenario.name in ("gc", "old-state"):
        for hash in world.hashes.values():
            state = world.ask(scenario.machine, "show", f"{scenario.package}@sha256:{hash}")
            assert state["bytes_absent"] == 0, f"{hash} is not complete"
    if scenario.machine == "maker":
        assert here[Q] == world.hashes[1], f"{Q} is lost: {here}"


def _check_registry(world: World, scenario: Scenario) -> None:
    result = forked.operate(["verify", "--data", str(world.now / scenario.registry), "--json"]).wait()
    assert result.code == 0, f"the registry: {result.out}{result.err}"
    installed: Any = world.ask("fresh", "install", P)["installed"][0]["hash"]
    assert scenario.after == 0 or installed == world.hashes[scenario.after], installed
    assert world.ask("fresh", "verify")["damaged"] == []
