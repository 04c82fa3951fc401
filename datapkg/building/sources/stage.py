"""Outputs of stages, which are local files when their nodes are built."""

from __future__ import annotations

from datapkg.building.sources.base import SourceHandler
from datapkg.building.spec.model import StageSource


class StageHandler(SourceHandler[StageSource]):
    """An output of a stage: only a build can tell what it is."""

    def code(self, source: StageSource) -> str:
        """Name the stage, whose command a build runs."""
        return f"stage {source.stage}"
