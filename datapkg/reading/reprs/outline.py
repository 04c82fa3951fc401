"""What is shown of a node, before it is text or HTML: bounded, and made of words that are safe in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from datapkg.errors import DatapkgError, ObjectNotFound
from datapkg.format.manifest.parsed import ArrayNode, FileNode, Node, TableNode
from datapkg.format.metadata import ColumnNote, column_notes, licence_files_among, licence_of, readme_among
from datapkg.format.texts import count_text, size_text, visible
from datapkg.reading.reprs.availability import how_to_get, is_here
from datapkg.reading.source import Source
from datapkg.reading.tables.stored_table import StoredTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.reading.protocols import NodeLike

LIMITS = (30, 8, 4)  # how many nodes are shown of a group: the one asked for, those in it, those in them
CELL = 32  # characters
ROWS, COLUMNS = 5, 12
NOTES = 30  # how many columns are explained
DESCRIPTION, COLUMN_DESCRIPTION = 2_000, 250


class Line(NamedTuple):
    """One line of a tree: how deep, whether it is the last of its group, the name, what it is, and its measures."""

    depth: int
    last: bool
    name: str
    kind: str
    detail: str


class Heading(NamedTuple):
    """What stands above everything else: name, kind, what the publisher calls it and under which licence, measures."""

    name: str
    kind: str
    said: list[str]
    measures: list[str]


def heading(node: NodeLike) -> Heading:
    """What a node is, in a few words each."""
    source, path = node.__source__, node.__at__
    name, said = visible(source.ref_of(path).at(None)), _said(source, path)
    entry = source.entry(path)
    if entry is not None and entry.kind != "group":
        return Heading(name, entry.kind, said, details(entry))
    measures = [count_text(len(source.children(path).names), "node"), size_text(source.manifest.size(path))]
    return Heading(name, "group" if path else "package", said, measures)


def title(node: NodeLike) -> list[str]:
    """The same as a line: the reference first, and the kind where the measures do not tell it."""
    name, kind, said, measures = heading(node)
    shown = [] if kind in ("group", "package") else [kind]
    return [f"{name}@sha256:{node.__source__.hash[:12]}", *said, *shown, *measures]


def _said(source: Source, path: str) -> list[str]:
    """Title and licence; where no licence of a package is named, the file in which it lies."""
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
    """What the publisher says of a node; "" if nothing."""
    text = _meta(source, path).get("description")
    return visible(text, limit) if isinstance(text, str) else ""


def readme(source: Source, path: str) -> FileNode | None:
    """The README of a group."""
    likely = [name for name in source.children(path).names if name.casefold().startswith("readme")]
    files = {file.parts[-1]: file for file in _files(source, path, likely)}
    return files.get(readme_among(files))


def details(entry: Node) -> list[str]:
    """The measures of a table, file or array."""
    if isinstance(entry, TableNode):
        return [f"{count_text(entry.rows, 'row')} × {count_text(len(entry.columns), 'column')}", size_text(entry.size)]
    if isinstance(entry, ArrayNode):
        return [" × ".join(map(str, entry.shape)) or "one value", entry.dtype, size_text(entry.size)]
    return [size_text(entry.size)] if isinstance(entry, FileNode) else []


def tree(source: Source, path: str, depth: int = 0) -> Iterator[Line]:
    """The lines below a group: the first nodes of each, as many as `LIMITS` has for its depth."""
    names = source.children(path).names
    limit = LIMITS[depth]
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
    """The beginning of a table."""
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
    """The first columns of a table: their names; their types with their units."""
    notes = column_notes(entry.meta)
    chosen = entry.columns[:limit]
    types = [_type(kind, notes.get(name, ColumnNote())) for name, kind in chosen]
    return [visible(name, CELL) for name, _ in chosen], types


def _type(kind: str, note: ColumnNote) -> str:
    """`double, cm`."""
    return ", ".join(visible(text, CELL) for text in (kind, note.unit) if text)


class Explained(NamedTuple):
    """A column in words: name, type, unit and what it holds."""

    name: str
    type: str
    unit: str
    description: str


def explained(entry: TableNode, limit: int = COLUMN_DESCRIPTION) -> list[Explained]:
    """The columns of a table that its publisher describes, in order; at most `NOTES`."""
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
    """A value of Arrow as text, None for null; what Python has no value for is shown as such."""
    try:
        found = value.as_py()
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        return "?"
    return None if found is None else visible(found, CELL)
