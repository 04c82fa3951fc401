"""The verbs as they are called from Python: texts in, packages out.

`progress` is called with how far the work is; without one, a notebook shows a bar and everything else nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.api.notebook_progress import shown
from datapkg.api.results import CheckResults, ExportResult, PushResult, SyncResult, VerifyResult
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref, State
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.objects.progress import Progress
from datapkg.reading.load import load as open_node
from datapkg.reading.nodes.base import Node

if TYPE_CHECKING:
    from datapkg.api.edit import Draft
    from datapkg.reading.files.open_hook import OpenHook


def build(
    package: str,
    source: Any = ".",
    *,
    build_file: bool = True,
    allow_outside: bool = False,
    allow_code: bool = False,
    update: bool = False,
    force: bool = False,
    gitignore: bool = True,
    allow_empty: bool = False,
    keep_going: bool = False,
    message: str = "",
    progress: Progress | None = None,
) -> Any:
    """Builds a folder, a build.yml, a data file, a DataFrame or a mapping of names to these; gives the package.

    A text may be the address of a git repository; `allow_code` lets its build file have code run. `update` takes the
    files at addresses as they are now, and writes their sums into the build file; `force` believes nothing of earlier
    builds. Of a folder without a build file, `gitignore=False` takes what its `.gitignore` ignores too; where there is
    nothing to build, `allow_empty` makes an empty package. With `keep_going` sources that cannot be read are left out,
    with a warning. Raises `InvalidName`, `InvalidBuildFile` (all mistakes at once), `BuildFailed`, `HashMismatch`,
    `Unreachable`.
    """
    from datapkg.api.build import build_package
    from datapkg.building.spec.options import BuildOptions

    home, ref = Home(), Ref.parse(package)
    ways = {"gitignore": gitignore, "allow_empty": allow_empty, "keep_going": keep_going}
    options = BuildOptions(build_file, allow_outside, allow_code, update, force, **ways)
    with shown(progress) as tell:
        built = build_package(home, ref, source, options, message=message, progress=tell)
    for path, reason in built.left_out.items():
        warnings.warn(f"{path} was left out of {built.package}: {reason}", stacklevel=2)
    return _opened(home, ref, built.hash)


def check(
    source: Any = ".",
    *,
    allow_outside: bool = False,
    allow_code: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> CheckResults:
    """Tries the checks of a folder or build.yml, and makes no package; gives what came of each.

    Raises `InvalidBuildFile` and `BuildFailed` as a build does, but nothing for a check that fails.
    """
    from datapkg.api.check import BuildOptions
    from datapkg.api.check import check as try_checks

    options = BuildOptions(allow_outside=allow_outside, allow_code=allow_code, force=force)
    with shown(progress) as tell:
        return try_checks(Home(), source, options, progress=tell)


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
    """Publish the last built state of a package (or the one named) at its registry.

    `onto` is the hash of the registry's latest state, for a package that this machine has never seen. A `dry_run` sends
    nothing: its `changes` list what would change for consumers, and it raises what the push would raise.
    `confirm` says that showing all earlier pushes is meant, where `public` makes a private package public. Raises
    `Conflict` if somebody pushed meanwhile, unless `force`; `Refused`, `Unreachable`.
    """
    from datapkg.api.push import push_package

    with shown(progress) as tell:
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
            progress=tell,
        )


def install(
    ref: str,
    *,
    meta_only: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_size: int | None = None,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Brings a package, or the node in it that the ref names, to this machine; gives it.

    Less of it with `meta_only` (the manifest), `include` and `exclude` (patterns of paths: `raw/**/*.jpg`), or
    `max_size` (of a node, in bytes).

    Raises `PackageNotFound`, `VersionNotFound`, `TagNotFound`, `HashMismatch`, `Refused`, `Unreachable`.
    """
    from datapkg.api.install import InstallOptions, install_one

    home, wanted = Home(), Ref.parse(ref)
    selection = Selection(tuple(include), tuple(exclude), max_size, meta_only)
    with shown(progress) as tell:
        installed = install_one(home, wanted, InstallOptions(selection, replace, registry), tell)
    return _opened(home, wanted, installed.hash)


def load(ref: str, *, lazy: bool | None = None, registry: str | None = None) -> Any:
    """The package or node that a ref means on this machine; two states of a package may be loaded side by side.

    With `lazy` (by default the setting of that name), it need not be installed: its manifest is fetched now, and data
    when they are read, from the registry that it came from, `registry`, or the one of the settings. Raises
    `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`; if lazy, those of a registry too.
    """
    home = Home()
    is_lazy = home.settings.get("lazy").value if lazy is None else lazy
    return open_node(Ref.parse(ref), home, lazy=is_lazy, registry=registry)


def open(ref: str, *, registry: str | None = None) -> Any:
    """The package or node that a ref means, be it here or at its registry: data are fetched when they are read.

    `load(ref, lazy=True)`.
    """
    return load(ref, lazy=True, registry=registry)


def fetch(
    ref: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_size: int | None = None,
    registry: str | None = None,
    progress: Progress | None = None,
) -> Any:
    """Brings data of an installed package, or of the node that the ref names, that are not here yet; gives it.

    Raises `PackageNotInstalled`, `NodeNotFound`, `HashMismatch`, `Refused`, `Unreachable`.
    """
    from datapkg.api.install import fetch as fetch_objects

    home, wanted = Home(), Ref.parse(ref)
    selection = Selection(tuple(include), tuple(exclude), max_size)
    with shown(progress) as tell:
        fetched = fetch_objects(home, wanted, selection, registry=registry, progress=tell)
    return _opened(home, wanted, fetched.hash)


