"""The verbs as they are called from Python: texts in, packages out.

`progress` is called with how far the work is; without one, a notebook shows a bar and everything else nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datapkg.api.bar import shown
from datapkg.api.results import Checked, Exported, Pushed, Verified
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.progress import Progress
from datapkg.reading.load import load as open_node
from datapkg.reading.nodes.base import Node


def build(
    package: str,
    source: Any = ".",
    *,
    build_file: bool = True,
    allow_outside: bool = False,
    allow_code: bool = False,
    update: bool = False,
    force: bool = False,
    message: str = "",
    progress: Progress | None = None,
) -> Node:
    """Builds a folder, a build.yml, a data file, a DataFrame or a mapping of names to these; gives the package.

    A text may be the address of a git repository; `allow_code` lets its build file have code run. `update` takes the
    files at addresses as they are now, and writes their sums into the build file; `force` believes nothing of earlier
    builds. Raises `InvalidName`, `InvalidBuildFile` (all mistakes at once), `BuildFailed`, `HashMismatch`,
    `Unreachable`.
    """
    from datapkg.api.build import build_package
    from datapkg.building.options import Options

    home, ref = Home(), Ref.parse(package)
    options = Options(build_file, allow_outside, allow_code, update, force)
    with shown(progress) as tell:
        built = build_package(home, ref, source, options, message=message, progress=tell)
    return _opened(home, ref, built.hash)


def check(
    source: Any = ".",
    *,
    allow_outside: bool = False,
    allow_code: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Checked:
    """Tries the checks of a folder or build.yml, and makes no package; gives what came of each.

    Raises `InvalidBuildFile` and `BuildFailed` as a build does, but nothing for a check that fails.
    """
    from datapkg.api.check import Options
    from datapkg.api.check import check as try_checks

    options = Options(allow_outside=allow_outside, allow_code=allow_code, force=force)
    with shown(progress) as tell:
        return try_checks(Home(), source, options, progress=tell)


def push(
    ref: str,
    *,
    public: bool = False,
    message: str = "",
    tag: str | None = None,
    version: str | None = None,
    force: bool = False,
    confirm: bool = False,
    registry: str | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Publishes the last built state of a package (or the one named) at its registry.

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
            force=force,
            confirm=confirm,
            registry=registry,
            progress=tell,
        )


def install(
    ref: str,
    *,
    meta_only: bool = False,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Node:
    """Brings a package, or the node in it that the ref names, to this machine; gives it.

    Raises `PackageNotFound`, `VersionNotFound`, `TagNotFound`, `HashMismatch`, `Refused`, `Unreachable`.
    """
    from datapkg.api.install import Options, install_one

    home, wanted = Home(), Ref.parse(ref)
    with shown(progress) as tell:
        installed = install_one(home, wanted, Options(meta_only, replace, registry), tell)
    return _opened(home, wanted, installed.hash)


def load(ref: str) -> Node:
    """The package or node that a ref means on this machine; two states of a package may be loaded side by side.

    Raises `PackageNotInstalled`, `VersionNotFound`, `TagNotFound`, `NodeNotFound`.
    """
    return open_node(Ref.parse(ref), Home())


def export(
    ref: str, dest: str | Path, *, force: bool = False, format: str | None = None, progress: Progress | None = None
) -> Exported:
    """Writes a package or node as ordinary files with their original names; all of it or nothing.

    Raises `Conflict` where something is at `dest` already, unless `force`.
    """
    from datapkg.api.export import export as export_files

    with shown(progress) as tell:
        return export_files(Home(), Ref.parse(ref), Path(dest), force=force, format=format, progress=tell)


def search(query: str, *, registry: str | None = None) -> list[dict[str, Any]]:
    """The packages of a registry that hold every word of the query."""
    from datapkg.api.search import search as search_packages

    return search_packages(Home(), query, registry)


def login(token: str, *, registry: str | None = None) -> str:
    """Keeps a token for a registry, which is asked whom it stands for; gives the user's name."""
    from datapkg.api.accounts import login as keep_token

    return keep_token(Home(), token, registry)["user"]


def verify(ref: str | None = None, *, progress: Progress | None = None) -> Verified:
    """Hashes every object of a package, or of all of them, again; names what is damaged."""
    from datapkg.api.maintenance import verify as verify_objects

    if ref is not None and not isinstance(ref, str):
        raise InvalidInput("verify takes a reference such as 'uciml/iris', or nothing")
    with shown(progress) as tell:
        return verify_objects(Home(), Ref.parse(ref) if ref else None, tell)


def _opened(home: Home, ref: Ref, hash: str) -> Node:
    return open_node(Ref(ref.user, ref.name, ref.path, State("hash", hash)), home)
