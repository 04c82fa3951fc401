"""The story of a build: every source becomes a node, its bytes become objects, and the nodes become a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from datapkg.building.checks.report import raise_failed, recorded, warnings_of
from datapkg.building.checks.run import run_checks
from datapkg.building.composition import take_over
from datapkg.building.nodes import Earlier, make_node
from datapkg.building.record import make_record
from datapkg.building.spec import BuildSpec, PackageSource
from datapkg.format.manifest import GroupNode, Manifest, Node
from datapkg.format.names import Ref
from datapkg.objects.base import Objects, Readable
from datapkg.objects.progress import Progress, silent

FindPackage = Callable[[Ref], tuple[Manifest, Readable]]


@dataclass
class Built:
    """What a build made: the manifest, whose objects are stored, and the record of how; nothing is named by it yet.

    `built` and `reused` count nodes; reused are those whose objects were here before, or come from another package.
    """

    manifest: Manifest
    record: dict[str, Any]
    built: int
    reused: int
    bytes_logical: int
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def build_package(
    spec: BuildSpec,
    objects: Objects,
    *,
    previous: Manifest | None,
    find_package: FindPackage,
    progress: Progress = silent,
) -> Built:
    """Builds a package into `objects` and gives its manifest, which the caller saves and names.

    `previous` is the state built or installed before at this name: tables of equal content keep its objects.
    Raises `BuildFailed` for a source that cannot be read, `CheckFailed` for data that break a check, `NotFound` for a
    package that is not there; whole objects may then be left behind, of which nobody knows.
    """
    earlier = Earlier(previous, objects)
    work = _Work()
    with objects.batch():
        for number, node in enumerate(spec.nodes):
            progress("building", number, len(spec.nodes))
            if isinstance(node.source, PackageSource):
                work.add_package(*take_over(node, objects, find_package))
            else:
                made = make_node(node, objects, earlier)
                work.add(made.node, made.reused, made.source, made.warnings)
        progress("building", len(spec.nodes), len(spec.nodes))
        groups = [GroupNode(path=path, meta=meta) for path, meta in spec.groups.items()]
        manifest = Manifest.make([*work.nodes, *groups], spec.meta)
    results = run_checks(spec.nodes, manifest, objects)
    raise_failed(results)
    return Built(
        manifest,
        make_record(spec, work.sources, work.packages, recorded(results)),
        built=work.built,
        reused=work.reused,
        bytes_logical=sum(node.size for node in manifest.nodes),
        warnings=[*spec.warnings, *work.warnings, *warnings_of(results)],
        skipped=spec.skipped,
    )


class _Work:
    """What has been built so far."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.sources: list[dict[str, Any]] = []
        self.packages: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.built = self.reused = 0

    def add(self, node: Node, reused: bool, source: dict[str, Any], warnings: list[str]) -> None:
        self.nodes.append(node)
        self.sources += [source] if source else []
        self.warnings += warnings
        self.reused += reused
        self.built += not reused

    def add_package(self, nodes: list[Node], pin: dict[str, Any]) -> None:
        self.nodes += nodes
        self.packages.append(pin)
        self.reused += sum(not isinstance(node, GroupNode) for node in nodes)
