"""What is shown of a node, before it becomes text or HTML: bounded in size, and safe to print in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from datapkg.errors import DatapkgError, ObjectNotFound
from datapkg.format.manifest.parsed import ArrayNode, FileNode, Node, TableNode
from datapkg.format.metadata import ColumnNote, column_notes, licence_files_among, licence_of, readme_among
from datapkg.format.texts import count_text, dtype_text, size_text, visible
from datapkg.reading.reprs.availability import how_to_get, is_here
from datapkg.reading.source import Source
from datapkg.reading.tables.stored_table import StoredTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.reading.protocols import NodeLike

LIMITS = (30, 8, 4)  # nodes shown of a group, by depth
CELL = 32  # characters
ROWS, COLUMNS = 5, 12
NOTES = 30  # columns with a description
DESCRIPTION, COLUMN_DESCRIPTION = 2_000, 250


class Line(NamedTuple):
    """One line of a tree: its depth, whether it is the last of its group, the name, the kind, and its measures."""

    depth: int
    last: bool
    name: str
    kind: str
    detail: str


class Heading(NamedTuple):
    """The first line of a page: name, kind, the publisher's title and licence, measures."""

    name: str
    kind: str
    facts: list[str]
    measures: list[str]


def heading(node: NodeLike) -> Heading:
    """Return the heading of a node."""
    source, path = node.__source__, node.__at__
    name, facts = visible(source.ref_of(path).at(None)), _title_and_licence(source, path)
    entry = source.entry(path)
    if entry is not None and entry.kind != "group":
        return Heading(name, entry.kind, facts, details(entry))
    measures = [count_text(len(source.children(path).names), "node"), size_text(source.manifest.size(path))]
    return Heading(name, "group" if path else "package", facts, measures)


def title(node: NodeLike) -> list[str]:
    """Return the same as parts of one line: the reference first, and the kind unless the measures show it."""
    name, kind, facts, measures = heading(node)
    shown = [] if kind in ("group", "package") else [kind]
    return [f"{name}@sha256:{node.__source__.hash[:12]}", *facts, *shown, *measures]


def _title_and_licence(source: Source, path: str) -> list[str]:
    """Return title and licence; if a package names no licence, the file that has it."""
    meta = _meta(source, path)
    title, licence = meta.get("title"), licence_of(meta)
    if not (path or licence) and (found := _files(source, path, licence_files_among(source.children(path).names))):
        licence = f"see {found[0].parts[-1]}"
    return [visible(text, 200) for text in (title, licence) if isinstance(text, str) and text]


def _meta(source: Source, path: str) -> dict[str, Any]:
    entry = source.entry(path) if path else source.manifest
    return entry.meta if entry else {}


def _files(source: Source, group: str, names: list[str]) -> list[FileNode]:
    entries = (source.entry(f"{group}/{name}" if group else name) for name in names)
    return [entry for entry in entries if isinstance(entry, FileNode)]


def description(source: Source, path: str, limit: int = DESCRIPTION) -> str:
    """Return the publisher's description of a node; "" if there is none."""
    text = _meta(source, path).get("description")
    return visible(text, limit) if isinstance(text, str) else ""


def readme(source: Source, path: str) -> FileNode | None:
    """Return the README of a group."""
    likely = [name for name in source.children(path).names if name.casefold().startswith("readme")]
    files = {file.parts[-1]: file for file in _files(source, path, likely)}
    return files.get(readme_among(files))


def details(entry: Node) -> list[str]:
    """Return the measures of a table, file or array."""
    if isinstance(entry, TableNode):
        return [f"{count_text(entry.rows, 'row')} × {count_text(len(entry.columns), 'column')}", size_text(entry.size)]
    if isinstance(entry, ArrayNode):
        return [" × ".join(map(str, entry.shape)) or "one value", dtype_text(entry.dtype), size_text(entry.size)]
    return [size_text(entry.size)] if isinstance(entry, FileNode) else []


def tree(source: Source, path: str, depth: int = 0) -> Iterator[Line]:
    """Yield the lines below a group: the first nodes of each, as many as `LIMITS` has for its depth."""
    names = source.children(path).names
    limit = LIMITS[depth]
    # One more than the limit is shown: the line `… and 1 more` would take as much space.
    shown = names if len(names) <= limit + 1 else names[:limit]
    for name in shown:
        last = name is names[-1]
        below = f"{path}/{name}" if path else name
        entry = source.entry(below)
        if entry is None or entry.kind == "group":
            inside = len(source.children(below).names)
            yield Line(depth, last, visible(name), "group", count_text(inside, "node"))
            if depth + 1 < len(LIMITS):
                yield from tree(source, below, depth + 1)
        else:
            yield Line(depth, last, visible(name), entry.kind, ", ".join(details(entry)))
    if len(names) > len(shown):
        yield Line(depth, True, f"… and {len(names) - len(shown):,} more", "", "")


class Grid(NamedTuple):
    """The first rows of a table under the names and types of its first columns, these with their units.

    `note` says why there are no rows.
    """

    names: list[str]
    types: list[str]
    rows: list[list[str]]
    more_columns: int
    more_rows: int
    note: str


def grid(table: StoredTable) -> Grid:
    """Return the beginning of a table."""
    entry = table.node
    chosen = entry.columns[:COLUMNS]
    rows: list[list[str]] = []
    note = ""
    try:
        rows = _first_rows(table, [name for name, _ in chosen])
    except DatapkgError as error:
        note = visible(error.message, 500)
    return Grid(*names_and_types(entry, COLUMNS), rows, len(entry.columns) - len(chosen), entry.rows - len(rows), note)


def names_and_types(entry: TableNode, limit: int) -> tuple[list[str], list[str]]:
    """Return the first columns of a table: their names; their types with their units."""
    notes = column_notes(entry.meta)
    chosen = entry.columns[:limit]
    types = [_type(kind, notes.get(name, ColumnNote())) for name, kind in chosen]
    return [visible(name, CELL) for name, _ in chosen], types


def _type(kind: str, note: ColumnNote) -> str:
    """Return a type with its unit: `double, cm`."""
    return ", ".join(visible(text, CELL) for text in (kind, note.unit) if text)


class Explained(NamedTuple):
    """The description of a column: name, type, unit and text."""

    name: str
    type: str
    unit: str
    description: str


def explained(entry: TableNode, limit: int = COLUMN_DESCRIPTION) -> list[Explained]:
    """Return the columns of a table that its publisher describes, in order; at most `NOTES`."""
    notes = column_notes(entry.meta)
    described = ((name, kind, notes[name]) for name, kind in entry.columns if name in notes and notes[name].description)
    return [
        Explained(visible(name, CELL), visible(kind, CELL), visible(note.unit, CELL), visible(note.description, limit))
        for name, kind, note in islice(described, NOTES)
    ]


def _first_rows(table: StoredTable, columns: list[str]) -> list[list[str]]:
    if not is_here(table.source, [table.node.blocks[0].hash]):
        raise ObjectNotFound(how_to_get(table.source))
    from datapkg.reading.reprs.sample import take_sample

    found = take_sample(table, columns, ROWS).rows
    cells = [[cell(value) or "" for value in column] for column in found.columns]
    return [list(row) for row in zip(*cells, strict=True)]


def cell(value: Any) -> str | None:
    """Return a value of Arrow as text, None for null, "?" for what Python cannot represent."""
    try:
        found = value.as_py()
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        return "?"
    return None if found is None else visible(found, CELL)
