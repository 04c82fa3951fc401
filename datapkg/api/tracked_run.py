"""A run of a program that is tracked: what it uses and reads, and for a run with a name its record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.format.metrics import Report, checked_report
from datapkg.format.names import Ref
from datapkg.format.run_record import encode_entry, metrics_entry
from datapkg.objects.files import append_line
from datapkg.reading.seen_facts import READ, Facts

if TYPE_CHECKING:
    from datapkg.api.lock_results import LockResult


class TrackedRun(Facts):
    """What was imported, loaded and read, which can be pinned; it may be asked while the program still runs.

    A run with a name has a `file`, to which everything is appended when it is new: `params`, which may be changed
    until the run ends, the metrics, and what is read. `metrics` has the last value of each metric.
    """

    def __init__(self, name: str, file: Path | None, params: Mapping[str, Any]) -> None:
        super().__init__(self._fact)
        self.name, self.file = name, file
        self.params: dict[str, Any] = dict(params)
        self.metrics: dict[str, float] = {}
        self._written: dict[str, Any] = {}

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Report metrics of this run, as `datapkg.log_metrics`."""
        self.report(checked_report(metrics, step))

    def report(self, report: Report) -> None:
        """Note metrics that were checked."""
        self.metrics |= report[1]
        self.write_params()
        self._write(metrics_entry(report))

    def write_params(self) -> None:
        """Write the params that are new or changed."""
        if new := {
            name: each for name, each in self.params.items() if name not in self._written or self._written[name] != each
        }:
            self._written |= new
            self._write(encode_entry(params=new))

    def end(self, state: str) -> None:
        """Write how the run ended."""
        self.write_params()
        self._write(encode_entry(end=state, at=time_now()))

    def lock(self, folder: str | PathLike[str] = ".", *, dry_run: bool = False) -> LockResult:
        """Write what was seen into the `datapkg.yml` and `datapkg.lock` of a folder, and return the pins.

        A package gets a requirement for each node that was read, or one if none was. Other requirements and their pins
        stay. Raise `Conflict` where `datapkg.yml` asks for another state.
        """
        from datapkg.api.observed_lock import lock_seen
        from datapkg.home import Home

        return lock_seen(Home(), self, Path(folder), dry_run=dry_run)

    def _fact(self, kind: str, ref: Ref) -> None:
        if kind == READ:
            self._write(encode_entry(node=str(ref)))
        else:
            self._write(encode_entry(package=str(ref)))

    def _write(self, line: bytes) -> None:
        if self.file is not None:
            append_line(self.file, line, mode=0o644)


def time_now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat()
