"""Metrics of runs of stages: lines in a file that the run appends to, kept beside its outputs.

The file of a run is one of the nodes of its result. Its path has a dot, which no output has, so that gc, transfers and
shared results need not know of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from datapkg.building.sources.file import put_file
from datapkg.format.manifest.parsed import FileNode, Node
from datapkg.format.metrics import MAX_LINE_BYTES, Report, encode_report, parse_report
from datapkg.objects.base import Objects

FILE = "metrics.jsonl"
FOLDER = "metrics"
MAX_BYTES = 1 << 30
_PROBLEMS_SHOWN = 3


def kept_metrics(path: Path, objects: Objects) -> tuple[list[FileNode], list[str]]:
    """Store the metrics that a run reported in a file; return their node, if there are any, and what is wrong.

    Lines that are no metrics are left out. A last line without an end counts if it is whole.
    """
    problems: list[str] = []
    kept = path.with_name(f"kept-{FILE}")
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream, kept.open("wb") as target:
        for number, report in enumerate(_reports(stream), 1):
            if isinstance(report, str):
                problems.append(f"line {number:,} of its metrics {report}")
            elif target.tell() > MAX_BYTES:
                problems.append(f"it reported more than {MAX_BYTES:,} bytes of metrics; the others are left out")
                break
            else:
                target.write(encode_report(report))
    if not kept.is_file() or not kept.stat().st_size:
        return [], _few(problems)
    with kept.open("rb") as stream:
        hash, size = put_file(stream, objects)
    return [FileNode(path=FILE, hash=hash, size=size, file_name=FILE)], _few(problems)


def reports_so_far(folder: Path) -> Iterator[Report]:
    """Yield what a run has reported until now; `folder` is that of its tries, of which the last counts."""
    if path := last_file(folder):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
            yield from (each for each in _reports(stream) if not isinstance(each, str))


def last_file(folder: Path) -> Path | None:
    """Return the file of metrics of the last try of a run that wrote one."""
    found = list(folder.glob(f"try*/{FOLDER}/{FILE}"))
    return max(found, key=lambda each: int(each.parent.parent.name.removeprefix("try")), default=None)


def metrics_of(nodes: Iterable[Node]) -> str:
    """Return the hash of the metrics among the nodes of a result, "" for none."""
    return next((node.hash for node in nodes if node.path == FILE and isinstance(node, FileNode)), "")


def _reports(stream: IO[bytes]) -> Iterator[Report | str]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while (more := stream.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                pass
        if line.strip():
            yield parse_report(line)


def _few(problems: list[str]) -> list[str]:
    if len(problems) <= _PROBLEMS_SHOWN:
        return problems
    return [*problems[:_PROBLEMS_SHOWN], f"{len(problems) - _PROBLEMS_SHOWN:,} more lines of its metrics are wrong"]
