"""Try every command, of users and of operators, with a fault of the disk, of rights or of a limit.

python -m tests.faults.commands --seed 1 --trials 40
python -m tests.faults.commands                          # every command with every fault
python -m tests.faults.commands --only 'read-only home' --command 'tag add'
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import forked, surroundings
from tests.faults.chaos import table
from tests.faults.forked import HANGS, Ended
from tests.faults.injection import Injection
from tests.live_registry import ROOT

P, Q, R = "me/p", "me/q", "me/r"
HIDDEN_CALLS = 40
SMALL_KB = 200


@dataclass(frozen=True)
class Line:
    """A command line that succeeds in a `Place`; with `reads`, also where nothing of datapkg's own can be written.

    `remote` names the registry that it asks, if not the folder; `again` are the exit codes that it may have where it
    was done before.
    """

    text: str
    reads: bool = False
    remote: str = "folder"
    again: tuple[int, ...] = (0,)


def reading(text: str, remote: str = "folder") -> Line:
    """Return the line of a command that works on read-only media."""
    return Line(text, reads=True, remote=remote)


LINES: dict[str, Line] = {
    "access add": Line("me/p bob", remote="server"),
    "access ls": reading("me/p", "server"),
    "access rm": Line("me/p cyd", remote="server", again=(0, 3)),
    "add": Line(R),
    "append": Line("me/p data/small.bin --to more", again=(0, 4)),
    "build": Line("me/p data --force"),
    "bundle": reading("me/p -o {out}/p.dpkg --force"),
    "cache du": reading(""),
    "cache keep": Line(P),
    "cache ls": reading(""),
    "cache rm": Line(""),
    "cache share": Line("{out}/shared"),
    "cache warm": Line(P),
    "cat": reading("me/p/t"),
    "check": reading("data"),
    "completion": reading("bash"),
    "config": Line("timeout_s 9"),
    "cp": Line("me/p me/z"),
    "delete": Line("me/p --yes", again=(0, 3)),
    "edit": Line("me/p --move t table", again=(0, 3)),
    "export": reading("me/p {out}/p --force"),
    "fetch": Line(P),
    "gc": Line("--yes --now"),
    "generate": Line("plain"),
    "graph": reading("stages.yml"),
    "help": reading("build"),
    "import-from": Line("dvc dvc --force"),
    "init": Line("new", again=(0, 4)),
    "install": Line("me/r --replace"),
    "lock": Line(""),
    "log": reading(P),
    "login": Line("{url} --token {token}", remote="server"),
    "logout": Line("", remote="server"),
    "ls": reading(""),
    "merge": Line("me/p me/q -o me/z --on-conflict ours"),
    "mirror": Line("{registry} {out}/mirror"),
    "outdated": reading(""),
    "push": Line(Q),
    "remove": Line(P, again=(0, 3)),
    "rm": Line(Q, again=(0, 3)),
    "runs": reading(""),
    "search": reading("p", "server"),
    "show": reading(P),
    "status": reading(P),
    "stubs": reading("--into {out}/stubs"),
    "sync": Line("data me/q"),
    "tag add": Line("me/p stable"),
    "tag ls": reading(P),
    "tag rm": Line("me/p old", again=(0, 3)),
    "update": Line(""),
    "verify": reading(""),
    "version add": Line("me/p 2.0", again=(0, 4)),
    "version ls": reading(P),
    "version unyank": Line("me/p@1.1"),
    "version yank": Line("me/p@1.0 -m wrong"),
    "whoami": reading("", "server"),
    "registry check": reading("--data {served}", ""),
    "registry export": reading("{out}/exported --data {served}", ""),
    "registry import": Line("{exported} --data {out}/imported", again=(0, 4)),
    "registry sweep": Line("--data {served} --grace 0"),
    "registry user add": Line("eve --data {served}", again=(0, 4)),
    "registry user list": reading("--data {served}", ""),
    "registry user revoke": Line("bob --data {served}"),
    "registry user token": Line("bob --data {served}"),
    "registry verify": reading("--data {served}", ""),
}
ELSEWHERE = {
    "mount": "runs until it is unmounted: tests/cli/test_mounting.py",
    "unmount": "needs a mount: tests/cli/test_mounting.py",
    "registry serve": "runs until it is stopped: tests/faults/chaos.py",
}
ALLOWED = (0, 1, 2, 7, 10)
"""Exit codes of a command with a fault of this machine: errors of the system, rights, what ran out; never the data."""
ABORTED = (-signal.SIGABRT, -signal.SIGSEGV)
"""How threads of C++ libraries end a process that has no memory left."""
OF_PYTHON = ("Exception ignored in thread", "MemoryError")
"""What the interpreter itself prints of a thread that ended for want of memory."""
NAMES = (
    *("No space", "quota", "Permission denied", "Read-only", "Too many open files", "Input/output", "cannot write"),
    *("not enough", "too large", "disk is full", "I/O error", "readonly", "make room"),
)


class Place:
    """A home with two packages, a project, and registries, made once and copied for each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, folder / "now"
        self.url = self.token = ""

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make everything; inside, the registry that is a server runs, whose data are not restored."""
        (self.now / "out").mkdir(parents=True)
        self._write_project()
        live = self.folder / "live"
        with forked.serving(live) as (self.url, _):
            self.token = self._add_user(live, "me")
            for name in ("bob", "cyd"):
                self._add_user(live, name)
            for package, source in ((P, "data"), (Q, "plain"), (R, "plain")):
                self.must("build", package, source)
            self.must("push", P, remote="server")
            self.must("access", "add", P, "cyd", remote="server")
            for version in ("1.0", "1.1"):
                (self.now / "project/data/small.bin").write_text(version)
                self.must("build", P, "data")
                self.must("push", P, "-v", version, "-t", "old")
            self.must("version", "yank", f"{P}@1.1")
            self.must("push", R)
            self.must("rm", R)
            self.must("add", P)
            (self.now / "project/data/small.bin").write_text("newest")
            self.must("build", P, "data")
            self._fill_registry()
            self.must("cache", "du")
            shutil.copytree(self.now, self.folder / "template", symlinks=True)
            yield

    def _write_project(self) -> None:
        for name in ("data", "plain", "new", "dvc/.dvc"):
            (self.now / "project" / name).mkdir(parents=True)
        for name in ("data", "plain"):
            (self.now / "project" / name / "t.csv").write_text("a,b\n" + "".join(f"{n},x{n}\n" for n in range(2_000)))
        (self.now / "project/data/small.bin").write_bytes(b"first")
        (self.now / "project/data/big.bin").write_bytes(random.Random(1).randbytes(1_200_000))
        (self.now / "project/dvc/dvc.yaml").write_text("stages:\n  a:\n    cmd: cp x y\n    deps: [x]\n    outs: [y]\n")
        (self.now / "project/stages.yml").write_text(
            "contents:\n  a: {stage: a}\nstages:\n  a: {run: 'date > {out}', outputs: {out: a.txt}}\n"
        )

    def _add_user(self, data: Path, name: str) -> str:
        ended = forked.operate(["user", "add", name, "--data", str(data), "--quiet"]).wait()
        assert ended.code == 0, ended.err
        return ended.out.strip()

    def _fill_registry(self) -> None:
        """Make the registry of which an operator's commands are tried: no server runs in it."""
        served = self.now / "served"
        with forked.serving(served) as (url, _):
            token = self._add_user(served, "me")
            environ = {**self.environ("folder"), "DATAPKG_REGISTRY": url, "DATAPKG_TOKEN": token}
            ended = forked.command(["push", P], environ).wait()
            assert ended.code == 0, ended.err
        self._add_user(served, "bob")
        words = ["export", str(self.now / "exported"), "--data", str(served)]
        assert forked.operate(words).wait().code == 0

    def must(self, *words: str, remote: str = "folder") -> Ended:
        """Run a command that has to succeed."""
        ended = self.run(list(words), remote)
        assert ended.code == 0, f"{words}: {ended.err}"
        return ended

    def restore(self) -> None:
        """Make everything as it was at the beginning."""
        shutil.rmtree(self.now)
        shutil.copytree(self.folder / "template", self.now, symlinks=True)

    def environ(self, remote: str) -> dict[str, str]:
        """Return the settings of a command."""
        named = {"DATAPKG_REGISTRY": self.url, "DATAPKG_TOKEN": self.token}
        registry = (self.now / "registry").as_uri()
        return {
            "DATAPKG_HOME": str(self.now / "home"),
            "DATAPKG_TIMEOUT_S": "20",
            **(named if remote == "server" else {"DATAPKG_REGISTRY": registry}),
        }

    def run(
        self,
        words: list[str],
        remote: str = "folder",
        injection: Injection | None = None,
        limit: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Run a command in the project, with a fault."""
        fills = {"out": self.now / "out", "url": self.url, "token": self.token, "served": self.now / "served"}
        fills |= {"exported": self.now / "exported", "registry": (self.now / "registry").as_uri()}
        words = [word.format(**fills) for word in words]

        def before() -> None:
            os.chdir(self.now / "project")
            limit()

        if words[0] == "registry":
            return forked.operate(words[1:], injection, before).wait()
        return forked.command(words, self.environ(remote), injection, before).wait()


Fault = Callable[[Place, list[str], Line, random.Random], Ended]


def _injected(kind: str, *folders: str) -> Fault:
    """Return the fault that every call of the system has from one of the first on, below some folders."""

    def run(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
        roots = tuple(str(place.now / each) for each in folders)
        at = 1 if kind == "EROFS" else chance.randrange(1, HIDDEN_CALLS)
        return place.run(words, line.remote, Injection(kind, at, roots, lasting=True))

    return run


def _read_only(folder: str) -> Fault:
    def run(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
        target = place.now / folder
        with surroundings.mounted(target, "--bind", str(target)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)
            return place.run(words, line.remote)

    return run


def _small_disk(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
    with surroundings.small_disk(place.now / "home", chance.randrange(SMALL_KB)):
        return place.run(words, line.remote)


def _few_files(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
    def limit(room: int = chance.randrange(6)) -> None:
        most = max(map(int, os.listdir("/proc/self/fd"))) + room
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        taken = []
        with contextlib.suppress(OSError):  # numbers below the limit may be free
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for fd in taken[len(taken) - room :]:
            os.close(fd)

    return place.run(words, line.remote, limit=limit)


def _no_large_files(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
    """Limit the size of files (ulimit -f), less than what a command prints excepted."""
    most = chance.choice([20_000, 100_000, 1_000_000])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return place.run(words, line.remote, limit=limit)


def _little_memory(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
    """Limit the address space (ulimit -v): with the least of it no thread can start, whose stack takes 8 MiB."""
    room = chance.choice([0, 4, 12, 30, 60]) << 20

    def limit() -> None:
        most = room + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return place.run(words, line.remote, limit=limit)


def _none(place: Place, words: list[str], line: Line, chance: random.Random) -> Ended:
    ended = place.run(words, line.remote)
    assert ended.code == 0, f"without a fault: {ended.code}: {ended.err}"
    return ended


# Not the project, in which commands run: names relative to a descriptor would be taken for names in it.
OWN = ("home", "out", "served")
FAULTS: dict[str, Fault] = {
    "none": _none,
    "EROFS home": _injected("EROFS", "home"),
    "ENOSPC": _injected("ENOSPC", *OWN),
    "EIO": _injected("EIO", *OWN),
    "EACCES": _injected("EACCES", *OWN),
    "open files": _few_files,
    "large files": _no_large_files,
    "memory": _little_memory,
}
MOUNTS: dict[str, Fault] = {
    "read-only home": _read_only("home"),
    "read-only project": _read_only("project"),
    "read-only registry": _read_only("served"),
    "small disk": _small_disk,
}


class Trials:
    """Trials in one place, and how they ended."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.faults = {**FAULTS, **(MOUNTS if surroundings.can_mount(place.folder) else {})}
        self.results: Counter[tuple[str, str]] = Counter()
        self.failures: list[tuple[str, str]] = []

    def note(self, kind: str, name: str, seed: int) -> None:
        """Make a trial, and note how it ended."""
        try:
            result = self.run(kind, name, seed)
        except AssertionError as error:
            result = "WRONG"
            self.failures.append((f"--only '{kind}' --command '{name}' --seed {seed}", str(error)))
        self.results[kind, result] += 1

    def run(self, kind: str, name: str, seed: int) -> str:
        """Return how a command ended; raise `AssertionError` where it was not as it should be."""
        line, place = LINES[name], self.place
        words = [*name.split(), *line.text.split()]
        place.restore()
        ended = self.faults[kind](place, words, line, random.Random(f"{name} {seed}"))
        if kind == "memory" and ended.code in ABORTED:
            self._check_after(words, line, ended)
            return "aborted"
        check_end(ended, is_readable=kind != "EIO")
        if kind.endswith(("home", "registry")) and line.reads:
            assert ended.code == 0, f"it only reads: {ended.code}: {ended.err}"
        self._check_after(words, line, ended)
        return "done" if ended.code == 0 else "error"

    def _check_after(self, words: list[str], line: Line, ended: Ended) -> None:
        self._check_whole()
        if ended.code:
            again = self.place.run(words, line.remote)
            assert again.code in line.again, f"the second run: {again.code}: {again.err}"
            self._check_whole()

    def _check_whole(self) -> None:
        found = self.place.run(["verify", "--json"])
        assert found.code == 0, f"verify: {found.out}{found.err}"


def check_end(ended: Ended, *, is_readable: bool) -> None:
    """Assert that a command ended well, or with an error of one or two lines about the fault.

    A file that the disk cannot read counts as damaged.
    """
    assert ended.err != HANGS, "it hangs"
    assert "Traceback" not in ended.err, ended.err[-3000:]
    assert "bug in datapkg" not in ended.err, ended.err
    if ended.code == 0:
        return
    lines = [each for each in ended.err.splitlines() if each and not each.startswith(("note: ", *OF_PYTHON))]
    assert ended.code in ALLOWED or not is_readable, f"{ended.code}: {ended.err}"
    assert any(word in ended.err for word in NAMES) or not is_readable, f"{ended.code}: {ended.err}"
    assert lines[0].startswith("error: "), ended.err
    assert len(lines) <= 3, ended.err
    assert len(lines) == 1 or lines[-1].startswith("hint: "), ended.err


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=0, help="how many, by chance; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="FAULT")
    parser.add_argument("--command", default="", metavar="COMMAND")
    options = parser.parse_args()
    forked.prepare()
    folder = Path(tempfile.mkdtemp(prefix="commands-"))
    try:
        place = Place(folder)
        with place.made():
            trials = Trials(place)
            pairs = [(kind, name) for kind in trials.faults for name in LINES]
            pairs = [each for each in pairs if options.only in ("", each[0]) and options.command in ("", each[1])]
            if options.trials:
                pairs = random.Random(options.seed).sample(pairs, options.trials)
            for kind, name in pairs:
                trials.note(kind, name, options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"seed {options.seed}\n{table(trials.results)}")
    for words, problem in trials.failures:
        print(f"\npython -m tests.faults.commands {words}\n  {problem}")
    return 1 if trials.failures else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
