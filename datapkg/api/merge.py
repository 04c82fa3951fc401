"""Merge: make a state of a package from those of others, by their manifests; data is not copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from datapkg.api.drafts.carried_checks import known_checks
from datapkg.api.drafts.commit import drafting
from datapkg.api.drafts.contents import append_rows
from datapkg.api.drafts.draft import DraftState
from datapkg.api.drafts.policy import CommitOptions
from datapkg.api.drafts.start import current_state
from datapkg.api.foreign_objects import bring_foreign, foreign_objects
from datapkg.api.results import MergeResult
from datapkg.api.states import check_named_complete
from datapkg.building.checks.demands import CarriedCheck, carried_checks_of
from datapkg.building.merge import MergePart, MergePlan, plan_merge
from datapkg.building.rows import stored_rows
from datapkg.building.table_append import false_content
from datapkg.errors import InvalidInput
from datapkg.format.manifest.diff import same_content
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.deltas import planned_transfer
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, plan
from datapkg.reading.missing.earlier_states import explained
from datapkg.reading.source import Remote, Source
from datapkg.resolve import ResolvedState, find_or_fetch


@dataclass(frozen=True)
class MergeOptions:
    """Options of a merge: how to resolve differing paths (error, ours, theirs or rename), and whether to concatenate.

    With `concat`, tables with the same columns are concatenated. `registry` is used for packages that are not here.
    """

    on_conflict: str = "error"
    concat: bool = False
    message: str = ""
    registry: str | None = None
    checks: bool = True
    dry_run: bool = False


@dataclass(frozen=True)
class Input:
    """One input of a merge: its ref, the resolved state, and the nodes that are merged.

    `above` is the prefix that the paths of `part` lack compared with the state: "", or a group with a slash.
    """

    ref: Ref
    found: ResolvedState
    part: MergePart
    above: str = ""


def merge(
    home: Home, refs: Sequence[Ref], into: Ref, options: MergeOptions = MergeOptions(), *, progress: Progress = silent
) -> MergeResult:
    """Merge what the refs name, packages or groups in them, into a state of the package `into`; make it current here.

    Fetched are only manifests, tables that are concatenated or that replace another of the same content and were never
    verified here, and objects at another registry than the push target. The record pins the inputs. Raise `Conflict`
    with all paths that differ, `PackageNotInstalled`, `NodeNotFound`, `HashMismatch` for a table that differs from its
    manifest, and the errors of a registry.
    """
    if into.path or into.state or into.registry is not None:
        raise InvalidInput(f"{into} is not what a merge makes: name a package alone", hint=f"-o {into.package}")
    with home.store.writing():
        return _merge(home, refs, into, options, progress)


def _merge(home: Home, refs: Sequence[Ref], into: Ref, options: MergeOptions, progress: Progress) -> MergeResult:
    inputs = [_found(home, ref, options.registry) for ref in refs]

    def check(number: int, table: TableNode) -> None:
        source, path = _source(home, inputs[number], table.path, options.registry)
        if problem := source.claim_problem(msgspec.structs.replace(table, path=path)):
            raise false_content(f"{refs[number].package}/{path}", problem, table.content)

    merging = plan_merge([each.part for each in inputs], options.on_conflict, concat=options.concat, check=check)
    commit = CommitOptions(options.message, False, options.registry, progress, "merge", checks=options.checks)
    if options.dry_run:
        return _planned(home, inputs, into, merging, options.registry)
    # A merge is a build: it starts from the current state here, and no registry is contacted.
    with drafting(DraftState(home, into, commit), current_state) as draft:
        _take(draft, inputs, merging, progress)
        draft.record |= _recorded(inputs, merging, options.on_conflict)
    manifest = home.store.manifest(draft.hash)
    return MergeResult(
        package=into.package,
        hash=draft.hash,
        inputs=_pins(inputs),
        nodes=sum(node.kind != "group" for node in manifest.nodes),
        renamed=merging.renamed,
        dropped=merging.dropped,
        concatenated=list(merging.more),
        bytes_logical=manifest.size(),
        bytes_absent=sum(home.store.absent(manifest).values()),
        warnings=draft.warnings,
    )


def _planned(home: Home, inputs: Sequence[Input], into: Ref, merging: MergePlan, registry: str | None) -> MergeResult:
    """Return the result of a merge without making it: only manifests are read."""
    manifest = Manifest.make(merging.nodes.values(), merging.meta)
    wanted = {hash: size for node in merging.nodes.values() for hash, size in node.objects()}
    needed = {hash: size for table in _read_tables(home, merging) for hash, size in table.objects()}
    needed = dict(plan(needed, home.store.objects).needed)
    for number, each in enumerate(inputs):
        mine = [node for path, node in merging.nodes.items() if merging.of[path] == number]
        sizes = {hash: size for node in mine for hash, size in node.objects()}
        needed |= foreign_objects(home, each.ref, each.found, sizes, registry)
    return MergeResult(
        package=into.package,
        # The blocks of concatenated tables, and so the hash, are only known once they are written.
        hash="" if merging.more else manifest.hash,
        inputs=_pins(inputs),
        nodes=sum(node.kind != "group" for node in merging.nodes.values()),
        renamed=merging.renamed,
        dropped=merging.dropped,
        concatenated=list(merging.more),
        bytes_logical=manifest.size(),
        bytes_absent=sum(home.store.absent(manifest).values()),
        transfer=planned_transfer(TransferPlan(needed, 0), {}, sum(({**wanted, **needed}).values())),
    )


def _read_tables(home: Home, merging: MergePlan) -> Iterator[TableNode]:
    """Yield the tables that a concatenation reads; of one that rows are appended to at least the last block."""
    for path, more in merging.more.items():
        first = merging.nodes[path]
        if isinstance(first, TableNode):
            # One that was never verified here is verified first, which reads all of it.
            blocks = first.blocks[-1:] if home.store.claims.is_verified(first) else first.blocks
            yield msgspec.structs.replace(first, blocks=blocks)
        yield from (table for _, table in more)


def _found(home: Home, ref: Ref, registry: str | None) -> Input:
    """Resolve a ref; if the package is not here, its manifest is fetched."""
    found = find_or_fetch(home, ref, registry)
    check_named_complete(home, ref, found.hash)
    manifest = found.store.manifest(found.hash)
    with explained(found, home):
        below = manifest.below(ref.path)
    if not ref.path:
        return Input(ref, found, MergePart(ref.package, below, manifest.meta))
    if manifest.kind(ref.path) != "group":
        nodes: list[Node] = [msgspec.structs.replace(below[0], path=below[0].parts[-1])]
        return Input(ref, found, MergePart(ref.package, nodes, {}), ref.path.removesuffix(nodes[0].path))
    meta = below[0].meta if below[0].path == ref.path else {}
    nodes = [msgspec.structs.replace(node, path=node.path[len(ref.path) + 1 :]) for node in below]
    return Input(ref, found, MergePart(ref.package, [node for node in nodes if node.path], meta), f"{ref.path}/")


def _places(each: Input, number: int, merging: MergePlan) -> dict[str, str]:
    """Return the path of each table of an input in the merge, by its path in its own package."""
    found: dict[str, str] = {}
    renamed = {old: new for new, old in merging.renamed.items() if merging.of.get(new) == number}
    for node in each.part.nodes:
        if not isinstance(node, TableNode):
            continue
        now = renamed.get(node.path, node.path)
        there = merging.nodes.get(now)
        meets = [there, *(table for _, table in merging.more.get(now, ()))] if there is not None else []
        if any(same_content(other, node) for other in meets):
            found[each.above + node.path] = now
    return found


def _pins(inputs: Sequence[Input]) -> list[dict[str, str]]:
    return [{"package": str(each.ref.at(None)), "hash": each.found.hash} for each in inputs]


def _take(draft: DraftState, inputs: Sequence[Input], merging: MergePlan, progress: Progress) -> None:
    """Replace the contents of a draft by those of a merge."""
    home, registry = draft.home, draft.options.registry
    draft.nodes, draft.meta = ManifestEdit(), merging.meta
    draft.nodes.update(merging.nodes)
    draft.sources = [_source(home, each, "", registry)[0] for each in inputs]
    for number, each in enumerate(inputs):
        mine = [node for path, node in merging.nodes.items() if merging.of[path] == number]
        sizes = {hash: size for node in mine for hash, size in node.objects()}
        bring_foreign(home, each.ref, each.found, sizes, registry, progress)
    demands = (_checks_of(draft, each, number, merging) for number, each in enumerate(inputs))
    draft.checks.take(demand for some in demands for demand in some)
    for path, more in merging.more.items():
        # The first table is read from its original package: of a long one only the last block is fetched.
        origin = _source(home, inputs[merging.of[path]], merging.renamed.get(path, path), registry)
        for number, table in more:
            source, place = _source(home, inputs[number], table.path, registry)
            source.bring(msgspec.structs.replace(table, path=place))
            append_rows(draft, path, stored_rows(table.blocks, source.store.objects), origin)


def _recorded(inputs: Sequence[Input], merging: MergePlan, on_conflict: str) -> dict[str, Any]:
    """Return the record of a merge: the inputs as pins, and how they were merged."""
    concatenated = {path: [number for number, _ in more] for path, more in merging.more.items()}
    how = {"on_conflict": on_conflict, "renamed": merging.renamed, "concatenated": concatenated}
    return {
        "packages": [{"path": "", **each} for each in _pins(inputs)],
        "merge": {name: value for name, value in how.items() if value},
    }


def _checks_of(draft: DraftState, each: Input, number: int, merging: MergePlan) -> list[CarriedCheck]:
    """Return the checks of an input's tables, at their paths in the merge."""
    home, store = draft.home, each.found.store
    entries, problem = known_checks(home, store, each.ref, each.found.hash, draft.options.registry)
    draft.warnings += [problem] if problem else []
    places = _places(each, number, merging)
    found = []
    for demand in carried_checks_of(entries, store.manifest(each.found.hash).get):
        if demand.path not in places:
            continue
        lost = [path for path, _ in demand.keys if path not in places]
        if lost:
            demand = replace(demand, check=None, why=f"{lost[0]} is not a part of the merge", entry={}, keys=())
        keys = tuple((places[path], column) for path, column in demand.keys)
        found.append(replace(demand, path=places[demand.path], keys=keys))
    return found


def _source(home: Home, each: Input, path: str, registry: str | None) -> tuple[Source, str]:
    """Return the source that a node of an input is read from, and its path there."""
    store = each.found.store
    remote = Remote(home, registry) if store is home.store else None
    return Source(store, each.ref, each.found.hash, remote), each.above + path
