"""A stage of DVC and its outputs, with all templates replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datapkg.building.converters.sections import Section


@dataclass
class DvcOut:
    """An output of a stage: its path in the repository, whether it is a folder, and what describes it."""

    path: str
    is_folder: bool
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass
class DvcStage:
    """One stage with all templates replaced.

    `folder` is where it runs, `deps` have their lines, and `params` are keys by file.
    """

    name: str
    section: Section
    folder: str
    command: list[str]
    deps: list[tuple[str, int]]
    params: dict[str, list[str] | None]
    outs: list[DvcOut]
    meta: dict[str, Any]
