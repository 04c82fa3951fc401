"""Report metrics of the run that this program is: of a stage, or of `track`."""

from __future__ import annotations

from datapkg.errors import InvalidInput
from datapkg.format.metrics import checked_report, encode_report
from datapkg.objects.files import append_line
from datapkg.settings import metrics_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from datapkg.format.metrics import Report

# The runs of `track` in this process, the innermost last.
receivers: list[Callable[[Report], None]] = []


def log_metrics(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Report metrics of this run, such as `{"loss": 0.3}`, at a step if one is given.

    In a stage they become the stage's results; inside `with datapkg.track("name")` they go into the record of that
    run. Numbers of numpy and other libraries are taken, NaN and infinities too. Each call appends one line to a file,
    so that what was reported remains if the program is killed. Raise `WrongType` for a value that is not one number,
    `InvalidInput` outside of a stage and of `track`.
    """
    report = checked_report(metrics, step)
    file = metrics_file()
    if file is None and not receivers:
        raise InvalidInput(
            "metrics are reported in a stage or inside of `track`, and this program is in neither",
            hint='with datapkg.track("name"): …',
        )
    if file is not None:
        append_line(file, encode_report(report))
    if receivers:
        receivers[-1](report)
