"""Metrics that runs report become the table of results, with params and the exact data that each run read."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.api.gc import free_space
from datapkg.building.spec.model import Stage, StopRule
from datapkg.building.spec.options import BuildOptions
from datapkg.building.spec.parser import read_build_file
from datapkg.building.stages import metrics
from datapkg.building.stages.early_stopping import EarlyStopping
from datapkg.errors import InvalidBuildFile, InvalidInput, StageFailed, WrongType
from datapkg.format.metrics import MAX_LINE_BYTES, checked_report, encode_report, parse_report
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.memory import MemoryObjects
from datapkg.store.gc import Policy
from tests.building.stages.test_stages import Project

PYTHON = sys.executable
TRAIN = """
import os, sys
import datapkg
lr, layers, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
open("ran.txt", "a").write(f"{lr}-{layers} ")
for step in range(3):
    datapkg.log_metrics({"loss": lr * layers / (step + 1)}, step=step)
datapkg.log_metrics({"accuracy": 1 - lr})
if os.path.exists("fail.txt") and f"{lr}-{layers}" in open("fail.txt").read():
    raise SystemExit(3)
open(out, "w").write("model")
"""
BUILD_FILE = f"""
contents:
  data: {{file: data.csv}}
  models: {{stage: train}}
  results: {{results_of: train}}
  history: {{results_of: train, steps: true}}
