"""Build and push in one go, as scheduled recipes do: a run that finds nothing new publishes nothing."""

from __future__ import annotations

from typing import Any

from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.api.install import InstallOptions, install_one
from datapkg.api.push import push_package
from datapkg.api.push_result import PushResult
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.names import Ref, State
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.origins import allowed_registry
from datapkg.remote.static.client import StaticClient


def build_and_push(
    home: Home,
    ref: Ref,
    source: Any,
    options: BuildOptions,
    *,
    message: str = "",
    explained: bool = False,
    registry: str | None = None,
    progress: Progress = silent,
    **names: Any,
) -> tuple[BuildResult, PushResult | None]:
    """Build a package on the registry's latest state, and push it; None for a build that left something out.

    What is published follows the state that was the latest when the build began: a push by somebody else meanwhile is a
    `Conflict`. On a machine without the package, the metadata of that state are installed first, so that tables with
    the same content keep their objects. `names` are `tag`, `version`, `public` and `confirm` of `push_package`.
    """
    if options.dry_run:
        raise InvalidInput("--push does not go with --dry-run", hint=f"datapkg build {ref} --dry-run")
    client = home.client(allowed_registry(home, ref, registry))
    if isinstance(client, StaticClient):
        client.begin()  # the first push makes a registry of a folder
    try:
        latest: str | None = client.resolve(ref.at(None)).hash
    except NotFound:
        latest = None
    if latest and home.store.refs.current(ref) is None:
        found = InstallOptions(selection=Selection(meta_only=True), registry=registry)
        install_one(home, ref.at(State("hash", latest)), found, progress)
    built = build_package(home, ref, source, options, message=message, explained=explained, progress=progress)
    if built.left_out:
        return built, None
    state = ref.at(State("hash", built.hash))
    pushed = push_package(home, state, parent=latest, message=message, registry=registry, progress=progress, **names)
    return built, pushed
