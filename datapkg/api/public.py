"""The public Python functions: they take text and return packages.

`progress` is called as the work advances; without it, a notebook shows a progress bar, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.api.notebook_progress import shown
from datapkg.api.public_build import opened
from datapkg.api.push_result import PushResult
from datapkg.api.results import BundleResult, ExportResult, SyncResult, VerifyResult
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref, State
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.objects.progress import Progress
from datapkg.reading.load import load as open_node

if TYPE_CHECKING:
    from datapkg.api.edit import Draft
    from datapkg.reading.files.open_hook import OpenHook


def push(
    ref: str,
    *,
    public: bool = False,
    message: str = "",
    tag: str | None = None,
    version: str | None = None,
    onto: str | None = None,
    force: bool = False,
    confirm: bool = False,
    dry_run: bool = False,
    registry: str | None = None,
    progress: Progress | None = None,
) -> PushResult:
    """Publish the last build of a package, or the state of the ref, to its registry.

    `onto` is the hash of the registry's latest state, for a package that this machine has never seen. A `dry_run` sends
    nothing: its `changes` list what would change for users, and it raises what the push would raise. `confirm` confirms
    that `public` makes all earlier pushes of a private package public. Raise `Conflict` if somebody pushed meanwhile,
    unless `force`; `Refused`, `Unreachable`.
    """
    from datapkg.api.push import push_package

    with shown(progress) as report_progress:
        return push_package(
            Home(),
            Ref.parse(ref),
            public=public,
            message=message,
            tag=tag,
            version=version,
            parent=onto,
            force=force,
            confirm=confirm,
            dry_run=dry_run,
            registry=registry,
            progress=report_progress,
        )


def install(
    ref: str | None = None,
    *,
    frozen: bool = False,
    groups: Sequence[str] = (),
    no_groups: Sequence[str] = (),
    meta_only: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_size: int | None = None,
    part: tuple[int, int] | None = None,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Install a package, or the node in it that the ref names, on this machine; return it.

    Without a ref, install what the nearest `datapkg.yml` and `datapkg.lock` list, with these groups, update checkout
    folders, and return a list; `frozen` fails where the lock does not fit. Only a part of a package is installed with
    `meta_only` (the manifest), `include` and `exclude` (patterns of paths such as `raw/**/*.jpg`), `max_size` (of a
    node, in bytes), or `part`: (0, 4) is the first of four parts, those of `datapkg.shard`. Raise `PackageNotFound`,
    `VersionNotFound`, `TagNotFound`, `HashMismatch`, `InvalidLock`, `Conflict`, `Refused`, `Unreachable`.
    """
    from datapkg.api.install import InstallOptions, install_one
    from datapkg.api.lock import install_project

    home, selection = Home(), Selection(tuple(include), tuple(exclude), max_size, meta_only, part)
    project: dict[str, Any] = {"frozen": frozen, "groups": groups, "no_groups": no_groups}
    if ref is None or any(project.values()):
        if ref is not None or selection.is_partial:
            raise InvalidInput("frozen and groups go with a project, without a ref; parts go with a ref")
        with shown(progress) as report_progress:
            pins = install_project(home, Path.cwd(), registry=registry, progress=report_progress, **project)
        return [opened(home, pin, pin.state.value) for pin in pins if pin.state]
    wanted = Ref.parse(ref)
    with shown(progress) as report_progress:
        installed = install_one(home, wanted, InstallOptions(selection, replace, registry), report_progress)
    return opened(home, wanted, installed.hash)


def bundle(
    refs: str | Sequence[str], dest: str | PathLike[str], *, force: bool = False, progress: Progress | None = None
) -> BundleResult:
    """Write installed states of packages into one file, for a machine without a network; all of them or nothing.

    Raise `Conflict` if `dest` exists, unless `force`; `PackageNotInstalled`, `ObjectNotFound`.
    """
    from datapkg.api.bundle import write_bundle

    wanted = [Ref.parse(each) for each in ([refs] if isinstance(refs, str) else refs)]
    with shown(progress) as report_progress:
        return write_bundle(Home(), wanted, Path(dest), force=force, progress=report_progress)