def edit(
    package: str,
    *,
    message: str = "",
    push: bool = True,
    registry: str | None = None,
    checks: bool = True,
    progress: Progress | None = None,
) -> Draft:
    """A package to change inside a `with`, of which the manifest alone is fetched; one that is not there is begun.

    Leaving the block makes a new state here and, with `push`, at the registry; an exception in it changes nothing. The
    checks of what changed are tried first; without `checks` they are not, and the record of the state says so. Raises
    `CheckFailed` for data that break one, `Conflict` where somebody pushed other changes to the same paths meanwhile;
    `Refused`, `Unreachable`.
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
    """Makes a package at its registry follow a folder, or its group `to`; gives what was added, changed and removed.

    Only what differs is built and sent, and nothing is downloaded. With `delete` the package loses what the folder has
    not; `confirm` says that an empty folder is meant; `checks` as in `edit`. Raises `CheckFailed`, `Conflict` where
    somebody pushed other changes to the same paths meanwhile; `BuildFailed`, `Refused`, `Unreachable`.
    """
    from datapkg.api.sync import SyncOptions
    from datapkg.api.sync import sync as follow

    options = SyncOptions(to, delete, confirm, message, dry_run, registry, checks=checks)
    with shown(progress) as tell:
        return follow(Home(), Path(folder), Ref.parse(package), options, progress=tell)


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
    """Puts packages, or groups in them, together as the package `into`, by their manifests; gives it.

    Of what differs at one path `ours` takes the first, `theirs` the last, `rename` both; with `concat` tables of the
    same columns become one; `checks` as in `edit`. Raises `CheckFailed`, `Conflict` that lists all such places
    otherwise; `PackageNotInstalled`.
    """
    from datapkg.api.merge import MergeOptions
    from datapkg.api.merge import merge as put_together

    home, made = Home(), Ref.parse(into)
    wanted = [Ref.parse(each) for each in ([refs] if isinstance(refs, str) else refs)]
    with shown(progress) as tell:
        done = put_together(
            home, wanted, made, MergeOptions(on_conflict, concat, message, registry, checks), progress=tell
        )
    return open_node(made.at(State("hash", done.hash)), home, lazy=True, registry=registry)


def copy(
    ref: str, into: str, *, message: str = "", registry: str | None = None, progress: Progress | None = None
) -> Any:
    """Copy a state of a package, by its manifest, as the package `into`; return that.

    Data that are at a registry alone stay there, and a push of the copy does not send them. Raise
    `PackageNotInstalled` for a package that is neither here nor at the registry.
    """
    from datapkg.api.copy import copy as copy_package

    home, made = Home(), Ref.parse(into)
    with shown(progress) as tell:
        done = copy_package(home, Ref.parse(ref), made, message=message, registry=registry, progress=tell)
    return open_node(made.at(State("hash", done.hash)), home, lazy=True, registry=registry)


def open_hook(
    folder: str | PathLike[str], ref: str | None = None, *, lazy: bool | None = None, registry: str | None = None
) -> OpenHook:
    """Shows a package, or the node that the ref names, as files at a folder, for the length of a `with`.

    To all that opens files by Python's own functions, in the whole process; not to what does so in C. The folder need
    not be there; where no ref is given, its own text is one. `lazy` and `registry` as in `load`; so are the errors.
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
    progress: Progress | None = None,
) -> ExportResult:
    """Write a package or node as ordinary files with their original names; all of it or nothing.

    `with_build_file` adds a `build.yml` that builds an equal package. Raise `Conflict` if something is at `dest`
    already, unless `force`.
    """
    from datapkg.api.export import export as export_files

    with shown(progress) as tell:
        options: dict[str, Any] = {"force": force, "format": format, "with_build_file": with_build_file}
        return export_files(Home(), Ref.parse(ref), Path(dest), **options, progress=tell)


def search(query: str, *, registry: str | None = None) -> list[dict[str, Any]]:
    """Return the packages of a registry that hold every word of the query; `matches` of each says where."""
    from datapkg.api.search import search as search_packages

    return search_packages(Home(), query, registry)


def login(token: str, *, registry: str | None = None) -> str:
    """Keeps a token for a registry, which is asked whom it stands for; gives the user's name."""
    from datapkg.api.accounts import login as keep_token

    return keep_token(Home(), token, registry)["user"]


def verify(ref: str | None = None, *, content: bool = False, progress: Progress | None = None) -> VerifyResult:
    """Hashes every object of a package, or of all of them, again; names what is damaged.

    With `content`, tables are read too, and those that hold other values than their manifest states are named.
    """
    from datapkg.api.maintenance import verify as verify_objects

    if ref is not None and not isinstance(ref, str):
        raise InvalidInput("verify takes a reference such as 'uciml/iris', or nothing")
    with shown(progress) as tell:
        return verify_objects(Home(), Ref.parse(ref) if ref else None, tell, content=content)


def _opened(home: Home, ref: Ref, hash: str) -> Node:
    exact = Ref(ref.user, ref.name, ref.path, State("hash", hash))
    return open_node(exact, home, lazy=home.settings.get("lazy").value)
