"""What became of a stage in a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datapkg.building.spec.model import Stage
from datapkg.errors import DatapkgError
from datapkg.store.stage_results import StageResult

RAN, REUSED, PLANNED, FAILED, STOPPED = "ran", "reused", "would run", "failed", "stopped"
TAKEN, TAKEABLE = "taken", "would be taken"
"""From the run cache of the package; a dry run fetches nothing."""


@dataclass
class StageOutcome:
    """What became of a stage: it ran, was reused or taken, would run or be taken, failed or was stopped, and why.

    `read` says what its inputs were, each as an exact ref or a hash; `metrics` is the hash of what it reported, "" for
    nothing.
    """

    stage: Stage
    action: str
    why: str
    known: dict[str, str] = field(default_factory=dict)
    result: StageResult | None = None
    error: DatapkgError | None = None
    log: Path | None = None
    read: dict[str, str] = field(default_factory=dict)
    metrics: str = ""
    warnings: list[str] = field(default_factory=list)
