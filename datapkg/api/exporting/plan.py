"""Plan an export: decide the file of each node before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from datapkg.api.exporting.text_forms import SEPARATORS as OF_TRANSFORM
from datapkg.errors import Conflict
from datapkg.format.manifest.parsed import ArrayNode, FileNode, GroupNode, Manifest, Node, TableNode

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".ssv": ";"}
_NO_TEXT = frozenset(
    ".parquet .pq .xls .xlsx .xlsm .ods .feather .arrow .arrows .orc .json .jsonl .ndjson .db .sqlite .sqlite3".split()
)
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst", ".zip"}

Origins = Mapping[str, Mapping[str, Any]]
"""The recorded source of each node, by path; empty if the record is not available."""


@dataclass(frozen=True)
class ExportTask:
    """One file to write: its relative path, its node, and the separator of text, or None for bytes."""

    parts: tuple[str, ...]
    node: Node
    separator: str | None = None


def plan(
    manifest: Manifest, path: str, format: str | None, origins: Origins, named: frozenset[str] = frozenset()
) -> list[ExportTask]:
    """Return a task for each node; raise `Conflict` that lists all pairs that would share a file.

    Nodes at the paths `named` are written under the node's name instead of the original file name.
    """
    tasks, depth = [], len(path.split("/")) if path else 0
    for node in manifest.below(path):
        separator = None
        if isinstance(node, TableNode):
            own = text_separator(node, origins)
            separator = {"csv": own or ",", "parquet": None, None: own}[format]
        tasks.append(ExportTask(node.parts[depth:], node, separator))
    return name_files(tasks, origins, named)


def name_files(tasks: Iterable[ExportTask], origins: Origins, named: frozenset[str] = frozenset()) -> list[ExportTask]:
    """Return the tasks with file names for the form in which each is written; raise `Conflict` as `plan` does.

    Nodes of one group with the same original file name (the sheets of a workbook) are written under their own names.
    """
    tasks = [_named(task, origins) for task in tasks]
    count = Counter(task.parts for task in tasks)
    is_own = [task.node.path in named or count[task.parts] > 1 for task in tasks]
    tasks = [
        _own_name(task) if own and task.node.kind != "group" else task for task, own in zip(tasks, is_own, strict=True)
    ]
    _check_apart(tasks)
    return tasks


def _named(task: ExportTask, origins: Origins) -> ExportTask:
    if isinstance(task.node, GroupNode) or not task.parts:
        return task
    return replace(task, parts=(*task.parts[:-1], file_name(task, origins)))


def _own_name(task: ExportTask) -> ExportTask:
    """Return the task under the node's name, with the suffix that it would have had."""
    if not task.parts:
        return task
    suffix = PurePosixPath(task.parts[-1]).suffix
    name = task.node.parts[-1]
    is_whole = isinstance(task.node, FileNode) and name.endswith(suffix)
    return replace(task, parts=(*task.parts[:-1], name if is_whole else _shortened(name, suffix)))


def _check_apart(tasks: list[ExportTask]) -> None:
    taken: dict[tuple[str, ...], Node] = {}
    folders = {task.parts[:length] for task in tasks for length in range(1, len(task.parts))}
    clashes = []
    for task in tasks:
        other = taken.setdefault(task.parts, task.node)
        if other is not task.node:
            clashes.append(f"{other.path} and {task.node.path} are both {'/'.join(task.parts)}")
        elif task.parts in folders and task.node.kind != "group":
            clashes.append(f"{task.node.path} is a file where a folder is needed: {'/'.join(task.parts)}")
    if clashes:
        listed = "\n".join(f"  {each}" for each in clashes)
        raise Conflict(f"not every node has a file name of its own:\n{listed}", hint="export them one by one")


def text_separator(node: TableNode, origins: Origins) -> str | None:
    """Return the separator of the text that a table came from; None if it did not come from text.

    It is in the build record. Without one, the suffix decides; a table with an unknown suffix (`iris.data`) was
    declared as text by its publisher and is taken for comma-separated.
    """
    suffix = PurePosixPath(_uncompressed(node.file_name).lower()).suffix
    origin = origins.get(node.path, {})
    if transform := origin.get("transform"):
        if transform not in OF_TRANSFORM:
            return None
        kwargs = origin.get("kwargs") or {}
        given = kwargs.get("sep", kwargs.get("delimiter"))
        return given if isinstance(given, str) and len(given) == 1 else OF_TRANSFORM[transform]
    return None if not node.file_name or suffix in _NO_TEXT else SEPARATORS.get(suffix, ",")


def file_name(task: ExportTask, origins: Origins) -> str:
    """Return the original name of a node's file; a table written in another form than it had gets another suffix."""
    node, separator = task.node, task.separator
    if isinstance(node, FileNode):
        return node.file_name or node.parts[-1]
    name = _uncompressed(node.file_name) if isinstance(node, TableNode | ArrayNode) else ""
    if isinstance(node, TableNode) and separator is not None and name and separator == text_separator(node, origins):
        return name
    suffix = ".npy" if isinstance(node, ArrayNode) else ".csv" if separator is not None else ".parquet"
    if not name:
        return _shortened(node.parts[-1], suffix)
    path = PurePosixPath(name)
    return name if path.suffix.lower() == suffix else _shortened(path.stem, suffix)


def _uncompressed(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _COMPRESSED else name


def _shortened(stem: str, suffix: str) -> str:
    """Return the stem with a suffix, cut to the maximum length of a file name."""
    return stem.encode()[: 255 - len(suffix)].decode(errors="ignore") + suffix