stages:
  train:
    run: {PYTHON} train.py {{lr}} {{layers}} {{out}}
    inputs: {{data: contents.data}}
    params: {{optimizer: adam}}
    matrix: {{lr: [0.1, 0.5], layers: [2, 4]}}
    outputs: {{out: model.txt}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write(data_csv="n\n1\n", train_py=TRAIN, build_yml=BUILD_FILE)
    return made


def results() -> pd.DataFrame:
    return datapkg.load("me/data").results().set_index("run")


def ran(project: Project) -> list[str]:
    return sorted((project.folder / "ran.txt").read_text().split())


def test_a_row_for_each_run(project: Project) -> None:
    manifest = project.home.store.manifest(project.build().hash)
    table = results()
    assert list(table.index) == ["0.1-2", "0.1-4", "0.5-2", "0.5-4"]
    assert list(table) == ["state", "optimizer", "lr", "layers", "loss", "accuracy", "inputs.data"]
    assert table["layers"].tolist() == [2, 4, 2, 4]
    assert table["loss"].tolist() == pytest.approx([0.2 / 3, 0.4 / 3, 1 / 3, 2 / 3])
    assert set(table["state"]) == {"done"}
    assert set(table["inputs.data"]) == {getattr(manifest.get("data"), "content", "")}
    history = datapkg.load("me/data").history()
    assert list(history) == ["run", "step", "loss", "accuracy"]
    assert history[history.run == "0.5-4"]["loss"].tolist()[:3] == [2, 1, pytest.approx(2 / 3)]
    assert len(history) == 16


def test_the_same_sweep_gives_the_same_package(project: Project) -> None:
    first = project.build()
    again = project.build()
    assert again.hash == first.hash
    assert again.why["results"].startswith("unchanged")
    project.home = Home({**os.environ, "DATAPKG_HOME": str(project.folder.parent / "other home")})
    assert project.build().hash == first.hash
    assert len(ran(project)) == 8


def test_a_new_value_adds_a_row_and_runs_it_alone(project: Project) -> None:
    project.build()
    project.write(build_yml=BUILD_FILE.replace("[2, 4]", "[2, 4, 8]"))
    project.build()
    assert results()["layers"].tolist() == [2, 4, 8, 2, 4, 8]
    assert len(ran(project)) == 6


def test_failed_runs_are_in_the_results(project: Project) -> None:
    project.write(fail_txt="0.5-2")
    with pytest.raises(StageFailed):
        project.build()
    project.build(keep_going=True)
    table = results()
    assert table["state"].tolist() == ["done", "done", "failed", "done"]
    assert table.loc["0.5-2", "loss"] == pytest.approx(1 / 3), "reported before it failed"
    assert list(datapkg.load("me/data").models) == ["0.1-2", "0.1-4", "0.5-4"]
    (project.folder / "fail.txt").unlink()
    project.build()
    assert set(results()["state"]) == {"done"}
    counts = Counter(ran(project))
    assert counts["0.5-2"] == 3
    assert {counts[each] for each in ("0.1-2", "0.1-4", "0.5-4")} == {1}


def test_results_survive_gc_of_everything_else(project: Project) -> None:
    first = project.build()
    free_space(project.home, Policy(), dry_run=False)
    assert project.build().hash == first.hash
    assert len(ran(project)) == 4


def test_a_stage_reads_the_results(project: Project) -> None:
    best = "import pandas, sys; open(sys.argv[2], 'w').write(pandas.read_parquet(sys.argv[1]).loss.idxmin().__str__())"
    project.write(
        best_py=best,
        build_yml=BUILD_FILE.replace("stages:", "  best: {stage: pick}\nstages:")
        + f"  pick: {{run: [{PYTHON}, best.py, '{{results}}', '{{out}}'], "
        + "inputs: {results: contents.results}, outputs: {out: best.txt}}\n",
    )
    project.build()
    assert datapkg.load("me/data").best().read_text() == "0"


def test_the_ref_of_a_package_that_was_read(project: Project) -> None:
    given = datapkg.build("me/given", {"rows": pd.DataFrame({"n": [1]})})
    project.write(build_yml=BUILD_FILE.replace("contents.data}", "me/given/rows}"))
    project.build()
    assert set(results()["inputs.data"]) == {f"me/given/rows@sha256:{given.hash}"}
    assert datapkg.load(results()["inputs.data"].iloc[0])()["n"].tolist() == [1]


def test_a_shell_reports_metrics_and_needs_no_outputs(project: Project) -> None:
    lines = r"""{"loss": 0.5, "step": 1}\n{"loss": null}\nnonsense\n{"acc": "NaN", "loss": 2}"""
    command = f"""printf '{lines}' >> $DATAPKG_METRICS"""
    project.write(
        build_yml=f"""
contents: {{results: {{results_of: train}}}}
stages:
  train: {{shell: true, run: '{command.replace("'", "''").replace("{", "{{").replace("}", "}}")}'}}
"""
    )
    done = project.build()
    assert [each for each in done.warnings if "metrics" in each] == ["stage 'train': line 3 of its metrics is not JSON"]
    row = datapkg.load("me/data").results().iloc[0]
    assert (row["run"], row["loss"]) == ("train", 2)
    assert math.isnan(row["acc"])
    assert project.build().hash == done.hash


def test_names_that_two_columns_would_have(project: Project) -> None:
    train = "import datapkg; datapkg.log_metrics({'lr': 7, 'run': 8})"
    project.write(
        train_py=train,
        build_yml=f"""
contents: {{results: {{results_of: train}}, history: {{results_of: train, steps: true}}}}
stages: {{train: {{run: {PYTHON} train.py, matrix: {{lr: [1, 2], state: [a, [b]]}}}}}}
""",
    )
    with pytest.raises(InvalidBuildFile, match="expected a value, got a list"):
        project.build()
    project.write(build_yml=(project.folder / "build.yml").read_text().replace("[b]", "b"))
    project.build()
    table = datapkg.load("me/data").results()
    assert list(table) == ["run", "state", "lr", "params.state", "metrics.lr", "metrics.run"]
    assert list(datapkg.load("me/data").history()) == ["run", "step", "lr", "metrics.run"]


def test_a_retry_begins_with_no_metrics(project: Project) -> None:
    train = """
import os, datapkg
datapkg.log_metrics({"second": 1} if os.path.exists("again") else {"first": 1})
if not os.path.exists("again"):
    open("again", "w")
    raise SystemExit(1)
"""
    project.write(
        train_py=train,
        build_yml="contents: {results: {results_of: train}}\n"
        f"stages: {{train: {{run: {PYTHON} train.py, retries: 1}}}}\n",
    )
    project.build()
    assert list(datapkg.load("me/data").results()) == ["run", "state", "second"]


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (0.3, 0.3), (3, 3.0), (True, 1.0), (np.float32(0.5), 0.5), (np.int64(4), 4.0), (np.array(2.5), 2.5),
        (Fraction(1, 4), 0.25), (math.inf, math.inf), (-math.inf, -math.inf),
    ],
)  # fmt: skip
def test_numbers_of_all_kinds(given: object, number: float) -> None:
    report = checked_report({"a b/c": given}, np.int32(5))
    assert report == (5, {"a b/c": number})
    assert parse_report(encode_report(report)) == report
    not_a_number = parse_report(encode_report(checked_report({"x": np.float64("nan")})))
    assert not isinstance(not_a_number, str)
    assert math.isnan(not_a_number[1]["x"])


