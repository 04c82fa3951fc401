"""The result of a build: a plain value that the command line prints and programs read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datapkg.store.stage_results import StageResult


@dataclass(frozen=True)
class BuildResult:
    """The result of a build: how many nodes were built or reused, the bytes of all objects, and warnings.

    `skipped` are the files of a folder that were skipped, with the reasons; `updated` the URLs whose new checksums were
    written to the build file: url, old, new. `why` explains for each node why it was built or reused, `checks` has the
    check results, `left_out` the error of each source that is not in the package, by the node's path. `reread` counts
    reused nodes whose sources were read again. `stages` has, for each stage, the action (ran, reused, taken
    from a run cache, failed, stopped early, would run or would be taken), why, and for a run its seconds and its log.
    `results` has the result of each stage that has one; those of stages that ran here, now or before, can be pushed to
    a run cache.
    """

    package: str
    hash: str
    built: int
    reused: int
    bytes_logical: int
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    updated: list[dict[str, str]] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    reread: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, StageResult] = field(default_factory=dict)
