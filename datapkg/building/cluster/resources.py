"""What stages want of the workers of a cluster: resources that workers declare, as Dask knows them by name.

`dask worker tcp://HOST:8786 --resources "CPU=8 MEMORY=64e9 GPU=2"`; Dask runs no more on a worker than that allows.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from datapkg.building.spec.model import Stage
from datapkg.building.stages.capacity import VISIBLE_GPUS, visible_gpus
from datapkg.errors import InvalidInput, StageFailed
from datapkg.format.texts import count_text, quoted, size_text

CPU, MEMORY, GPU = "CPU", "MEMORY", "GPU"

_gpus_in_use: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class WorkerFacts:
    """The threads of a worker, its limit of memory (0 for none), and the resources that it declares."""

    threads: int
    memory_bytes: int = 0
    declared: Mapping[str, float] = field(default_factory=dict)

    def room(self, name: str, names: Collection[str]) -> float:
        """Return how much it has of a resource; of one of `names` only what it declares."""
        if name in names or name in self.declared:
            return self.declared.get(name, 0)
        return {CPU: self.threads, MEMORY: self.memory_bytes or math.inf}.get(name, 0)


def wanted_of(stage: Stage, names: Collection[str]) -> dict[str, float]:
    """Return the resources that a task needs, of those with the `names` that workers declare."""
    return {name: amount for name, amount in _wanted(stage).items() if amount and name in names}


def check_placeable(stages: Iterable[Stage], workers: Mapping[str, WorkerFacts]) -> None:
    """Raise `InvalidInput` for stages that want more than each worker has, all at once."""
    names, problems = declared_names(workers), []
    for stage in stages:
        wanted = _wanted(stage)
        if not any(
            all(each.room(name, names) >= amount for name, amount in wanted.items()) for each in workers.values()
        ):
            shown = ", ".join(_shown(name, amount) for name, amount in wanted.items() if amount)
            name = quoted(stage.name.partition("@")[0])
            problems.append((stage.place, f"stage {name} wants {shown}, and no worker of the cluster has that"))
    if problems := list(dict.fromkeys(problems)):
        most = {name: max(_wanted(each)[name] for each in stages) for name in (CPU, MEMORY, GPU)}
        declared = " ".join(f"{name}={amount:g}" for name, amount in most.items() if amount)
        raise InvalidInput(
            "; ".join(f"{place}: {what}" for place, what in problems),
            hint=f'start workers that declare it: dask worker ADDRESS --resources "{declared}"',
            problems=problems,
        )


def declared_names(workers: Mapping[str, WorkerFacts]) -> set[str]:
    """Return the names of the resources that any worker declares."""
    return {name for each in workers.values() for name in each.declared}


def _wanted(stage: Stage) -> dict[str, float]:
    return {CPU: stage.resources.cpu, MEMORY: stage.resources.memory_bytes, GPU: stage.resources.gpu}


def _shown(name: str, amount: float) -> str:
    if name == MEMORY:
        return f"{size_text(int(amount))} of memory"
    what = "core" if name == CPU else name
    return f"{amount:g} {what}" + ("" if amount == 1 else "s")


@contextmanager
def held_gpus(stage: Stage | None, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Hold as many GPUs of this process as a stage wants, and yield the variable that names them; none without a stage.

    Raise `StageFailed` if the worker declares more than it sees.
    """
    count = stage.resources.gpu if stage else 0
    if not stage or not count:
        yield {}
        return
    with _lock:
        gpus = [each for each in visible_gpus(environ) if each not in _gpus_in_use][:count]
        if len(gpus) == count:
            _gpus_in_use.update(gpus)
    if len(gpus) < count:
        seen = len(visible_gpus(environ))
        raise StageFailed(
            f"stage {quoted(stage.name)} wants {count_text(count, 'GPU')}, and the worker on "
            f"{socket.gethostname()} sees {seen}, fewer than it declares",
            hint=f"set {VISIBLE_GPUS} of the worker to as many as its --resources declare",
            stage=stage.name,
        )
    try:
        yield {VISIBLE_GPUS: ",".join(gpus)}
    finally:
        with _lock:
            _gpus_in_use.difference_update(gpus)
