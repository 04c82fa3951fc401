"""A build, push or install killed at any moment can be run again and ends in a complete, valid state."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.examples import examples
from tests.journeys.conftest import Machine, at, write

KILLS = examples(4, 8)
# Slow imports happen before the command begins, so that kills fall into its work.
COMMAND = """
import sys, time
import pandas, pyarrow.parquet, requests
import datapkg.api.build, datapkg.api.install, datapkg.api.push, datapkg.tables.table_writer, datapkg.remote.http_client
from datapkg.cli.main import main
print("ready", flush=True)
start = time.monotonic()
code = main(sys.argv[1:])
print(time.monotonic() - start, file=sys.stderr)
sys.exit(code)
"""


def files(seed: int) -> dict[str, bytes]:
    """Return small and big files and tables, with other contents for each seed."""
    chance = random.Random(seed)
    small = {f"d{n % 7}/{n}.bin": chance.randbytes(chance.randrange(3000)) for n in range(300)}
    tables = {f"t{n}.csv": f"a,b\n{seed},{n}\n".encode() for n in range(5)}
    return {**small, **tables, "big.bin": chance.randbytes(6 << 20), "same.txt": b"the same in all"}


def duration_s(machine: Machine, *words: str) -> float:
    """Return the seconds that a command takes if it is not killed."""
    with machine.start("-c", COMMAND, *words) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return float(err.splitlines()[-1])  # a slow machine shows progress before it


def kill(machine: Machine, after_s: float, *words: str) -> None:
    """Run a command and kill it."""
    with machine.start("-c", COMMAND, *words) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)


def moments(seed: int, whole_s: float) -> list[float]:
    """Return times spread over work of this duration and slightly beyond its end."""
    chance = random.Random(seed)
    return [1.1 * whole_s * (number + chance.random()) / KILLS for number in range(KILLS)]


def states_here(machine: Machine) -> set[str]:
    """Return the states of the packages on a machine, after checking that all are complete and valid."""
    assert machine.ask("verify")["damaged"] == []
    return {each["hash"] for each in machine.ask("ls")["packages"]}


def test_build_killed_at_any_moment(here: Machine, tmp_path: Path) -> None:
    whole_s = duration_s(here, "build", "me/p", str(write(tmp_path / "first", files(-1))))
    done = states_here(here)
    for seed, after_s in enumerate(moments(1, whole_s)):
        folder = str(write(tmp_path / f"source{seed}", files(seed)))
        kill(here, after_s, "build", "me/p", folder)
        assert len(states_here(here)) == 1
    built = here.ask("build", "me/p", folder)
    clean = Machine({"DATAPKG_HOME": str(tmp_path / "clean")}, tmp_path / "clean-work")
    assert built["hash"] == clean.ask("build", "me/p", folder)["hash"]
    assert states_here(here) == {built["hash"]} != done
    here.ask("export", "me/p", str(tmp_path / "out"))
    assert {
        str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.*"))
    } == (files(KILLS - 1))


def test_push_killed_at_any_moment(person: Person, tmp_path: Path) -> None:
    machine, package = at(person), f"{person.name}/p"
    machine.ask("build", package, str(write(tmp_path / "first", files(-1))))
    whole_s = duration_s(machine, "push", package)
    for seed, after_s in enumerate(moments(2, whole_s)):
        built = machine.ask("build", package, str(write(tmp_path / f"source{seed}", files(seed))))
        kill(machine, after_s, "push", package)
        other = at(person, f"other{seed % 2}")
        assert len({other.ask("install", package)["installed"][0]["hash"]} & states_here(other)) == 1
    pushed = machine.ask("push", package)
    assert pushed["hash"] == built["hash"]
    fresh = at(person, "fresh")
    assert fresh.ask("install", package)["installed"][0]["hash"] == built["hash"]
    assert states_here(fresh) == {built["hash"]}


def test_sync_killed_at_any_moment(person: Person, tmp_path: Path) -> None:
    machine, package, folder = at(person), f"{person.name}/p", tmp_path / "folder"
    write(folder, files(-1))
    whole_s = duration_s(machine, "sync", str(folder), package)
    for seed, after_s in enumerate(moments(5, whole_s)):
        write(folder, files(seed))
        kill(machine, after_s, "sync", str(folder), package)
        other = at(person, f"other{seed % 2}")
        assert len({other.ask("install", package)["installed"][0]["hash"]} & states_here(other)) == 1
    synced = machine.ask("sync", str(folder), package)
    assert states_here(machine) == {synced["hash"]}
    clean = Machine({"DATAPKG_HOME": str(tmp_path / "clean")}, tmp_path / "clean-work")
    assert clean.ask("build", package, str(folder))["hash"] == synced["hash"]
    assert at(person, "fresh").ask("install", package)["installed"][0]["hash"] == synced["hash"]


@pytest.mark.parametrize("then", ["again", "with another build"])
def test_push_killed_after_the_registry_received_everything(person: Person, tmp_path: Path, then: str) -> None:
    machine, package = at(person), f"{person.name}/p"
    machine.ask("build", package, str(write(tmp_path / "one", {"a.txt": "one"})))
    machine.ask("push", package)
    machine.ask("build", package, str(write(tmp_path / "two", {"a.txt": "two"})))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("datapkg.api.push._remember", lambda *_: sys.exit("killed"))
        machine.run("push", package)
    if then != "again":
        machine.ask("build", package, str(write(tmp_path / "three", {"a.txt": "three"})))
    pushed = machine.ask("push", package)["hash"]
    assert at(person, "other").ask("install", package)["installed"][0]["hash"] == pushed


@pytest.mark.parametrize("before", ["nothing", "another state"])
def test_install_killed_at_any_moment(person: Person, tmp_path: Path, before: str) -> None:
    mine, package = at(person), f"{person.name}/p"
    states = []
    for seed in (1, 2):
        states.append(mine.ask("build", package, str(write(tmp_path / f"source{seed}", files(seed))))["hash"])
        mine.ask("push", package)
    whole_s = duration_s(at(person, "first"), "install", package)
    other = at(person, "other")
    allowed: list[set[str]] = [set(), {states[1]}]
    if before != "nothing":
        other.ask("install", f"{package}@sha256:{states[0]}")
        allowed = [{states[0]}, {states[1]}]
    for after_s in moments(3, whole_s):
        kill(other, after_s, "install", package)
        assert states_here(other) in allowed
    last = other.ask("install", package)["installed"][0]
    assert last["hash"] == states[1]
    assert states_here(other) == {states[1]}
    other.ask("export", package, "out")
    assert (other.folder / "out/big.bin").read_bytes() == files(2)["big.bin"]
    assert not [name for name in os.listdir(other.folder) if name.startswith(".datapkg")]


def test_rm_killed_at_any_moment(here: Machine, tmp_path: Path) -> None:
    kept = write(tmp_path / "kept", {**files(1), "own.txt": "own"})
    here.ask("build", "me/kept", str(kept))
    here.ask("build", "me/p", str(write(tmp_path / "source-1", files(2))))
    whole_s = duration_s(here, "rm", "me/p")
    alone = size_bytes(here)
    for number, after_s in enumerate(moments(6, whole_s)):
        here.ask("build", "me/p", str(write(tmp_path / f"source{number}", files(number))))
        kill(here, after_s, "rm", "me/p")
        assert here.ask("verify")["damaged"] == []
        here.run("rm", "me/p", "--json")
        here.ask("rm", "--now")
        assert size_bytes(here) == alone
    here.ask("export", "me/kept", "out")
    assert (here.folder / "out/big.bin").read_bytes() == files(1)["big.bin"]


def test_install_beside_an_rm(person: Person, tmp_path: Path) -> None:
    """Two packages share most of their objects: one is removed repeatedly while the other is installed."""
    mine, packages = at(person), [f"{person.name}/{name}" for name in ("p", "q")]
    for package in packages:
        mine.ask("build", package, str(write(tmp_path / package, {**files(1), "own.txt": package})))
        mine.ask("push", package)
    other = at(person, "other")
    for _ in range(KILLS):
        other.ask("install", packages[0])
        with other.start("-c", COMMAND, "install", packages[1]) as installing:
            with other.start("-c", COMMAND, "rm", packages[0]) as removing:
                removing.communicate(timeout=60)
            _, err = installing.communicate(timeout=60)
        assert installing.returncode == 0, err
        assert len(states_here(other)) == 1
        assert other.ask("show", packages[1])["bytes_absent"] == 0
        other.ask("rm", packages[1])
    other.ask("rm", "--now")
    assert size_bytes(other) == 0


def test_partial_install_does_not_count_removed_objects(person: Person, tmp_path: Path) -> None:
    mine, package = at(person), f"{person.name}/p"
    mine.ask("build", package, str(write(tmp_path / "source", files(1))))
    mine.ask("push", package)
    other = at(person, "other")
    other.ask("install", package)
    other.ask("rm", package)
    other.ask("install", package, "--include", "t*")
    left = sum(len(data) for name, data in files(1).items() if not name.startswith("t"))
    assert other.ask("show", package)["bytes_absent"] == left
    assert other.fail("cat", f"{package}/big.bin")


def size_bytes(machine: Machine) -> int:
    """Return the size of the objects and of the trash of a machine."""
    folder = machine.home.store.folder
    places = [folder / name for name in ("objects", "packs", "trash", "partial", "links")]
    return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())


def test_export_killed_at_any_moment(here: Machine, tmp_path: Path) -> None:
    here.ask("build", "me/p", str(write(tmp_path / "source", files(1))))
    whole_s = duration_s(here, "export", "me/p", str(tmp_path / "measured"))
    for number, after_s in enumerate(moments(4, whole_s)):
        target = tmp_path / f"out{number}"
        kill(here, after_s, "export", "me/p", str(target))
        assert not target.exists() or len(list(target.rglob("*.*"))) == len(files(1))
    here.ask("export", "me/p", str(tmp_path / "last"))


PIPELINE = """
contents: {upper: {stage: upper, transform: id}, big: {stage: big, transform: id}}
stages:
  upper: {shell: true, run: "tr a-z A-Z < {words} > {out}", inputs: {words: words.txt}, outputs: {out: upper.txt}}
  big: {shell: true, run: "for n in $(seq 300); do cat {a}; done > {out}", inputs: {a: stages.upper}, outputs: {out: o}}
