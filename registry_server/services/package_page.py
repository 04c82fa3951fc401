"""What a page shows of a package: a state as bounded, plain values, ready to be written as HTML."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple
from urllib.parse import quote

from datapkg.format import wire
from datapkg.format.manifest.parsed import ArrayNode, FileNode, Manifest, Node, TableNode
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.metadata import LICENCE_KEYS, ColumnNote, column_notes
from registry_server.services import browse, downloads
from registry_server.services.policy import PackageRequest
from registry_server.services.readme_targets import ReadmeTargets
from registry_server.services.registry import Registry
from registry_server.services.summaries import describe, licence_nodes, readme_node, readme_text

MAX_ROWS = 300
MAX_COLUMNS = 60
MAX_FACTS = 30
MAX_FACT = 500
MAX_README_BYTES = 256 << 10
SHOWN_PUSHES = 10
MAX_UNIT, MAX_NOTE = 50, 300
MAX_LICENCE_FILES = 5
OUTCOMES = ("ok", "warned", "failed", "skipped")
_DTYPES = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
_SHOWN_ELSEWHERE = ("title", "description", *LICENCE_KEYS)
# All that nodes and columns say of themselves on one page, in characters; the rest of them have names and types alone.
MAX_NOTES = 200_000


class PageColumn(NamedTuple):
    """A column of a table, and what its publisher says of it."""

    name: str
    type: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class TreeRow:
    """One line of the tree; `columns` are those of a table, `more_columns` counts the ones left out.

    `about` is what the publisher says of the node.
    """

    depth: int
    name: str
    path: str
    kind: str
    size: int | None = None
    rows: int | None = None
    shape: str = ""
    columns: tuple[PageColumn, ...] = ()
    more_columns: int = 0
    about: str = ""

    @property
    def anchor(self) -> str:
        """The id of this line on the page, which a README's links lead to."""
        return anchor(self.path)

    @property
    def is_described(self) -> bool:
        """Whether anything is said of a column."""
        return any(column.description for column in self.columns)


def anchor(path: str) -> str:
    """The id that the line of a node has on its package's page; no id of anything else begins so."""
    return "node:" + quote(path)


@dataclass(frozen=True)
class PageModel:
    """What is shown of a state: a function of its manifest and README alone.

    `licence_files` are names and hashes of the files in which the licence lies.
    """

    title: str
    description: str
    licence: str
    licence_files: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    tree: tuple[TreeRow, ...]
    more_nodes: int
    tables: int
    files: int
    rows: int
    size: int
    readme: str
    readme_name: str
    readme_path: str
    readme_cut: bool


@dataclass(frozen=True)
class ShownState:
    """A package's page without its exhibit: the state that was asked for, and what changes around it."""

    info: wire.PackageInfo
    resolved: wire.Resolved
    log: wire.LogPage
    asked: str | None

    def typed_ref(self, node: str = "") -> str:
        """What to type for the package, or a node of it, in the state asked for; quoted for a shell."""
        path = f"{self.info.package}/{node}" if node else self.info.package
        return shlex.quote(f"{path}@{self.asked}" if self.asked else path)

    def object_path(self, hash: str) -> str:
        """Where the bytes of a file of the package are."""
        return object_path(self.info.package, hash)


def object_path(package: str, hash: str) -> str:
    """Where the bytes of an object of a package are."""
    user, name = package.split("/")
    return wire.OBJECT.format(user=user, name=name, hash=hash)


def find_shown(request: PackageRequest, state: str | None) -> ShownState:
    """Find what a page shows of a package; raises as `browse.resolve` and `serving.manifest` do."""
    info = browse.info(request)
    resolved = browse.resolve(request, state)
    downloads.manifest(request, resolved.hash)
    return ShownState(
        info=info,
        resolved=resolved,
        log=browse.log(request, limit=SHOWN_PUSHES),
        asked=state or None,
    )


def read_exhibit(registry: Registry, hash: str) -> tuple[PageModel, ReadmeTargets]:
    """Read a manifest and its README, and return what is shown of them, and what the README's addresses lead to.

    Takes up to seconds for a long one. The targets hold the whole manifest: they are for the rendering alone. The
    caller has checked that the state may be read.
    """
    manifest = read_manifest(downloads.read_checked(registry, hash), hash, believed=True)
    exhibit = make_exhibit(manifest, readme_text(manifest, registry.objects, MAX_README_BYTES))
    return exhibit, ReadmeTargets(manifest, registry.objects)


