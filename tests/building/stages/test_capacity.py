"""What runs at once stays within the machine and within what the build file allows."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.building.spec.model import Resources, Stage
from datapkg.building.spec.options import BuildOptions
from datapkg.building.stages.capacity import InUse, Machine, check_fits, this_machine
from datapkg.errors import InvalidBuildFile, InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home

GB = 10**9
MACHINE = Machine(4, 8 * GB, ("0", "3"))
# Says when it began and ended, in nanoseconds, and which GPUs it sees.
SPAN = """
import os, sys, time
began = time.monotonic_ns()
time.sleep(0.15)
print(began, time.monotonic_ns(), os.environ.get("CUDA_VISIBLE_DEVICES", "none"), file=open(sys.argv[1], "w"))
"""


def stage(name: str, cpu: float = 1, memory: int = 0, gpu: int = 0, concurrency: int | None = None) -> Stage:
    return Stage(name, resources=Resources(cpu, memory, gpu), concurrency=concurrency, place="build.yml:7: stages")


def begun(in_use: InUse, *stages: Stage) -> list[str]:
    return [each.name for each in stages if in_use.begin(each) is not None]


@pytest.mark.parametrize(
    ("stages", "together"),
    [
        ([stage("a", 3), stage("b", 2), stage("c", 1)], ["a", "c"]),
        ([stage(name, 0.1) for name in "abcdefghij"], list("abcdefghij")),
        ([stage("a", 1, 5 * GB), stage("b", 1, 4 * GB), stage("c", 1, 3 * GB)], ["a", "c"]),
        ([stage("a", gpu=1), stage("b", gpu=2), stage("c", gpu=1)], ["a", "c"]),
        ([stage("m@1", concurrency=2), stage("m@2", concurrency=2), stage("m@3", concurrency=2)], ["m@1", "m@2"]),
    ],
    ids=["cores", "parts of cores", "memory", "GPUs", "concurrency"],
)
def test_sums_stay_within_the_machine(stages: list[Stage], together: list[str]) -> None:
    in_use = InUse(MACHINE)
    assert begun(in_use, *stages) == together
    for each in stages:
        if each.name in together:
            in_use.end(each)
    left = [each for each in stages if each.name not in together]
    assert begun(in_use, *left) == [each.name for each in left]


def test_gpus_are_distinct_and_come_back() -> None:
    in_use = InUse(MACHINE)
    one, other = stage("a", gpu=1), stage("b", gpu=1)
    assert (in_use.begin(one), in_use.begin(other), in_use.begin(stage("c", gpu=1))) == (["0"], ["3"], None)
    in_use.end(one)
    assert in_use.begin(stage("d", gpu=1)) == ["0"]


@pytest.mark.parametrize(
    ("wants", "what"),
    [
        (stage("big", 5), "'big' wants 5 cores, and 4 may be used"),
        (stage("big", 1, 9 * GB), "'big' wants 9.0 GB of memory, and there are 8.0 GB"),
        (stage("big@0.1", gpu=3), "'big' wants 3 GPUs, and there are 2"),
    ],
)
def test_what_no_machine_has_is_refused_with_its_line(wants: Stage, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as found:
        check_fits([stage("small"), wants], MACHINE)
    assert "build.yml:7: " in str(found.value)
    assert "small" not in str(found.value)


def test_gpus_of_a_machine_are_those_that_the_user_may_see() -> None:
    assert this_machine({"CUDA_VISIBLE_DEVICES": "1, 2"}).gpus == ("1", "2")
    assert this_machine({"CUDA_VISIBLE_DEVICES": ""}).gpus == ()
    assert this_machine({}, 3).cpu == 3


def build_file(folder: Path, more: str) -> None:
    (folder / "span.py").write_text(SPAN)
    (folder / "build.yml").write_text(f"""
contents: {{spans: {{stage: span}}}}
stages:
  span:
    run: "{sys.executable} span.py {{out}}"
    foreach: [1, 2, 3]
    outputs: {{out: span.txt}}
    {more}
""")


def spans(folder: Path, **environ: str) -> list[list[str]]:
    home = Home({**Home().settings.environ, **environ})
    build_package(home, Ref("me", "data"), folder, BuildOptions(jobs=3))
    package = datapkg.load("me/data")
    return sorted(package[f"spans/{name}"]().read_text().split() for name in ("1", "2", "3"))


@pytest.mark.parametrize("more", ["concurrency: 1", "resources: {cpu: 2}", "resources: {gpu: 2}"])
def test_one_runs_after_the_other(tmp_path: Path, more: str) -> None:
    build_file(tmp_path, more)
    found = spans(tmp_path, CUDA_VISIBLE_DEVICES="4,5")
    assert all(int(before[1]) <= int(after[0]) for before, after in pairwise(found))
    assert {each[2] for each in found} == {"4,5"}


def test_each_stage_sees_the_gpus_that_it_wants(tmp_path: Path) -> None:
    build_file(tmp_path, "resources: {gpu: 1}")
    found = spans(tmp_path, CUDA_VISIBLE_DEVICES="4,5")
    overlapping = [(a, b) for a in found for b in found if a is not b and int(a[0]) <= int(b[0]) < int(a[1])]
    assert all(a[2] != b[2] for a, b in overlapping)
    assert {each[2] for each in found} <= {"4", "5"}


def test_a_build_of_a_stage_that_is_too_big_runs_nothing(tmp_path: Path) -> None:
    build_file(tmp_path, "resources: {cpu: 4}")
    with pytest.raises(InvalidInput, match=r"build\.yml:4: .*'span' wants 4 cores, and 3 may be used") as found:
        spans(tmp_path)
    assert found.value.hint == "datapkg build USER/NAME --jobs 4"
    assert not list(Home().store.folder.glob("stages/*"))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("concurrency: 0", r"build\.yml:8: .*concurrency: expected a number from 1"),
        ("resources: 2", r"build\.yml:8: .*resources: expected a mapping such as"),
        ("resources: {cpu: many}", "cpu: expected a number of cores such as 2 or 0.5, got 'many'"),
        ("resources: {cpu: 0}", "cpu: expected a number of cores"),
        ("resources: {memory: 4 apples}", "memory: expected a size such as 4 GB"),
        ("resources: {gpus: 1}", "there is no such resource.*gpu"),
    ],
)
def test_mistakes_are_shown_with_their_line(tmp_path: Path, more: str, what: str) -> None:
    build_file(tmp_path, more)
    with pytest.raises(InvalidBuildFile, match=what):
        spans(tmp_path)
