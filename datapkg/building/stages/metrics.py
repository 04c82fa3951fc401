"""Metrics of runs of stages: lines in a file that the run appends to, kept beside its outputs.

The file of a run is one of the nodes of its result. Its path has a dot, which no output has, so that gc, transfers and
shared results need not know of it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, BinaryIO

from datapkg.building.sources.file import put_file
from datapkg.building.stages.left_files import open_left
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
    problems = _Problems()
    with tempfile.TemporaryFile(dir=path.parent.parent) as kept:
        with contextlib.suppress(FileNotFoundError), _opened(path) as stream:
            _keep(stream, kept, problems)
        if not kept.tell():
            return [], problems.shown()
        kept.seek(0)
        hash, size = put_file(kept, objects)
    return [FileNode(path=FILE, hash=hash, size=size, file_name=FILE)], problems.shown()


def _keep(stream: BinaryIO | None, kept: IO[bytes], problems: _Problems) -> None:
    if stream is None:
        problems.add("its metrics are not a regular file, and are left out")
    for number, report in enumerate(_reports(stream), 1):
        if isinstance(report, str):
            problems.add(f"line {number:,} of its metrics {report}")
        else:
            kept.write(encode_report(report))
    if stream is not None and stream.tell() >= MAX_BYTES:
        problems.add(f"it reported more than {MAX_BYTES:,} bytes of metrics; the others are left out")


class MetricsFollower:
    """Reads what a running run reports, each line once; `folder` is that of its tries, of which the last counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._read_bytes = 0

    def new_reports(self) -> Iterator[Report]:
        """Yield what was reported since the last call; a line without its end is left for the next one."""
        path = last_file(self._folder)
        if path != self._path:
            self._path, self._read_bytes = path, 0
        if path is None:
            return
        with contextlib.suppress(FileNotFoundError), _opened(path) as stream:
            if stream is None:
                return
            stream.seek(self._read_bytes)
            while self._read_bytes < MAX_BYTES and (line := stream.readline(MAX_LINE_BYTES + 1)):
                if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                    return
                self._read_bytes += len(line)
                if not isinstance(report := parse_report(line), str):
                    yield report


def last_file(folder: Path) -> Path | None:
    """Return the file of metrics of the last try of a run that wrote one."""
    found = list(folder.glob(f"try*/{FOLDER}/{FILE}"))
    return max(found, key=lambda each: int(each.parent.parent.name.removeprefix("try")), default=None)


def metrics_of(nodes: Iterable[Node]) -> str:
    """Return the hash of the metrics among the nodes of a result, "" for none."""
    return next((node.hash for node in nodes if node.path == FILE and isinstance(node, FileNode)), "")


def _opened(path: Path) -> AbstractContextManager[BinaryIO | None]:
    return open_left(path) or contextlib.nullcontext()


def _reports(stream: IO[bytes] | None) -> Iterator[Report | str]:
    while stream and stream.tell() < MAX_BYTES and (line := stream.readline(MAX_LINE_BYTES + 1)):
        if len(line) > MAX_LINE_BYTES:
            while stream.tell() < MAX_BYTES and (more := stream.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                pass
        if line.strip():
            yield parse_report(line)


class _Problems:
    """What is wrong with the metrics of a run: the first few, and how many there are."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._more = 0

    def add(self, problem: str) -> None:
        if len(self._first) < _PROBLEMS_SHOWN:
            self._first.append(problem)
        else:
            self._more += 1

    def shown(self) -> list[str]:
        """Return what is shown to people."""
        lines = "1 more line of its metrics is" if self._more == 1 else f"{self._more:,} more lines of its metrics are"
        return [*self._first, f"{lines} wrong"] if self._more else self._first
