"""What is shown of a node, before it is text or HTML: bounded, and made of words that are safe in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from datapkg.errors import DatapkgError
from datapkg.format.manifest import ArrayNode, FileNode, Node, TableNode
from datapkg.reading import functions
from datapkg.reading.nodes.base import Node as AnyNode
from datapkg.reading.reprs.words import count, size, visible
from datapkg.reading.source import Source

LIMITS = (30, 8, 4)  # how many nodes are shown of a group: the one asked for, those in it, those in them
CELL = 32
ROWS, COLUMNS = 5, 12


class Line(NamedTuple):
    """One line of a tree: how deep, whether it is the last of its group, the name, what it is, and its measures."""

    depth: int
    last: bool
    name: str
    kind: str
    detail: str


def title(node: AnyNode) -> list[str]:
    """What a node is, in a few words each: its reference first."""
    ref = functions.ref(node)
    exact = str(ref.at(None)) + f"@sha256:{node.__source__.hash[:12]}"
    entry = node.__source__.entry(node.__at__)
    if entry is not None and entry.kind != "group":
        return [visible(exact), entry.kind, *details(entry)]
    names = len(node.__source__.children(node.__at__).names)
    meta = functions.meta(node)
    said = [visible(meta[key], 200) for key in ("title", "licence", "license") if isinstance(meta.get(key), str)]
    return [visible(exact), *said, count(names, "node"), size(functions.size(node))]


def details(entry: Node) -> list[str]:
    """The measures of a table, file or array."""
    if isinstance(entry, TableNode):
        return [f"{count(entry.rows, 'row')} × {count(len(entry.columns), 'column')}", size(entry.size)]
    if isinstance(entry, ArrayNode):
        return [" × ".join(map(str, entry.shape)) or "one value", entry.dtype, size(entry.size)]
    return [size(entry.size)] if isinstance(entry, FileNode) else []


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
            yield Line(depth, last, visible(name), "group", count(inside, "node"))
            if depth + 1 < len(LIMITS):
                yield from tree(source, below, depth + 1)
        else:
            yield Line(depth, last, visible(name), entry.kind, ", ".join(details(entry)))
    if len(names) > len(shown):
        yield Line(depth, True, f"… and {len(names) - len(shown):,} more", "", "")


class Grid(NamedTuple):
    """The first rows of a table under the names and types of its first columns; `note` says why there are none."""

    names: list[str]
    types: list[str]
    rows: list[list[str]]
    more_columns: int
    more_rows: int
    note: str


def grid(source: Source, entry: TableNode) -> Grid:
    """The beginning of a table."""
    chosen = entry.columns[:COLUMNS]
    rows: list[list[str]] = []
    note = ""
    try:
        rows = _first_rows(source, entry)
    except DatapkgError as error:
        note = visible(error.message, 500)
    names, types = ([visible(each[at], CELL) for each in chosen] for at in (0, 1))
    return Grid(names, types, rows, len(entry.columns) - len(chosen), entry.rows - len(rows), note)


def _first_rows(source: Source, entry: TableNode) -> list[list[str]]:
    from datapkg.reading import parquet

    table = parquet.head(source, entry, ROWS)
    columns = [[_cell(value) for value in column] for column in table.columns[:COLUMNS]]
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(value: object) -> str:
    """A value of Arrow as text; what Python has no value for is shown as such."""
    try:
        found = value.as_py()  # type: ignore[attr-defined]
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        return "?"
    return "" if found is None else visible(found, CELL)
