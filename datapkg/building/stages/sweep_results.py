"""The nodes of results of stages, which are built when all runs have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from datapkg.building.spec.model import NodeSpec, ResultsSource, RunResult
from datapkg.building.stages.outcome import FAILED, PLANNED, STOPPED, TAKEABLE, StageOutcome

_STATES = {FAILED: "failed", STOPPED: "stopped"}


class SweepResults:
    """The nodes of results of one build, and which of their runs have ended."""

    def __init__(self, nodes: Iterable[NodeSpec]) -> None:
        self._ended: dict[str, StageOutcome] = {}
        self._nodes: defaultdict[str, list[tuple[NodeSpec, ResultsSource, dict[str, str]]]] = defaultdict(list)
        self._left: dict[str, int] = {}
        for node in nodes:
            if isinstance(source := node.source, ResultsSource):
                members = source.members or {source.stage: source.stage}
                self._left[node.path] = len(members)
                for name in members.values():
                    self._nodes[name].append((node, source, members))

    def has(self, stage: str) -> bool:
        """Return whether a node has the results of a stage."""
        return stage in self._nodes

    def add(self, outcome: StageOutcome) -> list[NodeSpec]:
        """Note that a run has ended, and return the nodes whose last run it was; none where some would only run."""
        if not self.has(outcome.stage.name):
            return []
        self._ended[outcome.stage.name] = outcome
        found = []
        for node, source, members in self._nodes[outcome.stage.name]:
            self._left[node.path] -= 1
            ended = {label: self._ended[name] for label, name in members.items() if name in self._ended}
            if not self._left[node.path] and not any(each.action in (PLANNED, TAKEABLE) for each in ended.values()):
                runs = tuple(_run(label, each) for label, each in ended.items())
                found.append(replace(node, source=replace(source, runs=runs)))
        return found


def _run(label: str, outcome: StageOutcome) -> RunResult:
    state = _STATES.get(outcome.action, "done")
    return RunResult(label, state, dict(outcome.stage.params), outcome.read, outcome.metrics)
