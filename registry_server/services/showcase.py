"""What a page shows of a package: a state as bounded, plain values, ready to be written as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from datapkg.format import wire
from datapkg.format.manifest import ArrayNode, FileNode, Manifest, Node, TableNode
from registry_server.services import browse, serving
from registry_server.services.describing import describe, readme_node, readme_text
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry

MAX_ROWS = 300
MAX_COLUMNS = 60
MAX_FACTS = 30
MAX_FACT = 500
MAX_README_BYTES = 256 << 10
SHOWN_PUSHES = 20
KEPT_EXHIBITS = 64
LICENCES = ("licence", "license")


@dataclass(frozen=True)
class TreeRow:
    """One line of the tree; `columns` are those of a table, `more_columns` counts the ones left out."""

    depth: int
    name: str
    path: str
    kind: str
    size: int | None = None
    rows: int | None = None
    shape: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    more_columns: int = 0


@dataclass(frozen=True)
class Exhibit:
    """What is shown of a state: a function of its manifest and README alone."""

    title: str
    description: str
    licence: str
    facts: tuple[tuple[str, str], ...]
    tree: tuple[TreeRow, ...]
    more_nodes: int
    tables: int
    files: int
    rows: int
    size: int
    readme: str
    readme_name: str
    readme_cut: bool


@dataclass(frozen=True)
class Shown:
    """A package's page: the state that was asked for, and what changes around it."""

    info: wire.PackageInfo
    resolved: wire.Resolved
    exhibit: Exhibit
    log: wire.LogPage
    asked: str | None

    @property
    def ref(self) -> str:
        """What to install: the package, in the state asked for."""
        return f"{self.info.package}@{self.asked}" if self.asked else self.info.package


class Showcase:
    """Makes exhibits, and keeps the last ones: a manifest may be large, and a page is asked for often."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._exhibit_of = lru_cache(maxsize=KEPT_EXHIBITS)(self._make)

    def show(self, actor: Actor, user: str, name: str, state: str | None) -> Shown:
        """The page of a package that the actor may read; raises as `browse.resolve` and `serving.manifest` do."""
        info = browse.info(self._registry, actor, user, name)
        resolved = browse.resolve(self._registry, actor, user, name, state)
        serving.manifest(self._registry, actor, user, name, resolved.hash)
        return Shown(
            info=info,
            resolved=resolved,
            exhibit=self._exhibit_of(resolved.hash),
            log=browse.log(self._registry, actor, user, name, limit=SHOWN_PUSHES),
            asked=state or None,
        )

    def _make(self, hash: str) -> Exhibit:
        manifest = Manifest.parse(serving.read_checked(self._registry, hash))
        return make_exhibit(manifest, readme_text(manifest, self._registry.objects, MAX_README_BYTES))


def make_exhibit(manifest: Manifest, readme: str) -> Exhibit:
    """What is shown of a manifest."""
    state = describe(manifest)
    node = readme_node(manifest)
    tables = [each for each in manifest.nodes if isinstance(each, TableNode)]
    facts = [(key, _fact(value)) for key, value in manifest.meta.items()]
    tree = list(_tree(manifest.nodes[: MAX_ROWS * 2]))[:MAX_ROWS]
    shown = {row.path for row in tree}
    return Exhibit(
        title=state.title,
        description=state.description,
        licence=next((value for key, value in facts if key.casefold() in LICENCES), ""),
        facts=tuple((key, value) for key, value in facts if key.casefold() not in ("title", "description", *LICENCES))[
            :MAX_FACTS
        ],
        tree=tuple(tree),
        more_nodes=sum(each.path not in shown for each in manifest.nodes),
        tables=len(tables),
        files=sum(isinstance(each, FileNode) for each in manifest.nodes),
        rows=sum(each.rows for each in tables),
        size=state.bytes_logical,
        readme=readme,
        readme_name=(node.file_name or node.path) if node else "",
        readme_cut=node is not None and node.size > MAX_README_BYTES,
    )


def _fact(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_FACT else text[:MAX_FACT] + "…"


def _tree(nodes: list[Node]) -> Iterator[TreeRow]:
    """The lines of these nodes, in order, with one before them for each group that is only implied."""
    before: tuple[str, ...] = ()
    for node in nodes:
        parts = node.parts
        common = next(
            (at for at, pair in enumerate(zip(before, parts, strict=False)) if pair[0] != pair[1]), len(before)
        )
        for depth in range(min(common, len(parts) - 1), len(parts) - 1):
            yield TreeRow(depth, parts[depth], "/".join(parts[: depth + 1]), "group")
        yield _row(node, parts)
        before = parts


def _row(node: Node, parts: tuple[str, ...]) -> TreeRow:
    row = {"depth": len(parts) - 1, "name": parts[-1], "path": node.path, "kind": node.kind}
    if isinstance(node, TableNode):
        return TreeRow(
            **row,  # type: ignore[arg-type]
            size=node.size,
            rows=node.rows,
            columns=tuple(node.columns[:MAX_COLUMNS]),
            more_columns=max(0, len(node.columns) - MAX_COLUMNS),
        )
    if isinstance(node, ArrayNode):
        shape = f"{node.dtype} {' × '.join(map(str, node.shape)) or 'scalar'}"
        return TreeRow(**row, size=node.size, shape=shape)  # type: ignore[arg-type]
    return TreeRow(**row, size=node.size if isinstance(node, FileNode) else None)  # type: ignore[arg-type]