@pytest.mark.parametrize(
    ("metrics", "step", "message"),
    [
        ({"loss": "0.3"}, None, "metric 'loss' is not a number: str"),
        ({"loss": None}, None, "metric 'loss' is not a number: NoneType"),
        ({"loss": np.zeros(3)}, None, "metric 'loss' is not a number: ndarray of shape (3,)"),
        ({"loss": 10**400}, None, "metric 'loss' is not a number: int"),
        ({"loss": 1}, 1.5, "a step is a whole number, got '1.5'"),
        ({"loss": 1}, True, "a step is a whole number"),
        ({"loss": 1}, 1 << 70, "a step is a whole number"),
        ({}, None, "metrics are names with their numbers"),
        (0.3, None, "metrics are names with their numbers, got '0.3'"),
        ({"step": 1}, None, "'step' is not a metric"),
        ({"": 1}, None, "a metric is named by a text"),
        ({3: 1}, None, "a metric is named by a text"),
        ({"a\nb": 1}, None, "a metric is named by a text"),
    ],
)
def test_what_is_no_metric(metrics: object, step: object, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        datapkg.log_metrics(metrics, step=step)  # type: ignore[arg-type]
    assert message in caught.value.message
    assert "log_metrics" in caught.value.hint


def test_outside_of_a_run() -> None:
    with pytest.raises(InvalidInput) as caught:
        datapkg.log_metrics({"loss": 1})
    assert "this program is in neither" in caught.value.message
    assert not isinstance(caught.value, WrongType)


@pytest.mark.parametrize("line", [b"[1]", b"3", b"{}", b'{"step": 1}', b'{"a": [1]}', b'{"a": 1, "step": "x"}', b"{"])
def test_lines_that_are_no_metrics(line: bytes) -> None:
    assert isinstance(parse_report(line), str)


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ("results: {results_of: trian}", "there is no stage 'trian'; did you mean 'train'"),
        ("results: {results_of: train, transform: csv}", "results are a table as they are; leave this out"),
        ("results: {results_of: train, steps: 3}", "contents.results.steps: expected true or false"),
        (
            "data: {file: data.csv}",
            "has no `outputs`; expected them, or a node with its metrics: results: {results_of: train}",
        ),
    ],
)
def test_mistakes(project: Project, contents: str, problem: str) -> None:
    build = f"contents: {{{contents}}}\nstages: {{train: {{run: 'echo', matrix: {{lr: [1, 2]}}}}}}\n"
    project.write(build_yml=build)
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(project.folder / "build.yml")
    assert problem in caught.value.message
    assert sum("outputs" in what for _, what in caught.value.problems) <= 1, "once for the sweep, not for each run"


def test_a_metrics_line_is_whole_after_a_kill(tmp_path: Path) -> None:
    code = "import datapkg, os\nfor n in range(1000): datapkg.log_metrics({'n': n})\nos.kill(os.getpid(), 9)"
    file = tmp_path / "metrics"
    subprocess.run([PYTHON, "-c", code], env={**os.environ, "DATAPKG_METRICS": str(file)}, check=False)
    assert [parse_report(line) for line in file.read_bytes().splitlines()] == [(None, {"n": n}) for n in range(1000)]


