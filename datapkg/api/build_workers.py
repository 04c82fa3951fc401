"""Where a build works: the tools that run its stages, and the cluster that reads sources and runs stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    from datapkg.building.cluster.runner import ClusterRunner
    from datapkg.building.spec.model import BuildSpec
    from datapkg.building.spec.options import BuildOptions
    from datapkg.building.stages.capacity import Machine
    from datapkg.building.stages.schedule import StageTools
    from datapkg.format.names import Ref
    from datapkg.home import Home


def stage_tools(
    home: Home, ref: Ref | None, spec: BuildSpec, options: BuildOptions, machine: Machine | None = None
) -> StageTools | None:
    """Return how the stages of a build file are run, for a package or a check; None if there are none.

    `machine` bounds what runs at once; by default it is this one.
    """
    if not spec.stages or spec.root is None:
        return None
    from datapkg.building.stages.capacity import check_fits, this_machine
    from datapkg.building.stages.container import check_engine
    from datapkg.building.stages.lock import known_before, read_lock
    from datapkg.building.stages.schedule import StageTools

    machine = machine or this_machine(home.settings.environ, options.jobs)
    check_fits(spec.stages, machine)
    check_engine(spec.stages, home.settings.environ)
    again, before = _stages_again(spec, options), known_before(read_lock(spec.root))
    shared = None
    if ref and options.pull_cache:
        from datapkg.api.run_cache import shared_results  # it loads what talks to a registry

        shared = shared_results(home, ref, options.registry, before)
    return StageTools(
        home.store,
        home.settings.environ,
        home.cache / "stages" / (f"{ref.user}/{ref.name}" if ref else "check/check"),
        machine,
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
            raise InvalidInput(what, hint=f"datapkg graph {quote(str(spec.root))}")
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
    objects = options.objects or ("" if options.on == LOCAL else home.settings.get("objects").value or "")
    plan = ClusterPlan(options.on, objects, options.jobs or os.cpu_count() or 1)
    with cluster_runner(plan, home.store, home.store.index_path, spec.root) as runner:
        yield runner
