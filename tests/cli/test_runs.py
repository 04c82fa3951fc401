"""The list of runs that scripts recorded."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import pytest

import datapkg
from tests.cli.conftest import Run


def test_runs_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # where it is installed, a run is written there too
    assert run("runs").out.startswith("there are no runs in runs\n")
    assert run("runs", "--json").json == {"runs": []}
    for name, rate in (("first", 0.1), ("second", 0.25)):
        with datapkg.track(name, params={"rate": rate}):
            datapkg.log_metrics({"loss": rate * 2, "odd": math.nan, "far": -math.inf})
    Path("runs/broken.jsonl").symlink_to("nothing")
    Path("runs/folder.jsonl").mkdir()
    Path("runs/other.jsonl").write_text("not a record\n")
    head, *lines = run("runs").out.splitlines()
    assert head.split() == ["RUN", "STATE", "STARTED", "PARAMS", "METRICS"]
    assert [re.split(r"\s{2,}", line)[0] for line in lines] == ["first", "second"]
    assert lines[1].endswith("rate=0.25  loss=0.5, odd=nan, far=-inf")
    found = json.loads(run("runs", "runs", "--json").out, parse_constant=lambda word: f"{word} is not JSON")["runs"]
    assert [each["metrics"] for each in found] == [{"loss": n, "odd": "nan", "far": "-inf"} for n in (0.2, 0.5)]
    assert [(each["state"], each["params"]) for each in found] == [("done", {"rate": n}) for n in (0.1, 0.25)]


def test_what_is_no_folder(run: Run) -> None:
    Path("a.txt").write_text("")
    ended = run("runs", "nothing")
    assert (ended.code, "there is no folder 'nothing'" in ended.err) == (3, True)
    ended = run("runs", "a.txt")
    assert (ended.code, ended.err.splitlines()[0]) == (3, "error: 'a.txt' is not a folder")
