"""The story of a build: every source becomes a node, its bytes become objects, and the nodes become a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datapkg.building.build_context import BuildContext, PreviousState, Secret
from datapkg.building.cache import BuildCache
from datapkg.building.checks.report import raise_failed, recorded, warnings_of
from datapkg.building.checks.run import CheckResult, run_checks
from datapkg.building.metadata_lint import metadata_warnings
from datapkg.building.node_builder import KNOWN, BuiltNodes
from datapkg.building.record import make_record
from datapkg.building.scheduler import build_all
from datapkg.building.sources.package import take_over
from datapkg.building.sources.warnings_capture import capture_warnings
from datapkg.building.spec.model import BuildSpec, NodeSpec, PackageSource
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.format.texts import first_lines
from datapkg.objects.base import Objects, Readable
from datapkg.objects.progress import Progress, silent

FindPackage = Callable[[Ref], tuple[Manifest, Readable]]
_FAILURES_SHOWN = 20


def no_secret(name: str) -> str:
    """The environment in which nothing is set."""
    raise InvalidInput(f"{name} is not set in the environment")


@dataclass
class BuildOutput:
    """What a build made: the manifest, whose objects are stored, and the record of how; nothing is named by it yet.

    `built` and `reused` count nodes; reused are those whose objects were here before, or come from another package,
    and `reread` those of them whose source was read all the same, and gave what was here.
    `checks` are the results of all checks, `why` says of each node's path why it was built, or was not. `left_out` has
    what went wrong with each source that is not in the manifest, by the node's path.
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


def build_package(
    spec: BuildSpec,
    objects: Objects,
    *,
    previous: Manifest | None,
    find_package: FindPackage,
    cache: BuildCache | None = None,
    secret: Secret = no_secret,
    keep_going: bool = False,
    progress: Progress = silent,
) -> BuildOutput:
    """Builds a package into `objects` and gives its manifest, which the caller saves and names.

    `previous` is the state built or installed before at this name: tables of equal content keep its objects. `secret`
    gives the value of an environment variable by its name. Raises `BuildFailed` for sources that cannot be read, all of
    them at once, `CheckFailed` for data that break a check, `NotFound` for a package that is not there; what could be
    built is then stored all the same, known to nobody but the cache, for the next attempt. With `keep_going` sources
    that cannot be read are left out as long as there are others; so are checks that compare with their tables.
    """
    cache = cache or BuildCache()
    desk = BuildContext(objects, PreviousState(previous, objects, cache.claims), cache, secret)
    work = _Work()
    try:
        with objects.batch(), capture_warnings():
            for node, made in build_all(spec.nodes, desk, progress):
                if isinstance(node.source, PackageSource):
                    work.add_package(*take_over(node, objects, find_package))
                elif isinstance(made, BuiltNodes):
                    work.add(made)
                elif made is not None:
                    work.failures[node.path] = made
            if not (keep_going and work.nodes):
                work.raise_failures()
            groups = [GroupNode(path=path, meta=meta) for path, meta in spec.groups.items()]
            manifest = Manifest.make(joined([*work.nodes, *groups]), spec.meta, like=previous)
        cache.claims.mark_verified(work.tables)
    finally:
        cache.save()
    results = run_checks(_without(spec.nodes, work.failures), manifest, objects)
    raise_failed(results)
    left_out = {path: str(error) for path, error in work.failures.items()}
    return BuildOutput(
        manifest,
        make_record(spec, work.sources, work.packages, recorded(results), left_out),
        built=work.built,
        reused=work.reused,
        bytes_logical=sum(node.size for node in manifest.nodes),
        warnings=[
            *spec.warnings,
            *work.warnings,
            *desk.previous.warnings,
            *metadata_warnings(manifest),
            *warnings_of(results),
        ],
        skipped=spec.skipped,
        checks=results,
        why=work.why,
        left_out=left_out,
        reread=work.reread,
    )


def _without(nodes: list[NodeSpec], failures: Mapping[str, DatapkgError]) -> list[NodeSpec]:
    """Return the nodes that were made, without checks that compare with a table that was not."""
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


class _Work:
    """What has been built so far."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tables: list[TableNode] = []  # written now, or verified
        self.sources: list[dict[str, Any]] = []
        self.packages: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.failures: dict[str, DatapkgError] = {}
        self.why: dict[str, str] = {}
        self.built = self.reused = self.reread = 0

    def add(self, made: BuiltNodes) -> None:
        self.nodes += made.nodes
        if made.why not in KNOWN:
            self.tables += [node for node in made.nodes if isinstance(node, TableNode)]
        self.sources += [made.source] if made.source else []
        self.warnings += made.warnings
        nodes = [node for node in made.nodes if not isinstance(node, GroupNode)]
        self.why.update((node.path, made.why) for node in nodes)
        self.reused += len(nodes) if made.reused else 0
        self.built += 0 if made.reused else len(nodes)
        self.reread += len(nodes) if made.reused and made.why not in KNOWN else 0

    def add_package(self, nodes: list[Node], pin: dict[str, Any]) -> None:
        self.nodes += nodes
        self.packages.append(pin)
        self.reused += sum(not isinstance(node, GroupNode) for node in nodes)

    def raise_failures(self) -> None:
        """Raises what went wrong: the one error, or one that lists them all."""
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


def joined(nodes: list[Node]) -> list[Node]:
    """The nodes, of two groups at one path (one of the build file, one that a source is) their metadata together."""
    groups: dict[str, GroupNode] = {}
    for node in nodes:
        if isinstance(node, GroupNode):
            before = groups.get(node.path)
            meta = {**before.meta, **node.meta} if before else node.meta
            groups[node.path] = GroupNode(path=node.path, meta=meta)
    return [*groups.values(), *(node for node in nodes if not isinstance(node, GroupNode))]
