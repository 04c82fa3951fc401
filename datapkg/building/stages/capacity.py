"""What stages that run at once may use together: cores, memory and GPUs of this machine."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from datapkg.building.spec.model import Resources, Stage
from datapkg.errors import InvalidInput
from datapkg.format.texts import count_text, quoted, size_text

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_GPU = re.compile(r"nvidia(\d+)\Z")


@dataclass(frozen=True)
class Machine:
    """Cores, bytes of memory, and the names of GPUs as programs are told them.

    With `is_cluster`, `cpu` counts stages: what each uses is the concern of the machine that it runs on.
    """

    cpu: float
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    is_cluster: bool = False


def this_machine(environ: Mapping[str, str], jobs: int = 0) -> Machine:
    """Return what this machine has; `jobs` is how many cores may be used, 0 for all."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # a container may have less
        memory = min(memory, int(_MEMORY_LIMIT.read_text()))
    return Machine(jobs or os.cpu_count() or 1, memory, visible_gpus(environ))


def cluster_of(slots: int) -> Machine:
    """Return a cluster that takes so many stages at once."""
    return Machine(slots, sys.maxsize, is_cluster=True)


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the GPUs that this process may use."""
    if (visible := environ.get(VISIBLE_GPUS)) is not None:
        return tuple(filter(None, (each.strip() for each in visible.split(","))))
    with contextlib.suppress(OSError):
        return tuple(sorted((found[1] for each in os.listdir("/dev") if (found := _GPU.match(each))), key=int))
    return ()


def check_fits(stages: Iterable[Stage], machine: Machine) -> None:
    """Raise `InvalidInput` if a stage wants more than the machine has, with all such stages."""
    found = [(each.place, problem) for each in stages if (problem := _excess(each, machine))]
    problems = list(dict.fromkeys(found))
    if problems:
        cores = max((each.resources.cpu for each in stages), default=0)
        hint = f"datapkg build USER/NAME --jobs {math.ceil(cores)}" if cores > machine.cpu else ""
        raise InvalidInput("; ".join(f"{place}: {what}" for place, what in problems), hint=hint, problems=problems)


def _excess(stage: Stage, machine: Machine) -> str:
    wanted = stage.resources
    name = f"stage {quoted(stage.name.partition('@')[0])}"
    if wanted.cpu > machine.cpu:
        return f"{name} wants {wanted.cpu:g} cores, and {machine.cpu:g} may be used"
    if wanted.memory_bytes > machine.memory_bytes:
        has = size_text(machine.memory_bytes)
        return f"{name} wants {size_text(wanted.memory_bytes)} of memory, and there are {has}"
    if wanted.gpu > len(machine.gpus):
        there = "is 1" if len(machine.gpus) == 1 else f"are {len(machine.gpus)}"
        return f"{name} wants {count_text(wanted.gpu, 'GPU')}, and there {there} for stages here"
    return ""


class InUse:
    """What the stages that run now use of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cpu, self._memory, self._gpus = machine.cpu, machine.memory_bytes, list(machine.gpus)
        self._running: Counter[str] = Counter()
        self._held: dict[str, list[str]] = {}

    def begin(self, stage: Stage) -> list[str] | None:
        """Take what a stage wants and return its GPUs; take nothing and return None where that is not free."""
        wanted, group = self._wanted(stage), _group(stage)
        is_full = stage.concurrency is not None and self._running[group] >= stage.concurrency
        # Sums of parts of cores are not exact.
        if is_full or wanted.cpu > self._cpu + 1e-9 or wanted.memory_bytes > self._memory:
            return None
        if wanted.gpu > len(self._gpus):
            return None
        gpus, self._gpus = self._gpus[: wanted.gpu], self._gpus[wanted.gpu :]
        self._cpu -= wanted.cpu
        self._memory -= wanted.memory_bytes
        self._running[group] += 1
        self._held[stage.name] = gpus
        return gpus

    def _wanted(self, stage: Stage) -> Resources:
        return Resources() if self._machine.is_cluster else stage.resources

    def end(self, stage: Stage) -> None:
        """Give back what a stage has taken."""
        wanted = self._wanted(stage)
        self._cpu += wanted.cpu
        self._memory += wanted.memory_bytes
        self._gpus = sorted([*self._gpus, *self._held.pop(stage.name)])
        self._running[_group(stage)] -= 1


def _group(stage: Stage) -> str:
    """Return the name of the stage in the build file; those of one matrix have the same."""
    return stage.name.partition("@")[0]
