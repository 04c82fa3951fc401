"""One stage for each combination of params: all of a matrix, or those that a random search tries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.graph import graph
from datapkg.building.spec.options import BuildOptions
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import InvalidBuildFile
from datapkg.format.names import Ref
from datapkg.home import Home

TRAIN = "import json, sys; json.dump({'lr': float(sys.argv[1]), 'layers': int(sys.argv[2])}, open(sys.argv[3], 'w'))"


def build_file(folder: Path, matrix: str, more: str = "") -> Path:
    path = folder / "build.yml"
    path.write_text(
        f"""
contents:
  runs: {{stage: train, transform: id, meta: {{title: All runs}}}}
  total: {{stage: sum}}
stages:
  train:
    run: [{sys.executable}, -c, "{TRAIN}", "{{lr}}", "{{layers}}", "{{out}}"]
    {matrix}
    outputs: {{out: run.json}}
  sum:
    run: [{sys.executable}, sum.py, "{{runs}}", "{{out}}"]
    inputs: {{runs: stages.train}}
    outputs: {{out: total.txt}}
{more}
"""
    )
    (folder / "sum.py").write_text(
        "import json, pathlib, sys\n"
        "found = sorted((path.parent.name, json.loads(path.read_text())['layers'])"
        " for path in pathlib.Path(sys.argv[1]).rglob('*.json'))\n"
        "open(sys.argv[2], 'w').write(repr(found))\n"
    )
    return path


def params(path: Path) -> list[dict[str, object]]:
    return [dict(stage.params) for stage in read_build_file(path).stages if stage.name != "sum"]


def test_a_node_for_each_combination(tmp_path: Path) -> None:
    path = build_file(tmp_path, "matrix: {lr: [0.1, 0.2], layers: {values: [3, 4]}}")
    home, ref = Home(), Ref("me", "sweep")
    done = build_package(home, ref, path, BuildOptions())
    assert [each["action"] for each in done.stages] == ["ran"] * 5
    package = datapkg.load("me/sweep")
    assert list(package.runs) == ["0.1-3", "0.1-4", "0.2-3", "0.2-4"]
    assert package.runs["0.2-3"]().read_text() == '{"lr": 0.2, "layers": 3}'
    assert package.runs.meta == {"title": "All runs"}
    assert eval(package.total().read_text()) == [("0.1-3", 3), ("0.1-4", 4), ("0.2-3", 3), ("0.2-4", 4)]

    build_file(tmp_path, "matrix: {lr: [0.1, 0.2, 0.3], layers: [3, 4]}")
    again = build_package(home, ref, path, BuildOptions())
    actions = {each["stage"]: each["action"] for each in again.stages}
    assert [name for name, action in actions.items() if action == "ran"] == ["train@0.3-3", "train@0.3-4", "sum"]
    forced = build_package(home, ref, path, BuildOptions(again=("train",)))
    assert {each["action"] for each in forced.stages} == {"ran"}


def test_one_of_the_combinations_as_an_input_and_a_node(tmp_path: Path) -> None:
    path = build_file(tmp_path, "matrix: {lr: [0.1, 0.2], layers: [3]}")
    text = path.read_text().replace("contents:", "contents:\n  one: {stage: train@0.2-3, transform: id}", 1)
    text += "  copy: {run: cp {one} {out}, inputs: {one: stages.train@0.1-3.out}, outputs: {out: copy}}\n"
    text = text.replace("contents:", "contents:\n  copied: {stage: copy, transform: id}", 1)
    path.write_text(text.replace("run: cp {one} {out}", "run: 'cp {one} {out}'"))
    build_package(Home(), Ref("me", "sweep"), path, BuildOptions())
    package = datapkg.load("me/sweep")
    assert package.copied().read_text() == '{"lr": 0.1, "layers": 3}'
    assert package.one().read_text() == '{"lr": 0.2, "layers": 3}'
    assert "train → copy, sum, contents.one, contents.runs" in graph(path).splitlines()[0]
    again = build_package(Home(), Ref("me", "sweep"), path, BuildOptions(again=("train@0.1-3",)))
    assert {each["stage"] for each in again.stages if each["action"] == "ran"} == {"train@0.1-3", "copy", "sum"}


@pytest.mark.parametrize("text", ["stages.train@0.3-3.out", "stages.train@0.1-3.other", "stages.train@0.1"])
def test_a_combination_that_does_not_exist(tmp_path: Path, text: str) -> None:
    path = build_file(tmp_path, "matrix: {lr: [0.1, 0.2], layers: [3]}")
    path.write_text(path.read_text() + f"  copy: {{run: cp, inputs: {{one: {text}}}, outputs: {{o: copy}}}}\n")
    with pytest.raises(
        InvalidBuildFile, match=r"stages\.copy\.inputs\.one: (there is no stage|stage .* has no output)"
    ):
        read_build_file(path)


def test_foreach(tmp_path: Path) -> None:
    path = build_file(tmp_path, "foreach: [{lr: 0.1, layers: 3}, {lr: 0.5, layers: 9}]")
    assert params(path) == [{"lr": 0.1, "layers": 3}, {"lr": 0.5, "layers": 9}]
    path.write_text(
        "contents: {}\nstages: {get: {run: 'cp {item} {out}', foreach: [a.csv, b.csv, 日本], outputs: {out: o}}}\n"
    )
    stages = read_build_file(path).stages
    assert [(each.name, each.params) for each in stages] == [
        ("get@a.csv", {"item": "a.csv"}),
        ("get@b.csv", {"item": "b.csv"}),
        ("get@日本", {"item": "日本"}),
    ]


def test_sequences(tmp_path: Path) -> None:
    matrix = 'matrix: {lr: {linspace: "0:1:5"}, layers: "range:44:47:1"}'
    found = params(build_file(tmp_path, matrix))
    assert [each["lr"] for each in found[::3]] == [0, 0.25, 0.5, 0.75, 1]
    assert [each["layers"] for each in found[:3]] == [44, 45, 46]
    found = params(build_file(tmp_path, 'matrix: {lr: {logspace: "-2:0:3"}, layers: {geomspace: "1:100:3"}}'))
    assert [each["lr"] for each in found[::3]] == pytest.approx([0.01, 0.1, 1])
    assert [each["layers"] for each in found[:3]] == pytest.approx([1, 10, 100])


def test_a_random_search_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    matrix = 'matrix: {lr: {loguniform: "0.001:0.1"}, layers: [3, 4]}\n    search: {random: {n: 8, seed: 1}}'
    found = params(build_file(tmp_path, matrix))
    assert len(found) == 8
    assert params(build_file(tmp_path, matrix)) == found
    assert {each["layers"] for each in found} <= {3, 4}
    assert all(0.001 <= float(str(each["lr"])) <= 0.1 for each in found)
    assert len({each["lr"] for each in found}) == 8
    assert params(build_file(tmp_path, matrix.replace("seed: 1", "seed: 2"))) != found


@pytest.mark.parametrize(
    "text",
    ["linspace:0:1:3", "{linspace: 0:1:3}", "{linspace: [0, 1, 3]}", "{linspace: {start: 0, stop: 1, num: 3}}",
     "{kind: linspace, value: [0, 1, 3]}", "{values: [0, 0.5, 1]}", "{kind: choice, value: [0, 0.5, 1]}"],
)  # fmt: skip
def test_every_way_to_write_the_values(tmp_path: Path, text: str) -> None:
    assert [each["lr"] for each in params(build_file(tmp_path, f"matrix: {{lr: {text}, layers: [1]}}"))] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("text", "low", "high", "multiple"),
    [
        ("uniform: 1:2", 1, 2, 0),
        ("loguniform: 1:2", 1, 2, 0),
        ("quniform: 16:128:16", 16, 128, 16),
        ("qloguniform: 1:100:0.1", 1, 100, 0.1),
        ("normal: 0:1", -10, 10, 0),
        ("qnormal: {loc: 0, scale: 5, q: 0.5}", -50, 50, 0.5),
        ("lognormal: 0:1", 0, 20_000, 0),
        ("qlognormal: [0, 1, 2]", 0, 20_000, 2),
        ("pvalues: [[3, 0.5], [9, 0.5], [100, 0]]", 3, 9, 3),
    ],
)
def test_distributions(tmp_path: Path, text: str, low: float, high: float, multiple: float) -> None:
    matrix = f"matrix: {{lr: {{{text}}}, layers: {{quniform: 1:1000:1}}}}\n    search: {{random: {{n: 50, seed: 1}}}}"
    found = params(build_file(tmp_path, matrix))
    values = [float(str(each["lr"])) for each in found]
    assert len(found) == 50
    assert len(set(values)) > 1
    assert all(low <= each <= high for each in values)
    if multiple:
        assert all(each / multiple == pytest.approx(round(each / multiple)) for each in values)
    assert all(type(each["layers"]) is int for each in found)


def test_a_random_search_tries_nothing_twice(tmp_path: Path) -> None:
    found = params(build_file(tmp_path, "matrix: {lr: [1, 2], layers: [3, 4]}\n    search: {random: {n: 9}}"))
    assert sorted(tuple(each.values()) for each in found) == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_a_matrix_is_one_item_of_the_graph(tmp_path: Path) -> None:
    path = build_file(tmp_path, "matrix: {lr: [0.1, 0.2], layers: [3, 4]}")
    assert graph(path).splitlines() == ["train → sum, contents.runs", "train → sum → contents.total"]


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        ("matrix: {lr: [], layers: [1]}", "stages.train.matrix.lr: has no values"),
        (
            "matrix: {lr: 'linspace:1:2', layers: [1]}",
            "expected START:STOP:NUM, numbers such as linspace:0.001:0.1:5, got '1:2' (wrong count)",
        ),
        ("matrix: {lr: 'uniform:0:1', layers: [1]}", "is drawn at random; add search"),
        ("matrix: {lr: 'linspaze:0:1:2', layers: [1]}", "did you mean 'linspace'"),
        ("matrix: {lr: 'range:0:1:0.00001', layers: [1]}", "has more than 10,000 combinations"),
        ("matrix: {lr: 'loguniform:-1:1', layers: [1]}", "expected LOW:HIGH, numbers such as loguniform:0.1:0.5"),
        ("matrix: {lr: 'quniform:0:1:0', layers: [1]}", "(the numbers do not fit)"),
        ("matrix: {lr: {linspace: {start: 0, end: 1}}, layers: [1]}", "expected START:STOP:NUM"),
        ("matrix: {lr: {pvalues: [[1, x]]}, layers: [1]}", "expected pairs of a value and its probability"),
        ("matrix: {lr: {uniform: 0:1, normal: 0:1}, layers: [1]}", "or one way to make values"),
        ("matrix: {lr: [1], layers: [1]}\n    foreach: [1]", "has both `foreach` and `matrix`"),
        ("foreach: []", "expected a list of values"),
        ("foreach: [{lr: 1, layers: 2}, {lr: 1}]", "has mappings with different names"),
        ("matrix: {lr: [1], layers: [1]}\n    search: {random: {n: 0}}", "n from 1 to 10,000"),
        ("matrix: {lr: [1], layers: [1]}\n    search: {best: 3}", "expected {random: {n: 10, seed: 1}}"),
        ("matrix: {lr: [1], layers: [1], out: [1]}", "has two things of the name 'out'"),
        ("search: {random: {n: 3}}", "goes with `matrix`"),
    ],
)
def test_mistakes(tmp_path: Path, matrix: str, problem: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(build_file(tmp_path, matrix))
    assert problem in caught.value.message