def install_bundle(
    path: str | PathLike[str],
    *,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> list[Any]:
    """Install all packages of a bundle, or none if it is damaged; return them.

    `registry` is recorded as their origin; by default the one that they came from, if it is in the settings. Raise
    `InvalidInput`, `IntegrityError`, `Conflict`.
    """
    from datapkg.api.bundle import install_bundle as install_all

    home = Home()
    with shown(progress) as report_progress:
        done = install_all(home, Path(path), registry=registry, replace=replace, progress=report_progress)
    return [opened(home, Ref.parse(each.package), each.hash) for each in done]


def load(ref: str, *, lazy: bool | None = None, registry: str | None = None) -> Any:
    """Return the installed package or node that a ref names; two states of a package can be loaded side by side.

    With `lazy` (by default the setting of that name), it need not be installed: its manifest is fetched now, and data
    when they are read, from the registry that it came from, `registry`, or the one of the settings. Raise
    `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`; if lazy, registry errors too.
    """
    home = Home()
    is_lazy = home.settings.get("lazy").value if lazy is None else lazy
    return open_node(Ref.parse(ref), home, lazy=is_lazy, registry=registry)


def open(ref: str, *, registry: str | None = None) -> Any:
    """Return a package or node, installed or not, whose data is fetched when it is read: `load(ref, lazy=True)`."""
    return load(ref, lazy=True, registry=registry)


def fetch(
    ref: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_size: int | None = None,
    part: tuple[int, int] | None = None,
    registry: str | None = None,
    progress: Progress | None = None,
) -> Any:
    """Download missing data of an installed package, or of the node that the ref names; return it.

    Raise `PackageNotInstalled`, `NodeNotFound`, `HashMismatch`, `Refused`, `Unreachable`.
    """
    from datapkg.api.install import fetch as fetch_objects

    home, wanted = Home(), Ref.parse(ref)
    selection = Selection(tuple(include), tuple(exclude), max_size, part=part)
    with shown(progress) as report_progress:
        fetched = fetch_objects(home, wanted, selection, registry=registry, progress=report_progress)
    return opened(home, wanted, fetched.hash)


def edit(
    package: str,
    *,
    message: str = "",
    push: bool = True,
    registry: str | None = None,
    checks: bool = True,
    progress: Progress | None = None,
) -> Draft:
    """Return a package to change inside a `with`; only its manifest is fetched, and a missing package is created.

    Leaving the block makes a new state here and, with `push`, at the registry; an exception in it changes nothing. The
    checks of what changed run first; without `checks` they are skipped, which is recorded. Raise `CheckFailed` for data
    that violate one, `Conflict` if somebody pushed other changes to the same paths meanwhile; `Refused`, `Unreachable`.
    """
    from datapkg.api.drafts.policy import CommitOptions
    from datapkg.api.edit import Draft

    return Draft(Home(), Ref.parse(package), CommitOptions(message, push, registry, progress, checks=checks))


def sync(
    folder: str | PathLike[str],
    package: str,
    *,
    to: str = "",
    delete: bool = False,
    confirm: bool = False,
    message: str = "",
    dry_run: bool = False,
    registry: str | None = None,
    checks: bool = True,
    progress: Progress | None = None,
) -> SyncResult:
    """Update a package at its registry, or its group `to`, from a folder; return what was added, changed and removed.

    Only what differs is built and sent, and nothing is downloaded. `delete` removes nodes that the folder lacks;
    `confirm` allows an empty folder to empty the package; `checks` as in `edit`. Raise `CheckFailed`, `Conflict` if
    somebody pushed other changes to the same paths meanwhile; `BuildFailed`, `Refused`, `Unreachable`.
    """
    from datapkg.api.sync import SyncOptions
    from datapkg.api.sync import sync as follow

    options = SyncOptions(to, delete, confirm, message, dry_run, registry, checks=checks)
    with shown(progress) as report_progress:
        return follow(Home(), Path(folder), Ref.parse(package), options, progress=report_progress)


def merge(
    refs: Sequence[str],
    into: str,
    *,
    on_conflict: str = "error",
    concat: bool = False,
    message: str = "",
    registry: str | None = None,
    checks: bool = True,
    progress: Progress | None = None,
) -> Any:
    """Merge packages, or groups in them, into the package `into` by their manifests; return it.

    Where nodes differ at one path, `on_conflict` takes the first ("ours"), the last ("theirs") or both ("rename"), or
    raises a `Conflict` with all these paths ("error"). With `concat`, tables with the same columns are concatenated;
    `checks` as in `edit`. Raise `CheckFailed`, `PackageNotInstalled`.
    """
    from datapkg.api.merge import MergeOptions
    from datapkg.api.merge import merge as put_together

    home, made = Home(), Ref.parse(into)
    wanted = [Ref.parse(each) for each in ([refs] if isinstance(refs, str) else refs)]
    with shown(progress) as report_progress:
        done = put_together(
            home, wanted, made, MergeOptions(on_conflict, concat, message, registry, checks), progress=report_progress
        )
    return open_node(made.at(State("hash", done.hash)), home, lazy=True, registry=registry)


def copy(
    ref: str, into: str, *, message: str = "", registry: str | None = None, progress: Progress | None = None
) -> Any:
    """Copy a state of a package, by its manifest, to the package `into`; return the copy.

    Data that only a registry has stay there, and pushing the copy does not send them. Raise `PackageNotInstalled` for a
    package that is neither here nor at the registry.
    """
    from datapkg.api.copy import copy as copy_package

    home, made = Home(), Ref.parse(into)
    with shown(progress) as report_progress:
        done = copy_package(home, Ref.parse(ref), made, message=message, registry=registry, progress=report_progress)
    return open_node(made.at(State("hash", done.hash)), home, lazy=True, registry=registry)


def open_hook(
    folder: str | PathLike[str], ref: str | None = None, *, lazy: bool | None = None, registry: str | None = None
) -> OpenHook:
    """Show a package, or the node that the ref names, as files in a folder while a `with` block runs.

    All code of the process that opens files by Python's own functions sees them; C libraries do not. The folder need
    not exist; without a ref, its path is read as one. `lazy`, `registry` and errors as in `load`.
    """
    from datapkg.reading.files.open_hook import OpenHook

    return OpenHook(Home(), folder, ref, lazy=lazy, registry=registry)


def export(
    ref: str,
    dest: str | Path,
    *,
    force: bool = False,
    format: str | None = None,
    with_build_file: bool = False,
    link: str = "auto",
    progress: Progress | None = None,
) -> ExportResult:
    """Write a package or node as ordinary files with their original names; all of it or nothing.

    `with_build_file` adds a `build.yml` that builds an equal package. `link` is auto, reflink, hardlink, symlink or
    copy. A second export into a folder changes only what changed. Raise `Conflict` for files that were edited since, or
    if `dest` exists and nothing was exported there, unless `force`; `Refused` for a link that cannot be made.
    """
    from datapkg.api.export import export as export_files

    with shown(progress) as report_progress:
        ways: dict[str, Any] = {"force": force, "format": format, "with_build_file": with_build_file, "link": link}
        return export_files(Home(), Ref.parse(ref), Path(dest), **ways, progress=report_progress)


def search(query: str, *, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the packages of a registry that contain every word of the query; `matches` shows where each was found."""
    from datapkg.api.search import search as search_packages

    return search_packages(Home(), query, registry)


def login(token: str, *, registry: str | None = None) -> str:
    """Log in to a registry with a token, which the registry verifies; return the user's name."""
    from datapkg.api.accounts import login as keep_token

    return keep_token(Home(), token, registry)["user"]


def verify(
    ref: str | None = None, *, content: bool = False, repair: bool = False, progress: Progress | None = None
) -> VerifyResult:
    """Verify the hash of every object of a package, or of all packages; return which are corrupt.

    With `content`, tables are read too, and those whose values differ from what their manifest states are listed. With
    `repair`, what is corrupt is fetched from the registry that it came from.
    """
    from datapkg.api.verify import verify as verify_objects

    if ref is not None and not isinstance(ref, str):
        raise InvalidInput("verify takes a reference such as 'uciml/iris', or nothing")
    with shown(progress) as report_progress:
        return verify_objects(Home(), Ref.parse(ref) if ref else None, report_progress, content=content, repair=repair)
