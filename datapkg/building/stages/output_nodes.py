"""Nodes of outputs: the files that a stage wrote, as files that nodes are built from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from datapkg.building.readers import node_name
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.model import FileSource, NodeSpec, StageSource
from datapkg.building.spec.stages import OfStage
from datapkg.building.stages.inputs import nodes_below
from datapkg.errors import BuildFailed
from datapkg.format.manifest.parsed import FileNode
from datapkg.format.texts import quoted
from datapkg.store.stage_results import StageResult
from datapkg.store.store import Store


def before_stages(nodes: Iterable[NodeSpec]) -> list[NodeSpec]:
    """Return the nodes that are built before any stage runs."""
    return [node for node in nodes if not isinstance(node.source, OfStage)]


def made_by(nodes: Iterable[NodeSpec]) -> dict[str, list[tuple[NodeSpec, StageSource]]]:
    """Return the nodes that are built from the outputs of each stage; one of a matrix has a node below that of all."""
    found: defaultdict[str, list[tuple[NodeSpec, StageSource]]] = defaultdict(list)
    for node in nodes:
        if isinstance(source := node.source, StageSource):
            for label, name in (source.members or {"": source.stage}).items():
                here = replace(node, path=f"{node.path}/{label}", meta={}) if label else node
                found[name].append((here, source))
    return found


def output_specs(node: NodeSpec, source: StageSource, result: StageResult, store: Store) -> Iterator[NodeSpec]:
    """Yield the nodes to build of an output: one for a file; one for each file of a folder, in groups below the node.

    Raise `BuildFailed` for two files of a folder that would be one node, `InvalidInput` for kwargs that do not fit.
    """
    taken: dict[str, str] = {}
    for file in nodes_below(result.nodes, source.output):
        if isinstance(file, FileNode):
            spec = _spec(node, source, file, store.links.path(result.manifest, file))
            if spec.path in taken:
                both = f"{quoted(taken[spec.path])} and {quoted(file.path)}"
                raise BuildFailed(
                    f"{both} of stage {quoted(source.stage)} would both be node {quoted(spec.path)}",
                    hint="let the stage name them otherwise, or keep files with their suffixes: transform: id",
                )
            taken[spec.path] = file.path
            yield spec


def _spec(node: NodeSpec, source: StageSource, file: FileNode, path: Path) -> NodeSpec:
    below = file.path.removeprefix(source.output).strip("/")
    assert source.how is not None
    transform, kwargs = source.how.of(path)
    here = node.path
    if below:
        *folders, name = below.split("/")
        here = "/".join((node.path, *folders, node_name(name, transform)))
    if problem := name_problem(tuple(here.split("/"))):
        raise BuildFailed(f"{quoted(file.path)} of stage {quoted(source.stage)}: {problem}")
    shown = f"stages/{source.stage}/{file.path}"
    record = {"stage": source.stage, "output": source.output}
    found = FileSource(path, shown, file_name=file.file_name, record=record)
    meta = {} if below else node.meta
    return replace(node, path=here, source=found, transform=transform, kwargs=kwargs, meta=meta)
