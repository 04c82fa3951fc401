"""The public Python functions that build and check."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from datapkg.api.notebook_progress import shown
from datapkg.api.results import CheckResults
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
    gitignore: bool = True,
    allow_empty: bool = False,
    keep_going: bool = False,
    again: Sequence[str] = (),
    jobs: int = 0,
    on: str = "",
    objects: str = "",
    pull_cache: bool = False,
    push_cache: bool = False,
    registry: str | None = None,
    message: str = "",
    progress: Progress | None = None,
) -> Any:
    """Build a folder, a build.yml, a data file, a DataFrame or a mapping of names to these; return the package.

    `source` may be the address of a git repository; `allow_code` allows its build file to run code. `update` downloads
    files again and updates their checksums in the build file; `force` ignores caches of earlier builds. In a folder
    without a build file, `gitignore=False` includes files that its `.gitignore` excludes; `allow_empty` allows an empty
    package. With `keep_going`, sources that cannot be read are skipped with a warning.

    Stages in `again`, and those that need them, run although nothing changed; `jobs` is how many cores they may use, 0
    for all. `on` is "dask" or the address of a cluster, and `objects` the folder, bucket or package through which data
    moves there. `pull_cache` takes results of stages from the run cache of the package at `registry`, `push_cache` adds
    those that ran here. Raise `InvalidName`, `InvalidBuildFile` (with all mistakes), `BuildFailed`, `HashMismatch`,
    `Refused`, `Unreachable`.
    """
    from datapkg.api.build import build_package
    from datapkg.building.spec.options import BuildOptions

    home, ref = Home(), Ref.parse(package)
    if objects and not on:
        raise InvalidInput("objects goes with on", hint='on="dask"')
    ways: dict[str, Any] = {"gitignore": gitignore, "allow_empty": allow_empty, "keep_going": keep_going}
    ways |= {"again": tuple(again), "jobs": jobs, "on": on, "objects": objects}
    ways |= {"pull_cache": pull_cache, "registry": registry}
    options = BuildOptions(build_file, allow_outside, allow_code, update, force, **ways)
    with shown(progress) as report_progress:
        if push_cache:
            from datapkg.api.run_cache import check_may_fill

            check_may_fill(home, ref, registry, is_pushed=False)
        built = build_package(home, ref, source, options, message=message, progress=report_progress)
        notes = [f"{path} was left out of {built.package}: {reason}" for path, reason in built.left_out.items()]
        if push_cache:
            from datapkg.api.run_cache import push_results

            notes += push_results(home, ref, built, registry=registry, progress=report_progress).warnings
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return opened(home, ref, built.hash)


def check(
    source: Any = ".",
    *,
    allow_outside: bool = False,
    allow_code: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> CheckResults:
    """Run the checks of a folder or build.yml without building a package; return their results.

    Raise `InvalidBuildFile` and `BuildFailed` as a build does, but nothing if a check fails.
    """
    from datapkg.api.check import BuildOptions
    from datapkg.api.check import check as try_checks

    options = BuildOptions(allow_outside=allow_outside, allow_code=allow_code, force=force)
    with shown(progress) as report_progress:
        return try_checks(Home(), source, options, progress=report_progress)


def opened(home: Home, ref: Ref, hash: str) -> Node:
    """Return a state of the package or node that a ref names, as the settings say."""
    exact = Ref(ref.user, ref.name, ref.path, State("hash", hash))
    return open_node(exact, home, lazy=home.settings.get("lazy").value)
