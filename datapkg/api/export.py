"""Export: write a package, or a part of it, as ordinary files with their original names."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from datapkg.api.exporting.contents import Writer, WrittenFile
from datapkg.api.exporting.file_writer import TREE, make_tree, place_file, place_tree
from datapkg.api.exporting.links import check_link
from datapkg.api.exporting.plan import SEPARATORS, ExportTask, Origins, file_name, name_files, plan
from datapkg.api.exporting.record import NO_STAMP, ExportedFile, ExportRecord, Parts, read_record, stamped, write_record
from datapkg.api.exporting.stored_nodes import check_present
from datapkg.api.exporting.update import Update, earlier_export
from datapkg.api.results import ExportResult
from datapkg.building.spec.exported import FileEntry, check_package_file, needs_glob, package_file
from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.errors import Conflict, CorruptObject, InvalidInput, Refused
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.files import STALE_TEMP_S, UNWRITABLE
from datapkg.objects.folders import OpenFolder, made_folders
from datapkg.objects.progress import EXPORTING, EXPORTING_FILES, PartCounter, Progress, Share, ignore_share, silent
from datapkg.reading.missing.earlier_states import explained
from datapkg.reading.source import Source
from datapkg.resolve import ResolvedState, find_installed

FORMATS = ("csv", "parquet")
STAGED = ".datapkg-export-"
# Builds that are looked into for the source of a node; bounded, as a log may have thousands.
_RECORDS = 20
_OF_KIND = {"file": "id", "array": "numpy", "table": "parquet"}


@dataclass(frozen=True)
class _Job:
    """One export: its target, options and package, and the recorded source of each node."""

    found: ResolvedState
    ref: Ref
    manifest: Manifest
    dest: Path
    origins: Origins
    force: bool
    format: str | None
    with_build_file: bool
    link: str
    data: Path
    keep_edits: bool = False

    @property
    def package(self) -> str:
        """Return the package, and the path of the node in it, without a state."""
        return str(self.ref.at(None))

    @cached_property
    def earlier(self) -> ExportRecord | None:
        """Return the record of the last export of this package into the same folder."""
        return read_record(self.data, self.dest, self.package)


def export(
    home: Home,
    ref: Ref,
    dest: Path,
    *,
    force: bool = False,
    format: str | None = None,
    with_build_file: bool = False,
    link: str = "auto",
    keep_edits: bool = False,
    progress: Progress = silent,
) -> ExportResult:
    """Write what a ref names to `dest`: a folder, or one file for one node; either everything is written or nothing.

    Tables that came from csv or tsv are written as text if a build of the text returns the same values; all others as
    `.parquet`. `format` (csv, parquet) decides for all tables; for a single table the suffix of `dest` does.
    `with_build_file` adds a `build.yml` that builds the same nodes, metadata and `content` from these files.

    A second export into a folder replaces only what changed, and removes what the package no longer has; files that
    were edited since are a `Conflict`, and those that are no longer in the package stay. With `keep_edits`, edited
    files stay too where the package has the same bytes as before. `link` (see `exporting.links`) is how files get the
    bytes of objects that are stored as they are.

    Nothing is written outside `dest`. Raise `Conflict` if it exists and is not such a folder, unless `force`, which
    replaces files of the same name and keeps others; `InvalidInput` for a table that `format` cannot represent;
    `Refused` for a link that cannot be made.
    """
    check_link(link)
    if format not in (None, *FORMATS):
        raise InvalidInput(f"there is no export format {format!r}; there are {', '.join(FORMATS)}")
    found = find_installed(home, ref)
    manifest = found.store.manifest(found.hash)
    dest = Path(dest).expanduser().absolute()
    origins = _origins(found, ref, manifest)
    job = _Job(found, ref, manifest, dest, origins, force, format, with_build_file, link, home.data, keep_edits)
    with explained(found, home):
        nodes = manifest.below(ref.path)
    named = frozenset(node.path for node in nodes if with_build_file and needs_glob(node.path))
    tasks = plan(manifest, ref.path, format, job.origins, named)
    check_present(found, manifest, ref)
    if len(tasks) == 1 and not tasks[0].parts and tasks[0].node.kind != "group":
        return _export_file(job, tasks[0], progress)
    if job.earlier is None:
        _check_free(job)
    return _export_folder(job, tasks, named, progress)


def _origins(found: ResolvedState, ref: Ref, manifest: Manifest) -> Origins:
    """Return the recorded sources of a state, by path.

    For a state without a build record (made by `edit`, for example), entries of newer builds are used for files of the
    same name. They may be out of date: text written by them is accepted only if it reads back equal.
    """
    store = found.store
    try:
        record = store.record(ref, found.hash)
        records = [record] if record else [store.record_of(each) for each in store.refs.newest_builds(ref, _RECORDS)]
    except CorruptObject:  # a corrupt log event does not prevent the export
        return {}
    origins: dict[str, dict[str, Any]] = {}
    for sources in (each.get("sources") for each in records):
        for entry in sources if isinstance(sources, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("kwargs", {}), dict):
                origins.setdefault(str(entry.get("path")), entry)
    if record:
        return origins
    names = {node.path: node.file_name for node in manifest.below(ref.path) if isinstance(node, TableNode)}
    return {
        path: entry for path, entry in origins.items() if PurePosixPath(str(entry.get("file"))).name == names.get(path)
    }


def _check_free(job: _Job) -> None:
    # lexists: a link that leads nowhere is in the way too.
    if os.path.lexists(job.dest) and not job.force:
        raise Conflict(f"{job.dest} exists; nothing was written", hint=f"datapkg export --force {job.ref} {job.dest}")


@contextmanager
def _staging(dest: Path, ref: Ref) -> Iterator[tuple[OpenFolder, OpenFolder]]:
    """Open the parent of a target and a temporary folder with a random name, which is removed at the end.

    The temporary folder is inside the target if that is a folder, which may be on another file system than its parent,
    else beside it.
    """
    name = f"{STAGED}{secrets.token_hex(8)}"
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folders(dest.parent))
            above = parent = stack.enter_context(OpenFolder.at(dest.parent))
            found = parent.status(dest.name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                above = stack.enter_context(parent.folder(dest.name))
            _sweep(above)
            above.make_folder(name)
        except OSError as error:
            if error.errno not in (*UNWRITABLE, errno.ENOENT):  # a folder such as /proc takes no new names
                raise
            line = f"nothing can be written at {dest}: {error.strerror}; nothing was exported"
            raise Refused(line, hint=f"datapkg export {ref} ~/{ref.name}") from error
        try:
            with above.folder(name) as staged:
                yield parent, staged
        finally:
            above.remove_tree(name)


def _sweep(folder: OpenFolder) -> None:
    """Remove stale temporary folders of exports that were killed."""
    for name in folder.names():
        found = folder.status(name) if name.startswith(STAGED) else None
        if found and stat.S_ISDIR(found.st_mode) and time.time() - found.st_ctime > STALE_TEMP_S:
            folder.remove_tree(name)


def _export_file(job: _Job, task: ExportTask, progress: Progress) -> ExportResult:
    if job.with_build_file:
        raise InvalidInput(f"{job.ref} is one node; a build file describes a package or a group of it")
    is_folder = job.dest.is_dir() and not job.dest.is_symlink()
    if not is_folder:
        job, task = _by_suffix(job, task)
        _check_free(job)
    inside = job.dest / file_name(task, job.origins) if is_folder else job.dest
    with _staging(inside, job.ref) as (parent, staged):
        # The hash is for the record of an exported folder.
        written = replace(_writer(job, staged, [task], progress), has_hashes=False).write(task, 0)
        name = file_name(written.task, job.origins) if is_folder else job.dest.name
        if is_folder:
            _check_free(replace(job, dest=job.dest / name))
        place_file(staged, 0, parent, name, force=job.force)
    path = inside.with_name(name)
    return ExportResult([path], written.size, [written.note] if written.note else [])


def _by_suffix(job: _Job, task: ExportTask) -> tuple[_Job, ExportTask]:
    """Choose the format of a table by the suffix of its target, unless `format` was given."""
    suffix = job.dest.suffix.lower()
    if not isinstance(task.node, TableNode) or job.format is not None:
        return job, task
    if suffix in SEPARATORS:
        return replace(job, format="csv"), replace(task, separator=SEPARATORS[suffix])
    return (job, replace(task, separator=None)) if suffix == ".parquet" else (job, task)


def _writer(job: _Job, staged: OpenFolder, tasks: list[ExportTask], progress: Progress) -> Writer:
    source = Source(job.found.store, job.ref, job.found.hash)
    counter = PartCounter(progress, [task.node.size or 0 for task in tasks], (EXPORTING, EXPORTING_FILES))

    def share_of(number: int) -> Share:
        return counter.share(number) if number < len(tasks) else ignore_share

    return Writer(source, staged, job.origins, job.format, job.with_build_file, job.link, share_of)


def _export_folder(job: _Job, tasks: list[ExportTask], named: frozenset[str], progress: Progress) -> ExportResult:
    with (
        _staging(job.dest, job.ref) as (parent, staged),
        earlier_export(parent, job.dest.name, job.earlier) as update,
    ):
        writer = _writer(job, staged, tasks, progress)
        groups = [task for task in tasks if task.node.kind == "group"]
        written = _written(job, writer, update, tasks)
        # Only now: a text that does not read back equal has become Parquet, with another suffix.
        written = _finally_named(job, writer, groups, written, named)
        moved = list(_moved(job, update, written))
        folders = [task.parts for task in groups]
        make_tree(staged, folders, moved)
        size = sum(each.size for each in written)
        files = [each.task.parts for each in written]
        placed = [parts for _, parts in moved]
        if job.with_build_file:
            size += _add_build_file(job, staged, groups, written)
            files, placed = [*files, (BUILD_FILE,)], [*placed, (BUILD_FILE,)]
        if not job.force:
            update.check(placed, f"datapkg export --force {job.ref} {job.dest}")
        place_tree(staged, parent, job.dest.name, folders, placed, force=job.force or update.is_known)
        # After `place_tree`, which undoes its moves if one fails: this could not be undone.
        removed, edited = update.remove_others(files, folders)
        _keep_record(job, parent, written, update)
    notes = [each.note for each in written if each.note]
    notes += [f"{'/'.join(parts)} is no longer in the package; it was edited, so it stays" for parts in edited]
    paths = [job.dest.joinpath(*parts) for parts in files]
    return ExportResult(paths, size, notes, len(files) - len(placed), [job.dest.joinpath(*parts) for parts in removed])


def _written(job: _Job, writer: Writer, update: Update, tasks: list[ExportTask]) -> list[WrittenFile]:
    """Write the files of all nodes that an earlier export has not written in the same way."""
    written = []
    for number, task in enumerate(tasks):
        if task.node.kind == "group":
            continue
        # A build file needs the form of each text, which the record does not have.
        kept = None if job.with_build_file else update.kept(task.node.path, _key(job, task), edited=job.keep_edits)
        if kept:
            same = replace(task, separator=kept.separator)
            written.append(WrittenFile(same, None, kept.stamp[0], kept.sha256, note=kept.note, kept=kept.parts))
        else:
            written.append(writer.write(task, number))
        written[-1] = replace(written[-1], key=_key(job, task))
        writer.share_of(number)(1)
    return written


def _key(job: _Job, task: ExportTask) -> str:
    """Return a hash of all that the bytes of a file follow from."""
    origin = job.origins.get(task.node.path)
    inputs = [list(task.node.objects()), task.separator, job.format, job.with_build_file, job.link, origin]
    return hash_bytes(json.dumps(inputs, sort_keys=True, default=str).encode())


def _finally_named(
    job: _Job, writer: Writer, groups: list[ExportTask], written: list[WrittenFile], named: frozenset[str]
) -> list[WrittenFile]:
    """Return the files with their final names; one that an earlier export wrote under another name is written."""
    depth = len(job.ref.path.split("/")) if job.ref.path else 0
    final = [replace(each.task, parts=each.task.node.parts[depth:]) for each in written]
    final = name_files([*groups, *final], job.origins, named)[len(groups) :]
    found = []
    for number, (each, task) in enumerate(zip(written, final, strict=True), len(groups) + len(written)):
        if each.number is None and each.kept != task.parts:
            each = replace(writer.write(each.task, number), key=each.key)
        found.append(replace(each, task=task))
    return found


def _moved(job: _Job, update: Update, written: list[WrittenFile]) -> Iterator[tuple[int, Parts]]:
    """Yield number and parts of the files that are to be moved to their places."""
    for each in written:
        parts = each.task.parts
        if each.number is not None and (job.with_build_file or not update.is_same(parts, each.sha256)):
            yield each.number, parts


def _keep_record(job: _Job, parent: OpenFolder, written: list[WrittenFile], update: Update) -> None:
    """Record what was exported, with the stamps of the files in their places; of edited ones, those from before."""
    with parent.folder(job.dest.name) as target:
        files = []
        for each in written:
            task = each.task
            file = ExportedFile(task.parts, each.sha256, NO_STAMP, task.node.path, each.key, task.separator, each.note)
            files.append(update.edited(file) or stamped(file, target))
    write_record(job.data, job.dest, job.package, files)


def _add_build_file(job: _Job, staged: OpenFolder, groups: list[ExportTask], written: list[WrittenFile]) -> int:
    """Write `build.yml` into the staged tree, verify that it reads back equal, and return its size."""
    depth = len(job.ref.path.split("/")) if job.ref.path else 0
    top = next((task.node for task in groups if not task.parts), None)
    meta = (top.meta if top else {}) if job.ref.path else job.manifest.meta
    metas = {"/".join(task.parts): task.node.meta for task in groups if task.parts}
    entries = [
        FileEntry(
            "/".join(each.task.node.parts[depth:]),
            "/".join(each.task.parts),
            each.form.transform if each.form else _OF_KIND[each.task.node.kind],
            each.form.kwargs if each.form else {},
            each.task.node.meta,
        )
        for each in written
    ]
    with staged.folder(TREE) as tree:
        if any(each.task.parts == (BUILD_FILE,) for each in written):
            raise Conflict(
                f"a file of the package is called {BUILD_FILE}, as the build file would be; nothing was written",
                hint="leave out --with-build-file",
            )
        with tree.new_file(BUILD_FILE) as file:
            size = file.write(package_file(entries, metas, meta).encode())
        check_package_file(tree.path / BUILD_FILE, entries, metas, meta)
    return size