"""


def test_two_people_share_a_run_cache_while_one_is_killed(
    person: Person, new_person: Callable[[], Person], tmp_path: Path
) -> None:
    """Both push their results; whatever was pushed when one is killed is whole, and the other never notices."""
    bob, package = new_person(), f"{person.name}/p"
    mine, theirs, third = at(person), at(bob), at(bob, "third")
    mine.ask("build", package, str(write(tmp_path / "first", {"a.txt": "a"})))
    mine.ask("push", package)
    mine.ask("access", "add", package, bob.name, "--write")

    def folder(name: str, number: int) -> str:
        words = f"{number} words\n" * 500
        return str(write(tmp_path / f"{name}{number}", {"build.yml": PIPELINE, "words.txt": words}))

    words = ["--push-cache", "--pull-cache"]
    whole_s = duration_s(mine, "build", package, folder("mine", -1), *words)
    for number, after_s in enumerate(moments(7, whole_s)):
        with theirs.start("-c", COMMAND, "build", package, folder("theirs", number), *words) as other:
            kill(mine, after_s, "build", package, folder("mine", number), *words)
            _, err = other.communicate(timeout=100)
        assert other.returncode == 0, err
        again = mine.ask("build", package, folder("mine", number), *words)
        taken = third.ask("build", package, folder("third", number), "--pull-cache")
        assert {each["action"] for each in taken["stages"]} == {"taken"}, taken
        assert again["hash"] == taken["hash"] == theirs.ask("show", package)["hash"]
        assert third.ask("verify")["damaged"] == mine.ask("verify")["damaged"] == []
        assert third.run("cat", f"{package}/big").out == f"{number} WORDS\n" * 500 * 300
