"""Put contents into a draft: newly built nodes, and rows appended to a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from datapkg.api.drafts.draft import DraftState
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.format.texts import quoted
from datapkg.objects.base import Readable
from datapkg.reading.source import Remote, Source

if TYPE_CHECKING:
    from datapkg.building.spec.model import BuildSpec, NodeSpec
    from datapkg.building.table_append import StoredRows


def build_nodes(draft: DraftState, spec: BuildSpec) -> list[Node]:
    """Build and store the nodes of a spec; return them without adding them to the draft."""
    from datapkg.building.cache import BuildCache
    from datapkg.building.pipeline import build_package

    before = [draft.nodes[each.path] for each in spec.nodes if each.path in draft.nodes]
    # Checks run on the whole state at the commit: a foreign key may name a table that is not built here.
    draft.checks.ask(spec.nodes)
    with shown_progress(draft.options.progress) as report_progress:
        built = build_package(
            replace(spec, nodes=without_checks(spec.nodes)),
            draft.objects,
            previous=Manifest.make(before),
            find_package=partial(_find_package, draft),
            cache=BuildCache(draft.home.index, draft.ref.package),
            secret=draft.home.settings.secret,
            progress=report_progress,
        )
    draft.record["sources"] += built.record["sources"]
    if pins := built.record.get("packages"):
        draft.record["packages"] = [*draft.record.get("packages", []), *pins]
    draft.warnings += built.warnings
    return built.manifest.nodes


def without_checks(specs: Iterable[NodeSpec]) -> list[NodeSpec]:
    """Return the nodes to build without their checks."""
    return [replace(each, checks=()) for each in specs]


def spec_below(spec: BuildSpec, group: str) -> BuildSpec:
    """Return the spec moved below a group, whose metadata is that of the spec."""
    from datapkg.building.checks.demands import below

    if not group:
        return spec
    nodes = [
        replace(node, path=f"{group}/{node.path}", checks=tuple(below(check, f"{group}/") for check in node.checks))
        for node in spec.nodes
    ]
    groups = {f"{group}/{path}": meta for path, meta in spec.groups.items()}
    return replace(spec, nodes=nodes, groups=({group: spec.meta} if spec.meta else {}) | groups, meta={})


def append_rows(draft: DraftState, path: str, rows: Any, origin: tuple[Source, str] | None = None) -> None:
    """Append rows to a table; `origin` is the state that has the table and its path there, if not the base.

    Raise `NodeNotFound`, `InvalidInput` that names each column that does not match, `HashMismatch` if the stored table
    differs from its manifest.
    """
    from datapkg.building.table_append import append_rows as append_to_table

    draft.paths_at(path)  # for its error, which suggests a path
    node = draft.nodes.get(path)
    if not isinstance(node, TableNode):
        raise InvalidInput(f"{quoted(path)} is not a table: rows can only be appended to a table")
    stored = _stored_rows(draft, node, *(origin or (draft.source(draft.base), path)))
    draft.nodes[path] = after = append_to_table(node, rows, stored)
    # Its content was computed here, from rows and digests that were verified, so a push need not read it again.
    draft.home.store.claims.mark_verified([after])


def _stored_rows(draft: DraftState, node: TableNode, source: Source, path: str) -> StoredRows:
    """Return the access to a table's objects: reading footers, fetching blocks, and verifying its stated content."""
    from datapkg.building.table_append import StoredRows
    from datapkg.reading.tables.arrow_reader import footers
    from datapkg.reading.tables.stored_table import StoredTable

    part = partial(msgspec.structs.replace, node, path=path)
    return StoredRows(
        draft.objects,
        footers=lambda blocks: list(footers(StoredTable(source, part(blocks=blocks)))),
        bring=lambda blocks: source.bring(part(blocks=blocks)),
        problem=lambda: source.claim_problem(part()),
    )


def _find_package(draft: DraftState, wanted: Ref) -> tuple[Manifest, Readable]:
    from datapkg.api.build_tools import find_package

    manifest, readable = find_package(draft.home, wanted, draft.options.registry)
    draft.sources.append(Source(draft.home.store, wanted, manifest.hash, Remote(draft.home)))
    return manifest, readable
