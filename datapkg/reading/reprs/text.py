"""Nodes as text, for a terminal."""

from __future__ import annotations

from datapkg.format.manifest.parsed import TableNode
from datapkg.format.texts import count_text, padded, visible, width_of
from datapkg.reading.reprs import outline
from datapkg.reading.tables.stored_table import StoredTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.reading.protocols import NodeLike

WIDTH = 100


def describe(node: NodeLike) -> str:
    """Return a node in a few lines of text; one line with the error if it is corrupt or missing."""
    try:
        lines = [" · ".join(outline.title(node))]
        entry = node.__source__.entry(node.__at__)
        if isinstance(entry, TableNode):
            description = outline.description(node.__source__, node.__at__, WIDTH)
            lines += [f"  {description}"] if description else []
            lines += _grid(outline.grid(StoredTable(node.__source__, entry)))
            lines += _explained(outline.explained(entry, WIDTH))
        elif entry is None or entry.kind == "group":
            lines += _tree(list(outline.tree(node.__source__, node.__at__)))
        return "\n".join(lines)
    except Exception as error:  # noqa: BLE001 - showing an object never fails, whatever it is made of
        return f"<{type(node).__name__}: {visible(error, 500)}>"


def _tree(lines: list[outline.Line]) -> list[str]:
    rows = []
    branches: list[str] = []
    for line in lines:
        branches = [*branches[: line.depth], "   " if line.last else "│  "]
        fork = "└─ " if line.last else "├─ "
        rows.append(("".join(branches[:-1]) + fork + line.name, line.kind, line.detail))
    left, middle = (max((width_of(row[at]) for row in rows if row[1]), default=0) for at in (0, 1))
    left = min(left, WIDTH // 2)
    return [f"{padded(name, left)}  {padded(kind, middle)}  {detail}".rstrip() for name, kind, detail in rows]


def _grid(grid: outline.Grid) -> list[str]:
    rows = [grid.names, grid.types, *grid.rows]
    widths = [max(width_of(row[at]) for row in rows) for at in range(len(grid.names))]
    fitting = next((n for n in range(len(widths), 1, -1) if sum(widths[:n]) + 2 * n <= WIDTH), 1)
    lines = [
        "  " + "  ".join(padded(cell, to) for cell, to in zip(row[:fitting], widths, strict=False)).rstrip()
        for row in rows
    ]
    more_columns = grid.more_columns + len(widths) - fitting if widths else 0
    more = [
        count_text(number, what)
        for number, what in ((grid.more_rows, "more row"), (more_columns, "more column"))
        if number
    ]
    if grid.note:
        return [*lines, f"  ({grid.note})"]
    return [*lines, f"  … and {' and '.join(more)}"] if more else lines


def _explained(columns: list[outline.Explained]) -> list[str]:
    """Return the descriptions of columns, a line each, after a blank line."""
    chosen = columns[: outline.COLUMNS]
    left = max((width_of(each.name) for each in chosen), default=0)
    lines = [f"  {padded(each.name, left)}  {each.description}" for each in chosen]
    more = len(columns) - len(chosen)
    return ["", *lines, *([f"  … and {count_text(more, 'more description')}"] if more else [])] if lines else []
