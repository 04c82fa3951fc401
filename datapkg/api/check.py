"""Check: run the checks of a build file on its tables without building a package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from datapkg.api.build_tools import fetcher, find_package, objects_for, stage_tools
from datapkg.api.results import CheckResults
from datapkg.building.spec.options import BuildOptions
from datapkg.objects.progress import Progress, silent

if TYPE_CHECKING:
    from datapkg.building.spec.model import BuildSpec, NodeSpec
    from datapkg.format.manifest.parsed import Manifest
    from datapkg.home import Home


def check(
    home: Home,
    source: Any,
    options: BuildOptions = BuildOptions(),  # noqa: B008 - it is frozen
    *,
    progress: Progress = silent,
) -> CheckResults:
    """Run the checks of a directory or build file on the tables that it builds, which are discarded.

    Only tables with checks, and those that checks compare with, are built. Raise what a build does, except
    `CheckFailed`.
    """
    from datapkg.building.cache import BuildCache
    from datapkg.building.checks.report import report_lines
    from datapkg.building.checks.run import run_checks
    from datapkg.building.pipeline import build_package
    from datapkg.building.sources.prepare import prepared

    store = home.store
    with prepared(source, fetcher(home, progress), options, environ=home.settings.environ) as found:
        asked = [node for node in found.spec.nodes if node.checks]
        if not asked:
            return CheckResults([], found.spec.warnings)
        # A dry run writes below the store, which may not exist yet.
        store.prepare()
        with objects_for(store, dry_run=True) as objects:
            built = build_package(
                _needed(found.spec, asked),
                objects,
                previous=None,
                find_package=partial(find_package, home),
                cache=BuildCache(home.index, forced=options.force),
                secret=home.settings.secret,
                stages=stage_tools(home, None, found.spec, options),
                progress=progress,
            )
            results = run_checks([*_placed(asked, built.manifest)], built.manifest, objects, progress)
    return CheckResults([report_lines(each) for each in results], built.warnings)


def _needed(spec: BuildSpec, asked: list[NodeSpec]) -> BuildSpec:
    """Return the nodes that checks read, without their checks, since all results are needed, not the first failure."""
    from datapkg.building.spec.stages import OfStage

    references = [
        argument
        for node in asked
        for each in node.checks
        for kind, argument in each.rules.items()
        if kind == "foreign_key"
    ]
    nodes = [
        replace(node, checks=())
        for node in spec.nodes
        if node.checks or any(each.startswith((f"{node.path}.", f"{node.path}/")) for each in references)
    ]
    if any(isinstance(node.source, OfStage) for node in nodes):  # stages read nodes that have no checks
        nodes = [replace(node, checks=()) for node in spec.nodes]
    else:
        spec = replace(spec, stages=())
    return replace(spec, nodes=nodes, groups={}, meta={}, skipped=[])


def _placed(asked: list[NodeSpec], manifest: Manifest) -> Iterator[NodeSpec]:
    """Yield the nodes with checks; one for each table of a folder that a stage wrote."""
    from datapkg.building.spec.model import StageSource
    from datapkg.format.manifest.parsed import TableNode

    for node in asked:
        if isinstance(node.source, StageSource):
            tables = (each for each in manifest.below(node.path) if isinstance(each, TableNode))
            yield from (replace(node, path=table.path) for table in tables)
        else:
            yield node
