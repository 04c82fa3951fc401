"""A mistake in a build file is reported once: what refers to the part with the mistake is not another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.building.spec.parser import read_build_file
from datapkg.errors import InvalidBuildFile

READS = "{run: 'x {a} {out}', inputs: {a: contents.raw}, outputs: {out: o}}"
USES = "t: {run: 'x {a} {out}', inputs: {a: stages.s.out}, outputs: {out: o}}"


@pytest.mark.parametrize(
    ("stages", "place"),
    [
        ("{s: {run: 'x {out}', outputs: {out: /o}}}", "stages.s.outputs.out"),
        ("{s: {run: 'x {out}', outputs: [out]}}", "stages.s.outputs"),
        ("{s: {run: 'x {lr} {out}', matrix: {lr: foo}, outputs: {out: o}}}", "stages.s.matrix.lr"),
        ("{s: {run: 'x {lr} {out}', matrix: [lr], outputs: {out: o}}}", "stages.s.matrix"),
        ("{s: {run: 'x {item} {out}', foreach: 3, outputs: {out: o}}}", "stages.s.foreach"),
        ("{s: {run: 'x {item} {out}', foreach: [[1]], outputs: {out: o}}}", "stages.s.foreach"),
        ("{s: {run: 'x {a} {out}', inputs: {a: nothing}, as: {a: csv}, outputs: {out: o}}}", "stages.s.inputs.a"),
        ("{s: {run: 'x {a} {out}', inputs: [a], outputs: {out: o}}}", "stages.s.inputs"),
        ("{s: {run: 'x {a} {out}', params: [a], outputs: {out: o}}}", "stages.s.params"),
        ("{s: {run: 'x {lr} {out}', matrix: {lr: [1, 2]}, inputs: {b: stages.q}, outputs: {out: o}}}",
         "stages.s.inputs.b"),
        (f"{{s: 3, {USES}}}", "stages.s"),
        (f"{{s: {{run: x, outputs: {{out: o}}, retries: -1}}, {USES}}}", "stages.s.retries"),
        ("{s: {run: x}}", "contents.x"),
        ("{s: {run: x, outputs: {a: a, b: b}}}", "contents.x"),
        ("[s]", "stages"),
    ],
)  # fmt: skip
def test_in_a_stage(tmp_path: Path, stages: str, place: str) -> None:
    check(tmp_path, f"contents: {{x: {{stage: s}}}}\nstages: {stages}\n", place)


@pytest.mark.parametrize(
    ("contents", "place"),
    [
        ("{raw: {file: nothing.csv}}", "contents.raw.file"),
        ("{raw: {'nothing/*.csv': {}}}", "contents.raw.nothing/*.csv"),
        ("{raw: 3}", "contents.raw"),
        ("{raw: {below: {deep: {file: nothing.csv}}}}", "contents.raw.below.deep.file"),
        ("[raw]", "contents"),
    ],
)
def test_in_a_node_that_a_stage_reads(tmp_path: Path, contents: str, place: str) -> None:
    check(tmp_path, f"contents: {contents}\nstages: {{s: {READS}}}\n", place)


def test_a_name_of_no_stage_is_not_taken_for_another_mistake(tmp_path: Path) -> None:
    text = "contents: {x: {stage: my-s}}\nstages: {my-s: {run: x, outputs: {out: o}}}\n"
    check(tmp_path, text, "stages.my-s")


def test_of_two_mistakes_both_are_named(tmp_path: Path) -> None:
    text = f"contents: {{raw2: {{file: nothing.csv}}}}\nstages: {{s: {READS}}}\n"
    with pytest.raises(InvalidBuildFile) as found:
        read(tmp_path, text)
    named = [what for _, what in found.value.problems]
    assert "there is no file 'nothing.csv'" in named
    assert "there is no node 'raw' in contents" in named


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ("{}", "stage 's' has no `outputs`; a table of its metrics is {results_of: s}"),
        ("{a: a, b: b}", "stage 's' has 2 outputs; name one of them: a, b"),
    ],
)
def test_a_stage_of_which_no_output_is_named(tmp_path: Path, outputs: str, problem: str) -> None:
    with pytest.raises(InvalidBuildFile) as found:
        read(tmp_path, f"contents: {{x: {{stage: s}}}}\nstages: {{s: {{run: x, outputs: {outputs}}}}}\n")
    assert [what for _, what in found.value.problems] == [problem]


def read(folder: Path, text: str) -> None:
    path = folder / "build.yml"
    path.write_text(text)
    read_build_file(path)


def check(folder: Path, text: str, place: str) -> None:
    with pytest.raises(InvalidBuildFile) as found:
        read(folder, text)
    assert [each.rpartition(": ")[2] for each, _ in found.value.problems] == [place], found.value.problems
