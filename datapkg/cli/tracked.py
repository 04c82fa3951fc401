"""The command that lists the runs that `datapkg.track` recorded: runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from datapkg.cli.arguments import PATH
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.texts import cut, time_text

_MAX_CELL = 60


@click.command(
    cls=Command,
    examples="""
    datapkg runs
    datapkg runs ./experiments --json
    """,
)
@click.argument("folder", type=PATH, default="runs", required=False)
@pass_session
def runs(session: Session, folder: Path) -> None:
    """List the runs that datapkg.track recorded in a folder.

    FOLDER is by default ./runs. A run is done, failed, or unfinished: killed, or still running. With --json, each has
    its params, last metrics, and the exact packages and nodes that it read.
    """
    from datapkg.api.tracking import list_runs

    found = list_runs(folder)
    out = session.out
    if out.json:
        out.answer({"runs": _finite(found)}, [])
    elif not found:
        out.say(f"there are no runs in {folder}", "", '  record one  with datapkg.track("exp-42"): …')
    else:
        out.table(("run", "state", "started", "params", "metrics"), [_row(each) for each in found])


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    started = time_text(str(run["started_at"] or ""))
    return run["run"], run["state"], started, _pairs(run["params"]), _pairs(run["metrics"])


def _finite(value: Any) -> Any:
    """Return a value with texts in place of numbers that JSON does not have: NaN and infinities."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _pairs(values: dict[str, Any]) -> str:
    """Return names with their values in one line."""
    texts = [f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()]
    return cut(", ".join(texts), _MAX_CELL)
