"""The build pipeline: sources become nodes, their bytes become objects, and the nodes become a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from datapkg.building.build_context import BuildContext, PreviousState, TaskRunner
from datapkg.building.cache import BuildCache
from datapkg.building.checks.report import raise_failed, recorded, warnings_of
from datapkg.building.checks.run import CheckResult, run_checks
from datapkg.building.metadata_lint import metadata_warnings
from datapkg.building.node_builder import KNOWN, StoredFile, is_stored_before
from datapkg.building.record import make_record
from datapkg.building.scheduler import Outcome, build_all
from datapkg.building.sources.base import FindPackage, Secret
from datapkg.building.sources.warnings_capture import capture_warnings
from datapkg.building.spec.model import BuildSpec, NodeSpec
from datapkg.building.stages.outcome import StageOutcome
from datapkg.building.stages.output_nodes import before_stages
from datapkg.building.stages.record import recorded_stages
from datapkg.building.stages.schedule import StageSchedule, StageTools
from datapkg.building.stored_files import StoredFiles, WithStored
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node, TableNode
from datapkg.format.manifest.patch import make_long
from datapkg.format.object_sizes import MANY
from datapkg.format.texts import first_lines
from datapkg.objects.base import Objects
from datapkg.objects.progress import Progress, silent

_FAILURES_SHOWN = 20


def no_secret(name: str) -> str:
    """Raise `InvalidInput`: no environment variables are available."""
    raise InvalidInput(f"{name} is not set in the environment")


@dataclass
class BuildOutput:
    """The result of a build: the manifest, whose objects are stored, and the build record; no name refers to it yet.

    `built` and `reused` count nodes. Reused nodes are those whose objects already existed or that come from another
    package; `reread` counts those of them whose source was read again with the same result. `checks` are the results of
    all checks. `why` maps each node's path to the reason for which it was or was not rebuilt. `left_out` maps the path
    of each node that could not be built to its error. `stages` are the outcomes of the stages, in an order in which
    they can run.
    """

    manifest: Manifest
    record: dict[str, Any]
    built: int
    reused: int
    bytes_logical: int
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    reread: int = 0
    stages: list[StageOutcome] = field(default_factory=list)


def build_package(
    spec: BuildSpec,
    objects: Objects,
    *,
    previous: Manifest | None,
    find_package: FindPackage,
    cache: BuildCache | None = None,
    secret: Secret = no_secret,
    keep_going: bool = False,
    stages: StageTools | None = None,
    runner: TaskRunner | None = None,
    progress: Progress = silent,
) -> BuildOutput:
    """Build a package into `objects` and return its manifest, which the caller saves and names.

    `previous` is the state last built or installed under this name; tables of equal content keep its objects. Raise
    `BuildFailed` for sources that cannot be read, all at once, `CheckFailed` for data that violate a check, `NotFound`
    for a package that does not exist. Nodes built before the error stay stored and cached, so the next build is faster.
    With `keep_going`, sources that cannot be read are skipped as long as at least one node was built. `stages` says how
    the stages of the build file are run, `runner` where sources are read.
    """
    cache = cache or BuildCache()
    before = PreviousState(previous, objects, cache.claims)
    context = BuildContext(objects, cache, secret, find_package, before, runner=runner, progress=progress)
    collected = _Collected()
    nodes = before_stages(spec.nodes)
    try:
        with objects.batch(), capture_warnings():
            for node, outcome in build_all(nodes, context, progress):
                collected.add(node, outcome, context)
            if not (keep_going and collected.nodes):
                collected.raise_failures()
        if spec.stages:
            nodes += _build_stages(spec, context, collected, stages, keep_going=keep_going)
        groups = [GroupNode(path=path, meta=meta) for path, meta in spec.groups.items()]
        manifest = _manifest(joined(collected.nodes, groups), spec.meta, previous)
        collected.forget_nodes()  # the manifest has them
        cache.claims.mark_verified(collected.tables)
    finally:
        # The cache is saved even after an error, so the next build does not repeat what succeeded.
        cache.save()
    results = run_checks(_without(nodes, collected.failures), manifest, objects, progress)
    raise_failed(results)
    return _output(spec, manifest, collected, results, before.warnings)


def _manifest(nodes: Sequence[Node], meta: dict[str, Any], previous: Manifest | None) -> Manifest:
    return Manifest.make(nodes, meta, like=previous) if len(nodes) < MANY else make_long(nodes, meta)


def _build_stages(
    spec: BuildSpec, context: BuildContext, collected: _Collected, tools: StageTools | None, *, keep_going: bool
) -> list[NodeSpec]:
    """Run the stages, and build the nodes that take their outputs; return these.

    Raise what a stage or a node failed with, all at once, unless `keep_going`.
    """
    if tools is None or spec.root is None:
        raise InvalidInput("stages are run by a build and by a check only", hint="datapkg build USER/NAME PATH --push")
    nodes: list[NodeSpec] = []
    schedule = StageSchedule(spec, context, collected.nodes, tools)
    for outcomes in schedule.run(context.progress, keep_going=keep_going):
        collected.stages += outcomes
        collected.warnings += [line for each in outcomes for line in each.warnings]
        failures = {f"stages.{each.stage.name}": each.error for each in outcomes if each.error is not None}
        collected.failures |= failures
        built = [node for each in outcomes for node in schedule.nodes_of(each)]
        with context.objects.batch(), capture_warnings():
            for node, made in build_all(built, context, context.progress):
                collected.add(node, made, context)
        nodes += built
    collected.warnings += tools.shared.warnings if tools.shared else []
    order = {stage.name: number for number, stage in enumerate(spec.stages)}
    collected.stages.sort(key=lambda each: order[each.stage.name])
    if not (keep_going and collected.nodes):
        collected.raise_failures()
    return nodes


def _output(
    spec: BuildSpec, manifest: Manifest, collected: _Collected, results: list[CheckResult], warnings: list[str]
) -> BuildOutput:
    left_out = {path: str(error) for path, error in collected.failures.items()}
    ran = recorded_stages(collected.stages)
    return BuildOutput(
        manifest,
        make_record(spec, collected.sources, collected.packages, recorded(results), left_out, ran),
        built=collected.built,
        reused=collected.reused,
        bytes_logical=sum(node.size for node in manifest.entries()),
        warnings=[
            *spec.warnings,
            *collected.warnings,
            *warnings,
            *metadata_warnings(manifest),
            *warnings_of(results),
        ],
        skipped=spec.skipped,
        checks=results,
        why=collected.why,
        left_out=left_out,
        reread=collected.reread,
        stages=collected.stages,
    )


def _without(nodes: list[NodeSpec], failures: Mapping[str, DatapkgError]) -> list[NodeSpec]:
    """Return the nodes that were built, without foreign-key checks against tables that were not."""
    if not failures:
        return nodes
    absent = tuple(f"{path}{mark}" for path in failures for mark in "./")
    return [
        replace(
            node,
            checks=tuple(each for each in node.checks if not str(each.rules.get("foreign_key", "")).startswith(absent)),
        )
        for node in nodes
        if node.path not in failures
    ]


class _Collected:
    """The outcomes of the sources processed so far."""

    def __init__(self) -> None:
        self._nodes: list[Node | None] = []
        self._stored = StoredFiles()
        self.tables: list[TableNode] = []  # written now, or verified
        self._sources: list[dict[str, Any] | None] = []
        self.packages: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.failures: dict[str, DatapkgError] = {}
        self.why: dict[str, str] = {}
        self.stages: list[StageOutcome] = []
        self.built = self.reused = self.reread = 0

    @property
    def nodes(self) -> Sequence[Node]:
        """All nodes, also those that are added later."""
        return WithStored(self._nodes, self._stored.nodes)

    @property
    def sources(self) -> Sequence[dict[str, Any]]:
        """The entries of the record."""
        if None in self._sources:
            return WithStored(self._sources, self._stored.records)
        return cast("list[dict[str, Any]]", self._sources)

    def forget_nodes(self) -> None:
        """Forget all nodes."""
        self._nodes = []

    def add(self, spec: NodeSpec, made: Outcome, context: BuildContext) -> None:
        """Add the outcome of the source of a node."""
        if isinstance(made, DatapkgError):
            self.failures[spec.path] = made
            return
        if isinstance(made, StoredFile):
            self._add_stored(spec, made, context)
            return
        self._nodes += made.nodes
        self._sources += [made.source] if made.source else []
        if made.why not in KNOWN:
            self.tables += [node for node in made.nodes if isinstance(node, TableNode)]
        self.packages += [made.pin] if made.pin else []
        self.warnings += made.warnings
        nodes = [node for node in made.nodes if not isinstance(node, GroupNode)]
        self.why.update((node.path, made.why) for node in nodes if made.why)
        self.reused += len(nodes) if made.reused else 0
        self.built += 0 if made.reused else len(nodes)
        self.reread += len(nodes) if made.reused and made.why not in KNOWN else 0

    def _add_stored(self, spec: NodeSpec, made: StoredFile, context: BuildContext) -> None:
        self._nodes.append(None)
        self._sources.append(None)
        node = self._stored.add(spec, made)
        self.warnings += made.warnings
        self.why[node.path] = made.why
        is_reused = is_stored_before(made, node, context)
        self.reused += is_reused
        self.built += not is_reused
        self.reread += is_reused and made.why not in KNOWN

    def raise_failures(self) -> None:
        """Raise the only failure, or one error that lists all failures; do nothing without failures."""
        failures = list(self.failures.values())
        if len(failures) == 1:
            raise failures[0]
        if failures:
            lines = first_lines(list(map(str, failures)), _FAILURES_SHOWN, indent="\n  ")
            raise BuildFailed(
                f"{len(failures):,} sources cannot be built:{''.join(lines)}",
                hint=failures[0].hint,
                problems=[(str(each.detail.get("node", "")), str(each)) for each in failures],
            )


def joined(nodes: Sequence[Node], more: Sequence[GroupNode] = ()) -> Sequence[Node]:
    """Return the nodes, and more, with groups of the same path (from the build file and from a source) merged."""
    if not more and not any(isinstance(node, GroupNode) for node in nodes):
        return nodes
    groups: dict[str, GroupNode] = {}
    for node in [*nodes, *more]:
        if isinstance(node, GroupNode):
            before = groups.get(node.path)
            meta = {**before.meta, **node.meta} if before else node.meta
            groups[node.path] = GroupNode(path=node.path, meta=meta)
    return [*groups.values(), *(node for node in nodes if not isinstance(node, GroupNode))]
