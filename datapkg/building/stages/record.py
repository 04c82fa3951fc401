"""What is recorded of stages: in the build record, and in `datapkg.stages.lock`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datapkg.building.stages.outcome import StageOutcome
from datapkg.format.manifest.parsed import FileNode

IMPORTED = "imported."


def recorded_stages(outcomes: Iterable[StageOutcome]) -> list[dict[str, Any]]:
    """Return the entries of the build record: command, params, and hashes of inputs, code and outputs.

    They hold no value of an environment variable, and no time: equal runs give equal entries.
    """
    return [
        {"stage": each.stage.name, "known": _known(each), "outputs": each.result.manifest}
        for each in sorted(outcomes, key=lambda each: each.stage.name)
        if each.result is not None
    ]


def lock_entries(outcomes: Iterable[StageOutcome]) -> dict[str, dict[str, Any]]:
    """Return the entries of the lock, by stage, with the hash of each file of the outputs."""
    found = {}
    for each in outcomes:
        if each.result is not None:
            files = {node.path: node.hash for node in each.result.nodes if isinstance(node, FileNode)}
            found[each.stage.name] = {"known": _known(each), "outputs": each.result.manifest, "files": files}
    return found


def _known(outcome: StageOutcome) -> dict[str, str]:
    """Return what determined the outputs, with the code that was found by running."""
    assert outcome.result is not None
    return {**outcome.known, **{f"{IMPORTED}{path}": hash for path, hash in outcome.result.code.items()}}