def check_counts(found: wire.StateChecks) -> str:
    """Return how many checks of a state had each outcome when it was built, as in `3 ok, 1 warned`."""
    outcomes = [each.get("outcome") for each in found.checks]
    counts = {name: outcomes.count(name) for name in OUTCOMES}
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


def make_exhibit(manifest: Manifest, readme: str) -> PageModel:
    """What is shown of a manifest."""
    state = describe(manifest)
    node = readme_node(manifest)
    facts = [(key, _fact(value)) for key, value in manifest.meta.items()]
    others = ((key, value) for key, value in facts if key.casefold() not in _SHOWN_ELSEWHERE)
    first = list(islice(manifest.entries(), MAX_ROWS * 2))
    tree = _with_bounded_notes(islice(_tree(first), MAX_ROWS))
    shown = {row.path for row in tree}
    counted = _count(manifest)
    return PageModel(
        title=state.title,
        description=state.description,
        licence=next((value for key, value in facts if key.casefold() in LICENCE_KEYS), ""),
        licence_files=tuple((file.path, file.hash) for file in licence_nodes(manifest, MAX_LICENCE_FILES)),
        facts=tuple(islice(others, MAX_FACTS)),
        tree=tuple(tree),
        more_nodes=counted.nodes - sum(each.path in shown for each in first),
        tables=counted.tables,
        files=counted.files,
        rows=counted.rows,
        size=state.bytes_logical,
        readme=readme,
        readme_name=(node.file_name or node.path) if node else "",
        readme_path=node.path if node else "",
        readme_cut=node is not None and node.size > MAX_README_BYTES,
    )


class _NodeCounts(NamedTuple):
    nodes: int
    tables: int
    files: int
    rows: int


def _count(manifest: Manifest) -> _NodeCounts:
    """Count the nodes in one pass, of which none is kept: there may be a million."""
    nodes = tables = files = rows = 0
    for node in manifest.entries():
        nodes += 1
        if isinstance(node, TableNode):
            tables += 1
            rows += node.rows
        elif isinstance(node, FileNode):
            files += 1
    return _NodeCounts(nodes, tables, files, rows)


def _fact(value: object) -> str:
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        value = [f"{key}: {each}" for key, each in value.items()]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MAX_FACT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _with_bounded_notes(rows: Iterable[TreeRow]) -> list[TreeRow]:
    """The lines, of which only the first say more than names and types."""
    bounded: list[TreeRow] = []
    left = MAX_NOTES
    for row in rows:
        left -= len(row.about) + sum(len(column.unit) + len(column.description) for column in row.columns)
        bare = tuple(PageColumn(column.name, column.type) for column in row.columns)
        bounded.append(row if left >= 0 else replace(row, about="", columns=bare))
    return bounded


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
    row = TreeRow(len(parts) - 1, parts[-1], node.path, node.kind, about=_about(node))
    if isinstance(node, TableNode):
        columns = tuple(_columns(node))
        more = len(node.columns) - len(columns)
        return replace(row, size=node.size, rows=node.rows, columns=columns, more_columns=more)
    if isinstance(node, ArrayNode):
        shape = f"{_dtype(node.dtype)} {' × '.join(map(str, node.shape)) or 'scalar'}"
        return replace(row, size=node.size, shape=shape)
    return replace(row, size=node.size) if isinstance(node, FileNode) else row


def _dtype(text: str) -> str:
    """Return the name of a numeric dtype, `float64` for `<f8`; any other text as it is."""
    found = re.fullmatch(r"[<>|=]?([iufc])(\d{1,2})", text)
    if found is None:
        return "bool" if text == "|b1" else text
    return f"{_DTYPES[found[1]]}{int(found[2]) * 8}"


def _columns(node: TableNode) -> Iterator[PageColumn]:
    notes = column_notes(node.meta)
    for name, kind in node.columns[:MAX_COLUMNS]:
        note = notes.get(name, ColumnNote())
        yield PageColumn(name, kind, _cut(note.unit, MAX_UNIT), _cut(note.description, MAX_NOTE))


def _about(node: Node) -> str:
    """`Title: description` of a node."""
    said = [text for key in ("title", "description") if isinstance(text := node.meta.get(key), str) and text.strip()]
    return _cut(": ".join(said), MAX_NOTE)
