"""Checkout: let folders of a project have the files of the packages that its lock pins."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from datapkg.api.export import export
from datapkg.errors import Conflict, DatapkgError, InvalidLock, WrongType
from datapkg.format.checkout import CheckoutFolder, parse_checkout
from datapkg.format.lockfile import LOCK, Lock
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.project import nearest_requirements, read_lock

_GROUPS = ("package", "group")


@dataclass(frozen=True)
class CheckoutResult:
    """A checkout folder after an install: how many files were written, unchanged and removed, or the error."""

    folder: str
    ref: str
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    error: DatapkgError | None = None


def checkout_folders(
    home: Home, start: Path, requirements: Path | None = None, *, progress: Progress = silent
) -> list[CheckoutResult]:
    """Write the checkout folders of the nearest `datapkg.yml` (or the given one) in the states that its lock pins.

    Only files that changed are written. Edited files stay where the pinned state has them as before; where it does not,
    the folder stays as it is and its result has the `Conflict`. Raise `InvalidLock`.
    """
    path = requirements or nearest_requirements(start)
    folders = parse_checkout(path.read_bytes(), str(path)) if path else []
    if path is None or not folders:
        return []
    project = path.absolute().parent
    found = read_lock(project / LOCK)
    lock = found[1] if found else Lock(())
    return [_checked_out(home, project, each, lock, progress) for each in folders]


def _checked_out(home: Home, project: Path, wanted: CheckoutFolder, lock: Lock, progress: Progress) -> CheckoutResult:
    ref = wanted.ref
    try:
        hash = lock.hash_of(ref.package)
        if hash is None:
            what = f"the checkout folder {wanted.folder} has {ref}, and {ref.package} is not locked"
            raise InvalidLock(what, hint=f"datapkg add {ref}")
        exact = ref.at(State("hash", hash))
        dest = _target(home, project, wanted, exact)
        try:
            done = export(home, exact, dest, link=wanted.link, keep_edits=True, progress=progress)
        except Conflict as error:
            what = f"{error.message}; to replace them by {exact.package}@sha256:{hash[:12]}"
            raise Conflict(what, hint=f"datapkg export --force {exact} {quote(str(dest))}", **error.detail) from error
    except DatapkgError as error:
        return CheckoutResult(wanted.folder, str(ref), error=error)
    written = len(done.files) - done.unchanged
    return CheckoutResult(wanted.folder, str(exact), written, done.unchanged, len(done.removed), done.notes)


def _target(home: Home, project: Path, wanted: CheckoutFolder, exact: Ref) -> Path:
    """Return the folder to write; raise `Conflict` if a link leads out of the project, `WrongType` for one file."""
    dest = project / wanted.folder
    above = Path(os.path.realpath(dest.parent))
    if not above.is_relative_to(os.path.realpath(project)) or dest.is_symlink():
        what = f"{dest} is or is behind a symbolic link; nothing was written"
        raise Conflict(what, hint=f"rm {dest}")
    assert exact.state is not None
    store = next((each for each in home.stores if each.holds(exact.state.value)), home.store)
    if store.holds(exact.state.value):
        manifest = store.manifest(exact.state.value)
        kind = manifest.kind(exact.path) if exact.path else "package"
        if kind and kind not in _GROUPS:
            what = f"{wanted.ref} is one {kind}; a checkout folder has a package or a group"
            raise WrongType(what, hint=f"datapkg export {exact} {quote(str(dest))}")
    with contextlib.suppress(OSError):  # one that is empty, as git leaves them
        dest.rmdir()
    return dest
