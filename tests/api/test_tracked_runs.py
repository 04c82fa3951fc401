"""A tracked run with a name leaves a record: what it read, params, metrics, and how it ended; in MLflow too."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import datapkg
from datapkg.errors import InvalidInput, Notice
from datapkg.home import Home
from tests.reading.packages import install_iris


@pytest.fixture
def hash() -> str:
    return install_iris(Home())


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_record_of_a_run(hash: str) -> None:
    with datapkg.track("exp-42", params={"rate": 0.1}) as run:
        datapkg.load("uciml/iris").measurements()
        run.params["layers"] = 3
        datapkg.log_metrics({"loss": 0.5}, step=1)
        run.log_metrics({"loss": 0.25, "odd": math.nan}, step=2)
    (found,) = datapkg.runs()
    assert found["file"] == "runs/exp-42.jsonl"
    assert (found["run"], found["state"]) == ("exp-42", "done")
    assert found["params"] == {"rate": 0.1, "layers": 3}
    assert found["metrics"]["loss"] == 0.25
    assert math.isnan(found["metrics"]["odd"])
    assert found["packages"] == [f"uciml/iris@sha256:{hash}"]
    assert found["nodes"] == [f"uciml/iris/measurements@sha256:{hash}"]
    assert found["started_at"] <= found["ended_at"]
    assert run.metrics.keys() == {"loss", "odd"}
    with pytest.raises(InvalidInput):
        datapkg.log_metrics({"loss": 1})


def test_a_run_of_the_same_name_replaces_nothing() -> None:
    for n in (1, 2):
        with datapkg.track("exp", folder="kept/here", params={"n": n}):
            pass
    assert sorted(os.listdir("kept/here")) == ["exp.2.jsonl", "exp.jsonl"]
    assert [each["params"]["n"] for each in datapkg.runs("kept/here")] == [1, 2]
    assert datapkg.runs("nowhere") == []


def test_a_run_that_fails(hash: str) -> None:
    with pytest.raises(ZeroDivisionError), datapkg.track("exp"):
        1 / 0  # noqa: B018
    with pytest.raises(SystemExit), datapkg.track("exit"):
        sys.exit()
    states = {each["run"]: each["state"] for each in datapkg.runs()}
    assert states == {"exp": "failed", "exit": "done"}
    assert "division" not in Path("runs/exp.jsonl").read_text()


def test_a_run_that_is_killed_keeps_what_it_reported() -> None:
    code = """
import datapkg, os
with datapkg.track("exp", params={"rate": 1}):
    datapkg.log_metrics({"loss": 0.5})
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (found,) = datapkg.runs()
    assert (found["state"], found["ended_at"]) == ("unfinished", None)
    assert (found["params"], found["metrics"]) == ({"rate": 1}, {"loss": 0.5})


def test_the_innermost_run_gets_the_metrics() -> None:
    with datapkg.track("outer") as outer, datapkg.track("inner") as inner:
        datapkg.log_metrics({"loss": 1})
    assert (outer.metrics, inner.metrics) == ({}, {"loss": 1.0})


def test_other_files_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for number, text in enumerate(("", "nonsense", "[1]", '{"run": 3}', '{"run": "x"}')):
        (tmp_path / "runs" / f"{number}.jsonl").write_text(text)
    assert datapkg.runs() == []
    good = '{"run": "x", "datapkg": 1}\n{"metrics": 3}\n{"params": 3}\n{"node": 3}\ntrunca'
    (tmp_path / "runs" / "good.jsonl").write_text(good)
    assert [(each["run"], each["state"], each["metrics"]) for each in datapkg.runs()] == [("x", "unfinished", {})]


@pytest.mark.parametrize("name", ["", "a/b", "..", "../x", ".hidden", "a b", "x" * 101, "a\n"])
def test_names_that_cannot_name_a_file(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a run"), datapkg.track(name):
        pass
    assert not Path("runs").exists()


def test_a_folder_that_cannot_be_written() -> None:
    Path("runs").write_text("")
    with pytest.raises(InvalidInput, match="cannot hold the record of a run"), datapkg.track("exp"):
        pass
    with pytest.raises(InvalidInput, match="params are recorded for a run with a name"), datapkg.track(params={"a": 1}):
        pass


class Variable:
    """A variable of MLflow's environment."""

    def __init__(self, value: int | None) -> None:
        self.value = value

    def is_set(self) -> bool:
        return self.value is not None

    def set(self, value: int) -> None:
        self.value = value

    def unset(self) -> None:
        self.value = None


@pytest.mark.parametrize(("given", "tries"), [(None, 2), (7, 7)])
def test_a_server_of_mlflow_is_not_tried_for_minutes(
    monkeypatch: pytest.MonkeyPatch, given: int | None, tries: int
) -> None:
    retries, seen = Variable(given), []

    def down() -> None:
        seen.append(retries.value)
        raise ConnectionError("nobody there")

    library, environment = ModuleType("mlflow"), ModuleType("mlflow.environment_variables")
    library.MlflowClient = down  # type: ignore[attr-defined]
    environment.MLFLOW_HTTP_REQUEST_MAX_RETRIES = retries  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", library)
    monkeypatch.setitem(sys.modules, "mlflow.environment_variables", environment)
    with pytest.warns(Notice, match="run down was not written to MLflow: nobody there"), datapkg.track("down"):
        pass
    assert (seen, retries.value) == ([tries], given)


@pytest.mark.big
@pytest.mark.needs_library("mlflow")
@pytest.mark.filterwarnings("ignore")  # of MLflow and of what it uses
def test_mlflow(hash: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with datapkg.track("exp-42", params={"rate": 0.1}):
        datapkg.load("uciml/iris").measurements()
        for step in range(3):
            datapkg.log_metrics({"loss": 1 - step / 10}, step=step)
    with mlflow.start_run() as own, datapkg.track("inside"):
        datapkg.load("uciml/iris").README_md()
    with datapkg.track("around"):
        datapkg.load("uciml/iris").README_md()
        with mlflow.start_run() as inner:
            pass
    with pytest.raises(ZeroDivisionError), datapkg.track("failing"):
        1 / 0  # noqa: B018
    client = mlflow.MlflowClient()
    found = {each.info.run_name: each for each in client.search_runs(["0"])}
    made = found["exp-42"]
    assert made.data.params == {"rate": "0.1"}
    assert [each.value for each in client.get_metric_history(made.info.run_id, "loss")] == [1, 0.9, 0.8]
    assert (made.info.status, found["failing"].info.status) == ("FINISHED", "FAILED")
    (dataset,) = [each.dataset for each in made.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("uciml/iris/measurements", hash[:36])
    assert json.loads(dataset.source) == {"ref": f"uciml/iris/measurements@sha256:{hash}"}
    assert isinstance(datapkg.load(json.loads(dataset.source)["ref"])(), pd.DataFrame)
    for run_id in (made.info.run_id, own.info.run_id, inner.info.run_id):
        assert client.get_run(run_id).data.tags["datapkg.input.uciml/iris"] == hash
    assert len(found) == 4
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(Notice, match="run down was not written to MLflow"), datapkg.track("down"):
        pass