def test_reporting_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import datapkg, sys; datapkg.log_metrics({'n': 1}); print(*sys.modules)"
    env = {**os.environ, "DATAPKG_METRICS": str(tmp_path / "metrics")}
    done = subprocess.run([PYTHON, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert not {"msgspec", "pyarrow", "pandas", "click", "yaml", "numpy", "dataclasses"} & set(done.stdout.split())


def sweep(project: Project, rule: str, **options: object) -> BuildResult:
    text = BUILD_FILE.replace("    outputs:", f"    early_stopping: [{rule}]\n    outputs:")
    project.write(build_yml=text)
    return build_package(project.home, Ref("me", "data"), project.folder, BuildOptions(jobs=1, **options))  # type: ignore[arg-type]


def test_early_stopping(project: Project) -> None:
    done = sweep(project, "{metric: loss, value: 0.2, optimization: minimize, policy: all}")
    assert [each["action"] for each in done.stages] == ["ran", "stopped", "stopped", "stopped"]
    assert results()["state"].tolist() == ["done", "stopped", "stopped", "stopped"]
    assert done.stages[1]["why"] == "train@0.1-2 reported loss 0.2, at most 0.2 ends the sweep"
    again = sweep(project, "{metric: loss, value: 0.2, optimization: minimize, policy: all}")
    assert (again.hash, ran(project)) == (done.hash, ["0.1-2"])
    assert list(datapkg.load("me/data").models) == ["0.1-2"]
    planned = sweep(project, "{metric: loss, value: 0.2, optimization: minimize}", dry_run=True)
    assert [each["action"] for each in planned.stages] == ["reused", "stopped", "stopped", "stopped"]
    sweep(project, "{metric: loss, value: 0.00001, optimization: minimize}")
    assert len(ran(project)) == 4, "another value runs the rest, and only the rest"
    assert set(results()["state"]) == {"done"}


def test_a_known_run_stops_those_before_it(project: Project) -> None:
    project.write(fail_txt="0.1-2")
    rule = "{metric: accuracy, value: 0.5, optimization: maximize}"
    project.build(keep_going=True)
    assert len(ran(project)) == 4
    done = sweep(project, rule)
    assert [each["action"] for each in done.stages] == ["stopped", "reused", "reused", "reused"]
    assert len(ran(project)) == 4


def test_a_follower_reads_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "try0" / "metrics" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    parsed: list[bytes] = []
    monkeypatch.setattr(metrics, "parse_report", lambda line: parsed.append(line) or parse_report(line))
    follower = metrics.MetricsFollower(tmp_path)
    assert list(follower.new_reports()) == []
    path.write_text('{"loss": 3}\nnonsense\n{"loss": 2}\n{"lo')
    assert list(follower.new_reports()) == [(None, {"loss": 3}), (None, {"loss": 2})]
    assert list(follower.new_reports()) == []
    with path.open("a") as file:
        file.write('ss": 1}\n' + "x" * (MAX_LINE_BYTES + 5))
    assert list(follower.new_reports()) == [(None, {"loss": 1})]
    with path.open("a") as file:
        file.write('\n{"loss": 0}\n')
    assert list(follower.new_reports()) == [(None, {"loss": 0})]
    assert [line for line in parsed if line.startswith(b'{"loss"')] == [b'{"loss": %d}\n' % n for n in (3, 2, 1, 0)]
    again = tmp_path / "try1" / "metrics" / "metrics.jsonl"
    again.parent.mkdir(parents=True)
    again.write_text('{"loss": 7}\n')
    assert list(follower.new_reports()) == [(None, {"loss": 7})], "a try begins anew"
    again.unlink()
    os.mkfifo(again)
    assert list(metrics.MetricsFollower(tmp_path).new_reports()) == []


def test_a_running_run_is_read_once_however_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = StopRule("loss", 0, is_minimum=True)
    runs = [Stage(f"train@{number}", early_stopping=(rule,)) for number in range(100)]
    parsed: list[bytes] = []
    monkeypatch.setattr(metrics, "parse_report", lambda line: parsed.append(line) or parse_report(line))
    stopping = EarlyStopping(MemoryObjects())
    stopping.begin(runs[0], tmp_path)
    path = tmp_path / "try0" / "metrics" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"loss": 3}\n' * 50)
    assert {stopping.reason(each) for each in runs[1:]} == {""}
    assert len(parsed) == 50
    with path.open("a") as file:
        file.write('{"loss": 0}\n')
    assert stopping.reason(runs[1]) == "train@0 reported loss 0, at most 0 ends the sweep"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{metric: loss}", "expected a list such as [{metric: loss, value: 0.05, optimization: minimize}]"),
        ("{metric: loss, value: 1, optimization: least}", "optimization: minimize or maximize"),
        ("{metric: loss, value: 1, optimization: minimize, policy: experiment}", "only `policy: all` is supported"),
        ("{metric: loss, value: 1, optimization: minimize, every: 3}", "unknown key 'every'"),
        ("{kind: failure_early_stopping, percent: 3}", "unknown key 'percent'"),
        ("loss", "expected a list such as"),
    ],
)
def test_mistakes_in_early_stopping(project: Project, rule: str, problem: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        sweep(project, rule)
    assert problem in caught.value.message
