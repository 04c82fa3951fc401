"""What a page shows of a package: a state as bounded, plain values, ready for a template."""

from __future__ import annotations

import json
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
from datapkg.format.texts import dtype_text
from datapkg.format.thin_wheel import distribution_name, wheel_version
from registry_server.services import browse, downloads
from registry_server.services.policy import PackageRequest
from registry_server.services.python_index import file_path
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
_SHOWN_ELSEWHERE = ("title", "description", *LICENCE_KEYS)
# Characters of all titles and descriptions of nodes and columns on one page; beyond it only names and types are shown.
MAX_NOTES = 200_000


class PageColumn(NamedTuple):
    """A column of a table, with unit and description from its publisher."""

    name: str
    type: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class TreeRow:
    """One row of the tree; `columns` are those of a table, and `more_columns` counts the omitted ones.

    `about` is the title and description of the node.
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
        """The HTML id of this row, to which links in the README lead."""
        return anchor(self.path)

    @property
    def is_described(self) -> bool:
        """Whether any column has a description."""
        return any(column.description for column in self.columns)


def anchor(path: str) -> str:
    """Return the HTML id of a node's row on the page of its package; no other id begins with this prefix."""
    return "node:" + quote(path)


@dataclass(frozen=True)
class PageModel:
    """What is shown of a state: a function of its manifest and README alone.

    `licence_files` are names and hashes of the files that contain the licence.
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
    """The part of a package's page that changes: the requested state, tags, versions and the log.

    `record_key` differs after each change of the record of the state, which has its checks.
    """

    info: wire.PackageInfo
    resolved: wire.Resolved
    log: wire.LogPage
    asked: str | None
    record_key: str

    def typed_ref(self, node: str = "") -> str:
        """Return the ref of the package, or of a node, in the requested state; quoted for a shell."""
        path = f"{self.info.package}/{node}" if node else self.info.package
        return shlex.quote(f"{path}@{self.asked}" if self.asked else path)

    def requirement(self, site: str) -> str:
        """Return the requirement that pins the state for pip, by address and hash; "" if its wheel is not known."""
        hash = self.resolved.hash
        of_versions = [
            (wheel_version(each.version, 0, hash), each.wheel)
            for each in self.info.versions
            if each.hash == hash and each.yanked is None
        ]
        pushes = [each for each in self.log.entries if each.hash == hash and each.number]
        of_state = [(wheel_version(None, each.number or 0, hash), each.wheel) for each in pushes[:1]]
        for version, sha256 in [*reversed(of_versions), *of_state]:
            if sha256:
                address = f"{site}{file_path(self.info.package, version)}#sha256={sha256}"
                return f"{distribution_name(self.info.package)} @ {address}"
        return ""

    def object_path(self, hash: str) -> str:
        """Return the URL path of a file of the package."""
        return object_path(self.info.package, hash)


def object_path(package: str, hash: str) -> str:
    """Return the URL path of an object of a package."""
    user, name = package.split("/")
    return wire.OBJECT.format(user=user, name=name, hash=hash)


def find_shown(request: PackageRequest, state: str | None) -> ShownState:
    """Find what a page shows of a package; raise as `browse.resolve` and `downloads.manifest` do."""
    info = browse.info(request)
    resolved = browse.resolve(request, state)
    downloads.manifest(request, resolved.hash)
    return ShownState(
        info=info,
        resolved=resolved,
        log=browse.log(request, limit=SHOWN_PUSHES),
        asked=state or None,
        record_key=browse.record_key(request, resolved.hash),
    )


def read_page_model(registry: Registry, hash: str) -> tuple[PageModel, ReadmeTargets]:
    """Read a manifest and its README; return what is shown of them, and the targets of the README's links.

    A long one takes up to seconds. The targets hold the whole manifest, so keep them only while the page is rendered.
    The caller has checked that the actor may read the state.
    """
    manifest = read_manifest(downloads.map_checked(registry, hash), hash, verified=True)
    model = page_model(manifest, readme_text(manifest, registry.objects, MAX_README_BYTES))
    return model, ReadmeTargets(manifest, registry.objects)


def check_counts(found: wire.StateChecks) -> str:
    """Return how many checks of a state had each outcome when it was built, as in `3 ok, 1 warned`."""
    outcomes = [each.get("outcome") for each in found.checks]
    counts = {name: outcomes.count(name) for name in OUTCOMES}
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


def page_model(manifest: Manifest, readme: str) -> PageModel:
    """Return what the page shows of a manifest."""
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
    """Return the rows; descriptions are kept until they take `MAX_NOTES` characters, and dropped after that."""
    bounded: list[TreeRow] = []
    left = MAX_NOTES
    for row in rows:
        left -= len(row.about) + sum(len(column.unit) + len(column.description) for column in row.columns)
        bare = tuple(PageColumn(column.name, column.type) for column in row.columns)
        bounded.append(row if left >= 0 else replace(row, about="", columns=bare))
    return bounded


def _tree(nodes: list[Node]) -> Iterator[TreeRow]:
    """Yield the rows of these nodes, in order, each implied group before its first node."""
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
        shape = f"{dtype_text(node.dtype)} {' × '.join(map(str, node.shape)) or 'scalar'}"
        return replace(row, size=node.size, shape=shape)
    return replace(row, size=node.size) if isinstance(node, FileNode) else row


def _columns(node: TableNode) -> Iterator[PageColumn]:
    notes = column_notes(node.meta)
    for name, kind in node.columns[:MAX_COLUMNS]:
        note = notes.get(name, ColumnNote())
        yield PageColumn(name, kind, _cut(note.unit, MAX_UNIT), _cut(note.description, MAX_NOTE))


def _about(node: Node) -> str:
    """Return `Title: description` of a node."""
    texts = [text for key in ("title", "description") if isinstance(text := node.meta.get(key), str) and text.strip()]
    return _cut(": ".join(texts), MAX_NOTE)
