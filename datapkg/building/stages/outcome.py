"""What became of a stage in a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datapkg.building.spec.model import Stage
from datapkg.errors import DatapkgError
from datapkg.store.stage_results import StageResult

RAN, REUSED, PLANNED, FAILED, STOPPED = "ran", "reused", "would run", "failed", "stopped"


@dataclass
class StageOutcome:
    """What became of a stage: it ran, was reused, would run, failed or was stopped, and why.

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
