"""Files of Polyaxon 1, components and operations, become build files that build."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run
from tests.cli.test_import_from import converted, exported, write

COMPONENT = f"""\
version: 1.1
kind: component
name: digits
tags: [examples]
inputs:
- {{name: size, type: int, value: 32, isOptional: true}}
- {{name: dropout, type: float, value: 0.2, isOptional: true}}
- {{name: epochs, type: int}}
outputs: [{{name: loss, type: float}}]
run:
  kind: job
  init: [{{git: {{url: "https://example.org/x"}}}}]
  container:
    workingDir: "{{{{ globals.artifacts_path }}}}"
    command: [{sys.executable}, train.py]
    args:
    - "--size={{{{ size }}}}"
    - "{{{{ params.dropout.as_arg }}}}"
    - "it's {{x}}"
    - "{{{{ epochs }}}}"
    - "{{{{globals.outputs_path}}}}"
    env:
    - {{name: GREETING, value: "a $b"}}
    - {{name: SECRET, valueFrom: {{secretKeyRef: {{name: x}}}}}}
    resources: {{requests: {{cpu: 500m, memory: 512Mi}}}}
"""
OPERATION = """\
version: 1.1
kind: operation
matrix:
  kind: random
  concurrency: 2
  numRuns: 3
  seed: 7
  params:
    size: {kind: choice, value: [32, 64]}
    dropout: {kind: uniform, value: 0:1}
    when: {kind: daterange, value: [1]}
  earlyStopping:
  - {kind: metric_early_stopping, metric: loss, value: 0.01, optimization: minimize}
params:
  epochs: {value: 4}
  other: {ref: ops.before, value: outputs.x}
pathRef: ./polyaxonfile.yml
"""
TRAIN = """\
import json, os, sys
json.dump([*sys.argv[1:-1], os.environ["GREETING"]], open(sys.argv[-1] + "/args.json", "w"))
"""


@pytest.fixture(autouse=True)
def files(run: Run) -> None:
    write(COMPONENT, "polyaxonfile.yml")
    write(OPERATION, "operation.yml")
    write(TRAIN, "train.py")


def stage() -> dict[str, object]:
    (found,) = yaml.safe_load(Path("build.yml").read_text())["stages"].values()
    return dict(found)


def found(run: Run) -> list[list[str]]:
    return [json.loads(path.read_text()) for path in sorted(exported(run).rglob("args.json"))]


def test_an_operation_over_a_matrix_with_the_component_of_another_file(run: Run) -> None:
    left = converted(run, "polyaxon", "operation.yml")
    assert left == [
        (11, "matrix.params.when"),
        (16, "params.other"),
        (9, "outputs"),
        (12, "run.init"),
        (14, "run.container.workingDir"),
        (24, "run.container.env.2.valueFrom"),
    ]
    made = stage()
    assert made["matrix"] == {"size": {"values": [32, 64]}, "dropout": {"uniform": "0:1"}}
    assert (made["search"], made["concurrency"]) == ({"random": {"n": 3, "seed": 7}}, 2)
    assert (made["params"], made["resources"]) == ({"epochs": 4}, {"cpu": 0.5, "memory": "512MiB"})
    assert made["early_stopping"] == [
        {"kind": "metric_early_stopping", "metric": "loss", "optimization": "minimize", "value": 0.01}
    ]
    args = found(run)
    assert len(args) == 3
    assert {each[0] for each in args} <= {"--size=32", "--size=64"}
    assert {each[1][:12] for each in args} == {"--dropout=0."}
    assert {tuple(each[2:]) for each in args} == {("it's {x}", "4", "a $b")}


def test_a_mapping_in_an_operation_with_its_component(run: Run) -> None:
    component = "{inputs: [{name: a}], run: {kind: job, container: {command: [bash, -c], args: ['echo {{ a }} > "
    component += "$POLYAXON_RUN_OUTPUTS_PATH/a.txt']}}}"
    matrix = "{kind: mapping, values: [{a: 1}, {a: 2}]}"
    write(f"version: 1.1\nkind: operation\nname: two\nmatrix: {matrix}\ncomponent: {component}\n", "operation.yml")
    assert converted(run, "polyaxon", "operation.yml") == []
    out = exported(run)
    assert [path.read_text() for path in sorted(out.rglob("a.txt"))] == ["1\n", "2\n"]


def test_a_component_alone_has_its_own_values(run: Run) -> None:
    write(COMPONENT.replace("type: int}", "type: int, value: 9}"), "polyaxonfile.yml")
    converted(run, "polyaxon", "polyaxonfile.yml")
    assert found(run) == [["--size=32", "--dropout=0.2", "it's {x}", "9", "a $b"]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pathRef: ./polyaxonfile.yml", "hubRef: kaniko", "component: expected a component, or the path of its file"),
        ("./polyaxonfile.yml", "../polyaxonfile.yml", "'../polyaxonfile.yml' is not a file beside operation.yml"),
        ("./polyaxonfile.yml", "operation.yml", "operation.yml:2: kind: expected component, got 'operation'"),
        ("  epochs: {value: 4}\n", "", "run.container.command: '{{ epochs }}' is neither declared nor in the matrix"),
        ("kind: operation", "kind: schedule", "expected group, experiment, job, component or operation"),
    ],
)
def test_mistakes(run: Run, old: str, new: str, expected: str) -> None:
    write(OPERATION.replace(old, new), "operation.yml")
    ended = run("import-from", "polyaxon", "operation.yml")
    assert ended.code == 2
    assert expected in ended.err


def test_another_kind_of_run(run: Run) -> None:
    write("version: 1.1\nkind: component\nrun: {kind: dag, operations: []}\n", "operation.yml")
    ended = run("import-from", "polyaxon", "operation.yml")
    assert (ended.code, "operation.yml:3: run.kind: expected job, got 'dag'" in ended.err) == (2, True)


def test_the_matrix_of_the_first_versions(run: Run) -> None:
    write("version: 1\nmatrix: {lr: {values: [1, 2]}}\nrun: {cmd: 'echo {{ lr }}'}\n", "operation.yml")
    assert converted(run, "polyaxon", "operation.yml") == []
    assert stage()["matrix"] == {"lr": {"values": [1, 2]}}
