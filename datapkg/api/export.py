"""Export: a package, or a part of it, as ordinary files with their original names."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from datapkg.api.results import Exported
from datapkg.errors import Conflict, InvalidInput, NodeNotFound, ObjectNotFound
from datapkg.format.manifest import ArrayNode, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.home import Found, Home
from datapkg.objects.files import STALE_TEMP_S
from datapkg.objects.progress import Progress, silent
from datapkg.store.store import Store

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".ssv": ";"}
NO_TEXT = {
    ".parquet",
    ".pq",
    ".xls",
    ".xlsx",
    ".xlsm",
    ".ods",
    ".feather",
    ".arrow",
    ".orc",
    ".json",
    ".jsonl",
    ".ndjson",
}
COMPRESSED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
FORMATS = ("csv", "parquet")
PIECE_BYTES = 1 << 20
STAGED = ".datapkg-export-"


@dataclass(frozen=True)
class Task:
    """One file to write: where below the target, from which node, and how (`separator` of text, or None for bytes)."""

    parts: tuple[str, ...]
    node: Node
    separator: str | None = None


def export(
    home: Home, ref: Ref, dest: Path, *, force: bool = False, format: str | None = None, progress: Progress = silent
) -> Exported:
    """Writes what a ref names to `dest`: a folder, or one file for one node; all of it or nothing.

    Tables that came from csv or tsv are text again, others `.parquet`; `format` (csv, parquet) decides for all.
    Never writes outside `dest`. Raises `Conflict` where it exists, unless `force`, which replaces files of the same
    name and keeps others.
    """
    if format not in (None, *FORMATS):
        raise InvalidInput(f"there is no export format {format!r}; there are {', '.join(FORMATS)}")
    found = home.find(ref)
    manifest = found.store.manifest(found.hash)
    tasks = _plan(manifest, ref.path, format)
    _check_present(found, manifest, ref)
    dest = Path(dest).expanduser().absolute()
    single = len(tasks) == 1 and tasks[0].parts == ()
    if single and dest.is_dir() and not dest.is_symlink():
        dest, single = dest / _file_name(tasks[0].node, tasks[0].separator), True
    if os.path.lexists(dest) and not force:
        raise Conflict(f"{dest} exists; nothing was written", hint=f"datapkg export --force {ref} {dest}")
    staged = _stage(found.store, dest, tasks, single, progress)
    try:
        return _settle(staged, dest, tasks, single)
    finally:
        _discard(staged)


def cat(home: Home, ref: Ref, write: Callable[[bytes], Any]) -> None:
    """Writes the bytes of a file or array, or a table as csv text."""
    found = home.find(ref)
    manifest = found.store.manifest(found.hash)
    node = manifest.get(ref.path) if ref.path else None
    if node is None or isinstance(node, GroupNode):
        manifest.below(ref.path)
        what = f"{ref} is a group" if ref.path else f"{ref} is a whole package"
        raise NodeNotFound(f"{what}; cat shows one table or file", hint=f"datapkg show {ref}")
    _check_present(found, manifest, ref)
    separator = (_separator(node) or ",") if isinstance(node, TableNode) else None
    for piece in _pieces(found.store, Task((), node, separator)):
        write(piece)


def _plan(manifest: Manifest, path: str, format: str | None) -> list[Task]:
    """Decides where each node goes; raises `Conflict` naming all pairs that would share a file.

    Nodes of one group with one original file name (the sheets of a workbook) are written under their own names.
    """
    tasks, depth = [], len(path.split("/")) if path else 0
    for node in manifest.below(path):
        below = node.parts[depth:]
        if isinstance(node, GroupNode):
            tasks.append(Task(below, node))
            continue
        separator = None
        if isinstance(node, TableNode):
            separator = {"csv": _separator(node) or ",", "parquet": None, None: _separator(node)}[format]
        parts = (*below[:-1], _file_name(node, separator)) if below else ()
        tasks.append(Task(parts, node, separator))
    count = Counter(task.parts for task in tasks)
    tasks = [task if count[task.parts] == 1 or task.node.kind == "group" else _own_name(task) for task in tasks]
    _check_apart(tasks)
    return tasks


def _own_name(task: Task) -> Task:
    """The same file under the node's name, with the suffix that it would have had."""
    suffix = PurePosixPath(task.parts[-1]).suffix
    name = task.node.parts[-1]
    return replace(task, parts=(*task.parts[:-1], name if name.endswith(suffix) else _shortened(name, suffix)))


def _check_apart(tasks: list[Task]) -> None:
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


def _separator(node: TableNode) -> str | None:
    """What separates the columns of the text that the table came from; None if it was no text.

    A name that does not tell (`iris.data`) was given to text by somebody who said so: it is text with commas.
    """
    suffix = PurePosixPath(_uncompressed(node.file_name).lower()).suffix
    return None if not node.file_name or suffix in NO_TEXT else SEPARATORS.get(suffix, ",")


