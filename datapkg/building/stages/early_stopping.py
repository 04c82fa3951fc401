"""End sweeps early: no further run begins once one has reported a metric that is good enough."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from datapkg.building.sources.results import read_reports
from datapkg.building.spec.model import Stage, StopRule
from datapkg.building.stages.metrics import MetricsFollower
from datapkg.building.stages.outcome import StageOutcome
from datapkg.format.metrics import Report
from datapkg.objects.base import Readable


class EarlyStopping:
    """Which sweeps have ended, and by what; it may be asked in any thread, and reads what runs have reported so far."""

    def __init__(self, objects: Readable) -> None:
        self._objects = objects
        self._reasons: dict[str, str] = {}
        self._running: dict[str, MetricsFollower] = {}
        self._lock = threading.Lock()

    def begin(self, stage: Stage, folder: Path) -> None:
        """Note that a run begins; `folder` is that of its tries."""
        if stage.early_stopping:
            with self._lock:
                self._running[stage.name] = MetricsFollower(folder)

    def end(self, outcome: StageOutcome) -> None:
        """Note what a run has reported that has ended, or that was known."""
        stage = outcome.stage
        if stage.early_stopping:
            with self._lock:
                self._running.pop(stage.name, None)
                self._look(stage, stage.name, read_reports(self._objects, outcome.metrics))

    def reason(self, stage: Stage) -> str:
        """Return why a run of a sweep is not begun, "" if nothing is against it."""
        if not stage.early_stopping:
            return ""
        with self._lock:
            for name, follower in self._running.items():
                if _sweep(name) == _sweep(stage.name):
                    self._look(stage, name, follower.new_reports())
            return self._reasons.get(_sweep(stage.name), "")

    def _look(self, stage: Stage, name: str, reports: Iterable[Report]) -> None:
        """Look for a report that ends the sweep of a stage, in those of one of its runs."""
        if _sweep(name) in self._reasons:
            return
        for _, values in reports:
            for rule in stage.early_stopping:
                if _meets(values.get(rule.metric), rule):
                    limit = f"{'at most' if rule.is_minimum else 'at least'} {rule.value:g}"
                    what = f"{name} reported {rule.metric} {values[rule.metric]:g}, {limit} ends the sweep"
                    self._reasons[_sweep(name)] = what
                    return


def _sweep(stage: str) -> str:
    return stage.partition("@")[0]


def _meets(value: float | None, rule: StopRule) -> bool:
    if value is None:
        return False
    return value <= rule.value if rule.is_minimum else value >= rule.value
