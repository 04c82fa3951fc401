"""Stages on a cluster want what its workers declare, and are refused where none has it."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.building.cluster.resources import WorkerFacts, check_placeable, declared_names, held_gpus, wanted_of
from datapkg.building.spec.model import Resources, Stage
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidInput, StageFailed
from datapkg.format.names import Ref
from datapkg.home import Home

GB = 10**9
PLAIN = {"tcp://a": WorkerFacts(4, 8 * GB), "tcp://b": WorkerFacts(2)}
DECLARED = {"tcp://a": WorkerFacts(1, 0, {"CPU": 16, "GPU": 2}), "tcp://b": WorkerFacts(64, 0, {"MEMORY": 64 * GB})}


def stage(cpu: float = 1, memory: int = 0, gpu: int = 0) -> Stage:
    return Stage("train@1", resources=Resources(cpu, memory, gpu), place="build.yml:7: stages.train")


@pytest.mark.parametrize(
    ("workers", "fitting", "wrong", "shown"),
    [
        (PLAIN, stage(4, 8 * GB), stage(5), "5 cores"),
        (PLAIN, stage(2, 99 * GB), stage(3, 9 * GB), "3 cores, 9.0 GB of memory"),
        (PLAIN, stage(), stage(gpu=1), "1 core, 1 GPU"),
        (DECLARED, stage(16, gpu=2), stage(17), "17 cores"),
        # The one has the memory, and does not say how many cores.
        (DECLARED, stage(gpu=1), stage(1, GB), "1 core, 1.0 GB of memory"),
    ],
)
def test_a_stage_fits_one_worker_or_is_refused(
    workers: dict[str, WorkerFacts], fitting: Stage, wrong: Stage, shown: str
) -> None:
    check_placeable([fitting], workers)
    with pytest.raises(InvalidInput) as refused:
        check_placeable([fitting, wrong, wrong], workers)
    assert refused.value.problems == [
        (wrong.place, f"stage 'train' wants {shown}, and no worker of the cluster has that")
    ]
    assert "--resources" in refused.value.hint


def test_only_what_is_declared_is_asked_for() -> None:
    assert declared_names(PLAIN) == set()
    assert wanted_of(stage(2, GB), declared_names(PLAIN)) == {}
    assert wanted_of(stage(2), declared_names(DECLARED)) == {"CPU": 2}
    assert wanted_of(stage(2, GB, 1), declared_names(DECLARED)) == {"CPU": 2, "MEMORY": GB, "GPU": 1}


def test_gpus_of_a_worker_are_distinct_and_come_back() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "4,7,9"}
    with held_gpus(stage(gpu=1), environ) as first, held_gpus(stage(gpu=2), environ) as others:
        assert (first, others) == ({"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7,9"})
        with (
            pytest.raises(StageFailed, match=r"wants 1 GPU, and the worker on .* sees 3"),
            held_gpus(stage(gpu=1), environ),
        ):
            pass
    with held_gpus(stage(gpu=3), environ) as all_of_them:
        assert all_of_them == {"CUDA_VISIBLE_DEVICES": "4,7,9"}
    with held_gpus(stage(), environ) as none, held_gpus(None, environ) as nothing:
        assert none == nothing == {}


RUNS = """
contents:
  runs: {{stage: run}}
stages:
  run:
    run: [{python}, run.py, "{{out}}", "{{number}}"]
    matrix: {{number: [1, 2, 3, 4, 5, 6]}}
    resources: {{gpu: 1}}
    outputs: {{out: span.txt}}
"""
SPAN = """
import os, sys, time
began = time.monotonic_ns()
time.sleep(0.2)
print(began, time.monotonic_ns(), os.environ.get("CUDA_VISIBLE_DEVICES", "none"), file=open(sys.argv[1], "w"))
"""


def spans(home: Path, folder: Path, on: str, jobs: int = 0) -> list[tuple[str, int, int]]:
    """Build the runs, and return the GPU, the beginning and the end of each, in order."""
    folder.mkdir()
    (folder / "build.yml").write_text(RUNS.format(python=sys.executable))
    (folder / "run.py").write_text(SPAN)
    found = Home({"DATAPKG_HOME": str(home), "CUDA_VISIBLE_DEVICES": "3,5"})
    built = build_package(found, Ref("me", "runs"), folder, BuildOptions(on=on, jobs=jobs))
    manifest = found.store.manifest(built.hash)
    texts = [found.store.objects.read(hash).decode() for hash in manifest.objects("runs")]
    return sorted((words[2], int(words[0]), int(words[1])) for words in map(str.split, texts))


@pytest.mark.big
@pytest.mark.needs_library("distributed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_workers_run_no_more_than_they_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")  # of the worker
    kind = {
        "n_workers": 1,
        "threads_per_worker": 4,
        "memory_limit": None,
        "dashboard_address": None,
        "silence_logs": 50,
    }
    with LocalCluster(host="127.0.0.1", resources={"GPU": 2}, **kind) as cluster:
        found = spans(tmp_path / "home", tmp_path / "runs", cluster.scheduler_address)
    assert len(found) == 6
    assert {gpu for gpu, _, _ in found} == {"3", "5"}
    assert all(end <= begin for (gpu, _, end), (other, begin, _) in pairwise(found) if gpu == other)
    with LocalCluster(host="127.0.0.1", **kind) as plain, pytest.raises(InvalidInput, match="wants 1 core, 1 GPU,"):
        spans(tmp_path / "other", tmp_path / "again", plain.scheduler_address)


@pytest.mark.big
@pytest.mark.needs_library("distributed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_processes_of_this_machine_share_its_gpus(tmp_path: Path) -> None:
    found = spans(tmp_path / "home", tmp_path / "runs", "dask", jobs=3)
    assert {gpu for gpu, _, _ in found} == {"3", "5"}
    assert all(end <= begin for (gpu, _, end), (other, begin, _) in pairwise(found) if gpu == other)
