"""What a build, a check and a sync work with: fetched sources, other packages, objects, stages and a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from datapkg.api.states import check_named_complete, check_not_removed
from datapkg.errors import InvalidInput, InvalidName
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted
from datapkg.objects.files import temp_folder
from datapkg.objects.progress import Progress
from datapkg.resolve import find_installed

if TYPE_CHECKING:
    from datapkg.building.cluster.package_objects import PackagePlace
    from datapkg.building.cluster.runner import ClusterRunner
    from datapkg.building.sources.fetcher import Fetcher
    from datapkg.building.spec.model import BuildSpec
    from datapkg.building.spec.options import BuildOptions
    from datapkg.building.stages.schedule import StageTools
    from datapkg.format.manifest.parsed import Manifest
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.objects.base import Objects, Readable
    from datapkg.store.store import Store


def fetcher(home: Home, progress: Progress) -> Fetcher:
    """Return the fetcher of remote sources, with the limits from the settings."""
    from datapkg.building.sources.download_cache import DownloadCache
    from datapkg.building.sources.fetcher import Fetcher

    limit_bytes, timeout_s, jobs = (home.settings.get(name).value for name in ("max_source_bytes", "timeout_s", "jobs"))
    downloads, environ = DownloadCache(home.cache / "sources", home.index), home.settings.environ
    return Fetcher(downloads, limit_bytes, timeout_s, progress, jobs, environ)


@contextmanager
def objects_for(store: Store, dry_run: bool) -> Iterator[Objects]:
    """Yield the objects that a build writes to: the store, or for a dry run a temporary folder over it."""
    if not dry_run:
        yield store.objects
        return
    from datapkg.objects.copy_on_write import CopyOnWriteObjects

    with temp_folder(store.tmp, "dry") as folder:
        yield CopyOnWriteObjects(store.objects, folder)


def find_package(home: Home, wanted: Ref, registry: str | None = None) -> tuple[Manifest, Readable]:
    """Return the manifest and the objects of a package whose nodes are taken over.

    Objects at the registry that a push goes to may be missing here; those at another registry are fetched when read.
    """
    from datapkg.origins import origin_of
    from datapkg.reading.source import Remote, Source

    found = find_installed(home, wanted)
    check_named_complete(home, wanted, found.hash)
    manifest, origin = found.store.manifest(found.hash), origin_of(home, wanted, found.hash)
    if found.store is home.store:
        check_not_removed(home, wanted, home.store.objects.missing(manifest.objects(wanted.path)))
    if found.store is home.store and origin is not None and origin != push_target(home, registry):
        return manifest, Source(found.store, wanted, found.hash, Remote(home, origin)).through
    return manifest, found.store.objects


def push_target(home: Home, registry: str | None = None) -> str | None:
    """Return the URL of the registry that a push would go to; None if none is configured."""
    is_known = registry or home.settings.get("registry").value
    return home.registry_url(registry) if is_known else None


def stage_tools(
    home: Home, ref: Ref | None, spec: BuildSpec, options: BuildOptions, runner: ClusterRunner | None = None
) -> StageTools | None:
    """Return how the stages of a build file are run, for a package or a check; None if there are none.

    A runner on another machine knows what may run there at once; else that is what this machine has.
    """
    # First, so that a name in --from is an error in a build file without stages too.
    again = _stages_again(spec, options)
    if not spec.stages or spec.root is None:
        return None
    from datapkg.building.stages.capacity import check_fits, this_machine
    from datapkg.building.stages.container import check_engine
    from datapkg.building.stages.lock import known_before, read_lock
    from datapkg.building.stages.schedule import StageTools

    here = this_machine(home.settings.environ, options.jobs)
    if runner is None or runner.is_here:
        check_fits(spec.stages, here)
    check_engine(spec.stages, home.settings.environ)
    before = known_before(read_lock(spec.root))
    shared = None
    if ref and options.pull_cache:
        from datapkg.api.run_cache import shared_results  # it loads what talks to a registry

        shared = shared_results(home, ref, options.registry, before)
    return StageTools(
        home.store,
        home.settings.environ,
        # A check has no package; its logs are as deep in the cache as those of a package.
        home.cache / "stages" / (f"{ref.user}/{ref.name}" if ref else "check/check"),
        lambda: here if runner is None or runner.is_here else runner.machine(spec.stages, options.jobs),
        before,
        again,
        options.force,
        options.dry_run,
        package=ref.package if ref else "",
        shared=shared,
    )


def _stages_again(spec: BuildSpec, options: BuildOptions) -> frozenset[str]:
    """Return the names of the stages that were asked to run again; the name of a matrix means all its stages."""
    names = [stage.name for stage in spec.stages]
    again: set[str] = set()
    for name in options.again:
        found = {each for each in names if name in (each, each.partition("@")[0])}
        if not found:
            what = f"there is no stage {quoted(name)}{suggestion(name, names)}"
            shown = spec.file or spec.root
            raise InvalidInput(what, hint=f"datapkg graph{f' {quote(str(shown))}' if shown else ''}")
        again |= found
    return frozenset(again)


@contextmanager
def runner_for(home: Home, spec: BuildSpec, options: BuildOptions) -> Iterator[ClusterRunner | None]:
    """Yield what reads sources and runs stages on the cluster that the options name; None without one."""
    if not options.on:
        yield None
        return
    from datapkg.building.cluster.connection import LOCAL
    from datapkg.building.cluster.runner import ClusterPlan, cluster_runner

    if options.dry_run:
        raise InvalidInput(
            "--dry-run reads sources on this machine, so it does not go with --on",
            hint="datapkg build USER/NAME PATH --dry-run",
        )
    # Processes of this machine share its store; the setting is about clusters elsewhere.
    objects = options.objects or ("" if options.on == LOCAL else home.settings.get("objects").value or "")
    plan = ClusterPlan(options.on, _place(home, objects, options.registry), options.jobs or os.cpu_count() or 1)
    with cluster_runner(plan, home, spec.root) as runner:
        yield runner


def _place(home: Home, text: str, registry: str | None) -> str | PackagePlace:
    """Return the package whose run cache a text names as a place of objects; the text itself if it names none."""
    from datapkg.building.cluster.package_objects import PackagePlace
    from datapkg.format.names import Ref
    from datapkg.origins import allowed_registry
    from datapkg.remote.addresses import is_web

    if not text or ("://" in text and not is_web(text)):
        return text
    try:
        ref = Ref.parse(text)
    except InvalidName:
        return text
    return text if ref.path or ref.state else PackagePlace(allowed_registry(home, ref, registry), ref.package)
