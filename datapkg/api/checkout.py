"""Checkout: let folders of a project have the files of the packages that its lock pins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from datapkg.api.checkout_file import check_out_file
from datapkg.api.export import export
from datapkg.api.exporting.record import EDITED, read_record
from datapkg.errors import Conflict, DatapkgError, InvalidLock
from datapkg.format.checkout import CheckoutFolder, parse_checkout
from datapkg.format.lockfile import LOCK, Lock
from datapkg.format.manifest.parsed import Node
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.folders import OpenFolder
from datapkg.objects.progress import Progress, silent
from datapkg.project import nearest_requirements, read_lock


@dataclass(frozen=True)
class CheckoutResult:
    """A checkout folder after an install: how many files were written, unchanged and removed, or the error.

    Of a dry run, `edited` has the files that were edited since they were written, and nothing is counted.
    """

    folder: str
    ref: str
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    error: DatapkgError | None = None
    edited: list[str] = field(default_factory=list)


def checkout_folders(
    home: Home,
    start: Path,
    requirements: Path | None = None,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[CheckoutResult]:
    """Write the checkout folders of the nearest `datapkg.yml` (or the given one) in the states that its lock pins.

    Only files that changed are written. Edited files stay where the pinned state has them as before; where it does not,
    the folder stays as it is and its result has the `Conflict`. A `dry_run` writes nothing, and finds what is edited.
    Raise `InvalidLock`.
    """
    path = requirements or nearest_requirements(start)
    folders = parse_checkout(path.read_bytes(), str(path)) if path else []
    if path is None or not folders:
        return []
    project = path.absolute().parent
    found = read_lock(project / LOCK)
    lock = found[1] if found else Lock(())
    work = _planned if dry_run else _checked_out
    return [_result(work, home, project, each, lock, progress) for each in folders]


def _result(
    work: Callable[[Home, CheckoutFolder, Ref, Path, Progress], CheckoutResult],
    home: Home,
    project: Path,
    wanted: CheckoutFolder,
    lock: Lock,
    progress: Progress,
) -> CheckoutResult:
    ref = wanted.ref
    try:
        hash = lock.hash_of(ref.package)
        if hash is None:
            what = f"the checkout folder {wanted.folder} has {ref}, and {ref.package} is not locked"
            raise InvalidLock(what, hint=f"datapkg add {ref}")
        exact = ref.at(State("hash", hash))
        dest = _target(project, wanted, _node(home, exact))
        try:
            return work(home, wanted, exact, dest, progress)
        except Conflict as error:
            what = f"{error.message}; to replace what is there by {exact.package}@sha256:{hash[:12]}"
            line = error.hint if dest.is_dir() and not error.detail else ""
            raise Conflict(what, hint=line or _export_line(exact, dest), **error.detail) from error
    except DatapkgError as error:
        return CheckoutResult(wanted.folder, str(ref), error=error)


def _export_line(exact: Ref, dest: Path) -> str:
    return f"datapkg export --force {exact} {quote(str(dest))}"


def _checked_out(home: Home, wanted: CheckoutFolder, exact: Ref, dest: Path, progress: Progress) -> CheckoutResult:
    # git leaves empty folders behind, and an export refuses one that it did not write. Others stay: rmdir fails.
    with contextlib.suppress(OSError):
        dest.rmdir()
    node = _node(home, exact)
    if node is not None and node.kind != "group":
        is_new = check_out_file(home, exact, node, dest, wanted.link, progress)
        return CheckoutResult(wanted.folder, str(exact), int(is_new), int(not is_new))
    done = export(home, exact, dest, link=wanted.link, keep_edits=True, progress=progress)
    written = len(done.files) - done.unchanged
    return CheckoutResult(wanted.folder, str(exact), written, done.unchanged, len(done.removed), done.notes)


def _planned(home: Home, wanted: CheckoutFolder, exact: Ref, dest: Path, progress: Progress) -> CheckoutResult:
    """Return what was edited since the last install; raise `Conflict` for what no install wrote."""
    package, is_folder = str(exact.at(None)), dest.is_dir() and not dest.is_symlink()
    record = read_record(home.data, dest, package, None if is_folder else dest.parent)
    if record is None and os.path.lexists(dest) and not (is_folder and not any(dest.iterdir())):
        raise Conflict(f"{dest} exists, and no install wrote it")
    edited: list[str] = []
    if record is not None:
        with OpenFolder.at(dest if is_folder else dest.parent) as target:
            edited = ["/".join(each.parts) for each in record.files if each.state(target) == EDITED]
    return CheckoutResult(wanted.folder, str(exact), edited=edited)


def _node(home: Home, exact: Ref) -> Node | None:
    """Return the node that a checkout folder has; None for a whole package, and where the state is not here yet."""
    assert exact.state is not None
    store = next((each for each in home.stores if each.holds(exact.state.value)), None)
    return store.manifest(exact.state.value).get(exact.path) if store and exact.path else None


def _target(project: Path, wanted: CheckoutFolder, node: Node | None) -> Path:
    """Return the folder or file to write; raise `Conflict` if a link leads out of the project."""
    dest = project / wanted.folder
    above = Path(os.path.realpath(dest.parent))
    is_link = dest.is_symlink() and (node is None or node.kind == "group")  # that of one file may be one itself
    if not above.is_relative_to(os.path.realpath(project)) or is_link:
        what = f"{dest} is or is behind a symbolic link; nothing was written"
        raise Conflict(what, hint=f"rm {dest}")
    return dest