def _uncompressed(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in COMPRESSED else name


def _file_name(node: Node, separator: str | None) -> str:
    """The original name of a node's file; a table that is not written in the form it had gets another suffix."""
    if isinstance(node, GroupNode):
        return node.parts[-1]
    if isinstance(node, FileNode):
        return node.file_name or node.parts[-1]
    if isinstance(node, TableNode) and separator is not None and separator == _separator(node):
        return _uncompressed(node.file_name)
    suffix = ".npy" if isinstance(node, ArrayNode) else ".csv" if separator is not None else ".parquet"
    name = _uncompressed(node.file_name)
    if not name:
        return _shortened(node.parts[-1], suffix)
    path = PurePosixPath(name)
    return name if path.suffix.lower() == suffix else _shortened(path.stem, suffix)


def _shortened(stem: str, suffix: str) -> str:
    """The stem with a suffix, cut so that a file system takes it."""
    return stem.encode()[: 255 - len(suffix)].decode(errors="ignore") + suffix


def _check_present(found: Found, manifest: Manifest, ref: Ref) -> None:
    absent = found.store.absent(manifest, ref.path)
    if absent:
        raise ObjectNotFound(
            f"{ref} is not wholly on this machine (objects absent or damaged: {len(absent)}); nothing was written",
            hint=f"datapkg install {Ref(ref.user, ref.name, ref.path)}@sha256:{found.hash}",
        )


def _stage(store: Store, dest: Path, tasks: list[Task], single: bool, progress: Progress) -> Path:
    """Writes everything beside the target, in a folder that nobody else knows."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    _sweep(dest.parent)
    staged = dest.parent / f"{STAGED}{secrets.token_hex(8)}"
    staged.mkdir()
    try:
        total, done = sum(task.node.size for task in tasks), 0
        for number, task in enumerate(tasks):
            target = staged / str(number) if single else staged.joinpath(*task.parts)
            if task.node.kind == "group":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:
                for piece in _pieces(store, task):
                    file.write(piece)
            done += task.node.size
            progress("files", done, total)
        return staged
    except BaseException:
        _discard(staged)
        raise


def _sweep(folder: Path) -> None:
    """Removes what exports that were killed long ago left."""
    for path in folder.glob(f"{STAGED}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_ctime > STALE_TEMP_S:
                _discard(path)


def _settle(staged: Path, dest: Path, tasks: list[Task], single: bool) -> Exported:
    """Gives what was written its place; into a folder that exists, file by file, following no link."""
    if single:
        _refuse_folder(dest)
        os.replace(staged / "0", dest)
        files = [dest]
    elif not os.path.lexists(dest):
        os.rename(staged, dest)
        files = [dest.joinpath(*task.parts) for task in tasks if task.node.kind != "group"]
    else:
        _make_folder(dest, ())
        for task in tasks:
            is_group = task.node.kind == "group"
            _make_folder(dest, task.parts if is_group else task.parts[:-1])
            if not is_group:
                _refuse_folder(dest.joinpath(*task.parts))
        files = []
        for task in tasks:
            if task.node.kind != "group":
                files.append(dest.joinpath(*task.parts))
                os.replace(staged.joinpath(*task.parts), files[-1])
    return Exported(files, sum(file.stat().st_size for file in files))


def _make_folder(dest: Path, parts: tuple[str, ...]) -> None:
    for length in range(len(parts) + 1):
        folder = dest.joinpath(*parts[:length])
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise Conflict(f"{folder} is in the way: it is no folder; nothing was written there")
        folder.mkdir(exist_ok=True)


def _refuse_folder(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise Conflict(f"{path} is a folder where a file is to be written")


def _discard(staged: Path) -> None:
    shutil.rmtree(staged, ignore_errors=True)


def _pieces(store: Store, task: Task) -> Iterator[bytes]:
    """The bytes of one file, piece by piece."""
    node = task.node
    if isinstance(node, TableNode) and task.separator is not None:
        yield from _text(store, node, task.separator)
    elif isinstance(node, TableNode) and len(node.objects_) > 1:
        yield from _one_parquet(store, node)
    else:
        for hash, _ in node.objects():
            with store.objects.open(hash) as stream:
                while piece := stream.read(PIECE_BYTES):
                    yield piece


def _text(store: Store, node: TableNode, separator: str) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for number, (hash, _) in enumerate(node.objects()):
        with store.objects.open(hash) as stream:
            frame = pq.read_table(stream).to_pandas()
        text = frame.to_csv(sep=separator, index=_has_index(frame), header=number == 0, lineterminator="\n")
        yield text.encode()


def _has_index(frame: Any) -> bool:
    import pandas as pd

    return not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None)


def _one_parquet(store: Store, node: TableNode) -> Iterator[bytes]:
    """The blocks of a table as the row groups of one Parquet file."""
    import pyarrow.parquet as pq

    pipe = _Pipe()
    writer: Any = None
    for hash, _ in node.objects():
        with store.objects.open(hash) as stream:
            table = pq.read_table(stream)
        writer = writer or pq.ParquetWriter(pipe, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema), row_group_size=max(1, table.num_rows))
        yield pipe.take()
    writer.close()
    yield pipe.take()


class _Pipe(io.RawIOBase):
    """A file that forgets what was taken from it, so that one of any size is written in little memory."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
