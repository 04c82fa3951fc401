"""What a run leaves at the places that are read after it: links, pipes and devices are neither read nor waited for."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

import datapkg
from datapkg.building.stages.metrics import kept_metrics
from datapkg.errors import InvalidBuildFile, StageFailed
from datapkg.objects.memory import MemoryObjects
from tests.building.stages.test_stages import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def write(project: Project, command: str, output: str = "out.txt", more: str = "") -> None:
    project.write(
        build_yml=f"""
contents: {{out: {{stage: s}}}}
stages:
  s:
    shell: true
    run: {json.dumps(command)}
    outputs: {{out: {output}}}
    {more}
"""
    )


@pytest.mark.parametrize(
    "left",
    ["mkfifo {0}", "ln -s /dev/zero {0}", "mkdir {0}", "ln -s /etc/passwd {0}"],
    ids=["pipe", "device", "folder", "link"],
)
def test_metrics_and_notes_that_are_not_files(project: Project, left: str) -> None:
    places = left.format('"$DATAPKG_METRICS"'), left.format('"$DATAPKG_STAGE_MODULES"/1')
    write(project, " && ".join([*places, "echo words > {out}"]))
    done = project.build()
    assert [each["action"] for each in done.stages] == ["ran"]
    assert [each for each in done.warnings if "are not a regular file" in each]
    assert datapkg.load("me/data")["out"]().read_text() == "words\n"


def test_a_failed_run_with_such_metrics_says_why_it_failed(project: Project) -> None:
    write(project, 'mkdir "$DATAPKG_METRICS"; exit 3')
    with pytest.raises(StageFailed, match="ended with exit code 3"):
        project.build()


def test_metrics_are_not_written_through_a_link(project: Project, tmp_path: Path) -> None:
    """A container may write into the folder of its metrics, and nowhere else on the machine."""
    (tmp_path / "mine").write_text("mine")
    link = f'ln -s {tmp_path}/mine "$(dirname "$DATAPKG_METRICS")"/kept-metrics.jsonl'
    report = """echo '{{"loss": 1}}' > "$DATAPKG_METRICS" """
    write(project, f"{link} && {report} && echo a > {{out}}")
    project.build()
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("output", ["out.txt", "out/"])
def test_the_folder_of_an_output_that_is_a_link(project: Project, tmp_path: Path, output: str) -> None:
    secret = tmp_path / "secret"
    (secret / "out").mkdir(parents=True)
    (secret / "out.txt").write_text("secret")
    (secret / "out" / "a.txt").write_text("secret")
    parent = 'rm -r "$(dirname {out})" && ln -s ' + shlex.quote(str(secret)) + ' "$(dirname {out})"'
    write(project, parent, output)
    with pytest.raises(StageFailed, match="is not a regular file"):
        project.build()


def test_bad_lines_of_metrics_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "metrics" / "metrics.jsonl"
    file.parent.mkdir()
    file.write_text("x\n" * 6)
    nodes, problems = kept_metrics(file, MemoryObjects())
    assert nodes == []
    assert len(problems) == 4
    assert problems[-1] == "3 more lines of its metrics are wrong"


def test_a_sparse_file_of_metrics_ends(tmp_path: Path) -> None:
    file = tmp_path / "metrics" / "metrics.jsonl"
    file.parent.mkdir()
    file.write_bytes(b'{"loss": 1}\n')
    os.truncate(file, 1 << 42)
    nodes, problems = kept_metrics(file, MemoryObjects())
    assert len(nodes) == 1
    assert [each for each in problems if "more than 1,073,741,824 bytes" in each]


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("[no-such-program]", "stage 's' .*: 'no-such-program' cannot be run: No such file"),
        (r'["true", "a\0b"]', "stage 's' .*: 'true' cannot be run: embedded null byte"),
        (f'["{sys.executable}", "{"x" * 200_000}"]', "cannot be run: Argument list too long"),
    ],
    ids=["no program", "null", "too long"],
)
def test_what_cannot_be_started_names_its_stage(project: Project, run: str, problem: str) -> None:
    project.write(build_yml=f"contents: {{r: {{results_of: s}}}}\nstages:\n  s:\n    run: {run}\n")
    with pytest.raises(StageFailed, match=problem) as caught:
        project.build()
    assert caught.value.hint


@pytest.mark.parametrize("name", [r"a\0b", r"a\nb", "x" * 300, "..", "/etc/x", "a/../../b"])
def test_output_names_that_no_file_can_have(project: Project, name: str) -> None:
    write(project, "echo a > {out}", f'"{name}"')
    with pytest.raises(InvalidBuildFile, match=r"stages\.s\.outputs\.out: expected the name of a file"):
        project.build()


def test_labels_keep_the_sign_of_numbers(project: Project) -> None:
    write(project, "echo {p} > {out}", more="matrix: {p: [-0.5, 0.5], q: [-1]}")
    names = [each["stage"] for each in project.build().stages]
    assert sorted(names) == ["s@-0.5--1", "s@0.5--1"]
    assert datapkg.load("me/data")["out/-0.5--1"]().read_text() == "-0.5\n"
