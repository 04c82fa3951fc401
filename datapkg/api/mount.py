"""Mount: show a package, or a node in it, as a folder of read-only files while this process runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from datapkg.api.results import MountResult
from datapkg.errors import Conflict, DatapkgError, InvalidInput, NotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.files import SEALED_MTIME_NS
from datapkg.objects.folder_lock import claimed
from datapkg.reading import opening
from datapkg.reading.files import mount_loop
from datapkg.reading.files.mount import MountedTree, Tell
from datapkg.reading.files.mount_points import OURS, answers, check_fuse, detach, mounted_at, real_path
from datapkg.reading.files.tree import FileTree
from datapkg.reading.source import Source

FUSE_CONF = Path("/etc/fuse.conf")
END_S = 10.0  # limit for the mounting process to end after the unmount


def mount(
    home: Home,
    ref: Ref,
    folder: Path,
    *,
    ready: Callable[[MountResult], None],
    tell: Tell,
    lazy: bool | None = None,
    registry: str | None = None,
    allow_other: bool = False,
) -> bool:
    """Show what `ref` names now in `folder`, which is created if missing, until it is unmounted or a signal arrives.

    With `lazy` (by default the setting of that name), the package need not be installed, and a file is fetched when it
    is opened, from `registry` or that of the settings. `ready` is called once programs can read, and `tell` with the
    path and the error of each failed read. Return False if programs still had files open, which break when this process
    ends. Raise what `datapkg.load` does; `MissingDependency`; `Conflict` if the folder is not empty, or a mount
    already; `Refused` if the system does not allow mounting.
    """
    mount_loop.library()
    check_fuse()
    source = open_source(home, ref, lazy, registry)
    tree = FileTree(source, ref.path)
    if not tree.look("").is_folder:
        raise InvalidInput(f"{ref} is one file; what is mounted is a package or a group", hint=f"datapkg cat {ref}")
    folder = real_path(folder)
    options = {"fsname": f"{OURS}{ref.package}@sha256:{source.hash[:16]}", **_for_others(allow_other)}
    shown = MountedTree(tree, _time_ns(source), tell)
    is_new = _prepare(folder)
    with claimed(folder) as is_free:
        if not is_free or mounted_at(folder):
            raise Conflict(f"another process mounts on {folder} at this moment")
        try:
            return mount_loop.run(shown, folder, options, lambda: ready(MountResult(folder, ref.package, source.hash)))
        finally:
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def unmount(folder: Path, force: bool = False) -> Path:
    """Unmount a folder, wait until its mounting process has ended, and return the folder.

    Raise `NotFound` if no package is mounted there; `Conflict` if a program uses it, unless `force`.
    """
    folder = real_path(folder)
    name = mounted_at(folder)
    if name is None or not name.startswith(OURS):
        raise NotFound(f"no package is mounted on {folder}" + (f", but {name}" if name else ""))
    if problem := detach(folder, force or not answers(folder)):
        hint = f"leave the folder, close its files, or: datapkg unmount --force {folder}"
        raise Conflict(f"{folder} was not unmounted: {problem}", hint=hint)
    if not force:
        # The mounting process holds this lock until it has ended, and it may remove the folder.
        with contextlib.suppress(FileNotFoundError), claimed(folder, END_S):
            pass
    return folder


def open_source(home: Home, ref: Ref, lazy: bool | None, registry: str | None) -> Source:
    """Resolve the state that is mounted; raise what `datapkg.load` does."""
    is_lazy = home.settings.get("lazy").value if lazy is None else lazy
    return opening.open_source(ref, home, lazy=is_lazy, registry=registry)


def _for_others(allowed: bool) -> dict[str, bool]:
    """Return the mount option for other users; raise `InvalidInput` if the system forbids it."""
    if not allowed:
        return {}
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        lines = []
    if os.getuid() != 0 and "user_allow_other" not in [line.strip() for line in lines]:
        raise InvalidInput(f"{FUSE_CONF} does not let users mount for others", hint="write there: user_allow_other")
    return {"allow_other": True}


def _prepare(folder: Path) -> bool:
    """Check that a folder can be mounted on, and create a missing one; return whether it was created.

    A stale datapkg mount of a killed process is unmounted.
    """
    if name := mounted_at(folder):
        if answers(folder):
            raise Conflict(f"{name} is mounted on {folder} already", hint=f"datapkg unmount {folder}")
        # Its process is gone, so no program can read from it any more, be it busy or not.
        problem = detach(folder, even_if_busy=True) if name.startswith(OURS) else f"it is {name}"
        if problem:
            message = f"a mount that no longer answers is in the way at {folder}: {problem}"
            raise Conflict(message, hint=f"fusermount3 -u -z {folder}")
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise Conflict(f"{folder} is a file, and no folder to mount on") from None
        if os.listdir(folder):
            raise Conflict(f"{folder} is not empty; a mount would hide what is there") from None
        return False
    return True


def _time_ns(source: Source) -> int:
    """Return the time when the state was first built, pushed or installed here, in ns; a fixed time if unknown."""
    try:
        events = source.store.refs.log(source.ref, hash=source.hash)
        times = [datetime.fromisoformat(each.at).timestamp() for each in events]
    except (DatapkgError, ValueError):
        times = []
    return round(min(times) * 10**6) * 1000 if times else SEALED_MTIME_NS
