"""Nodes as HTML, for a notebook; every character that is not ours is escaped, and there is no script in it."""

from __future__ import annotations

from html import escape

from datapkg.errors import DatapkgError
from datapkg.format.manifest import TableNode
from datapkg.reading.nodes.base import Node
from datapkg.reading.reprs import outline
from datapkg.reading.reprs.words import count, visible, visible_lines
from datapkg.reading.source import Source

README_BYTES = 65_536
LEFT = ' style="text-align:left"'


def describe(node: Node) -> str:
    """A node as a piece of a page; one that is damaged or absent as a line that says so."""
    try:
        source, path = node.__source__, node.__at__
        first, *rest = map(_text, outline.title(node))
        parts = [f"<p><strong>{first}</strong>{''.join(f' · {each}' for each in rest)}</p>"]
        entry = source.entry(path)
        parts.append(_description(source, path))
        if isinstance(entry, TableNode):
            parts.append(_grid(outline.grid(source, entry)))
            parts.append(_explained(outline.explained(entry)))
        elif entry is None or entry.kind == "group":
            parts.append(_readme(source, path))
            parts.append(_tree(source, path))
        return f'<div class="datapkg">{"".join(parts)}</div>'
    except Exception as error:  # noqa: BLE001 - showing an object never fails, whatever it is made of
        return f'<div class="datapkg">{escape(type(node).__name__)}: {_text(visible(error, 500))}</div>'


def _text(words: str) -> str:
    return escape(words, quote=True)


def _description(source: Source, path: str) -> str:
    description = outline.description(source, path)
    return f"<p>{_text(description)}</p>" if description else ""


def _readme(source: Source, path: str) -> str:
    """The README of a group as the text that it is."""
    entry = outline.readme(source, path)
    if entry is None:
        return ""
    try:
        with source.open(entry.path, entry.hash) as stream:
            text = visible_lines(stream.read(README_BYTES).decode("utf-8", "replace"), README_BYTES)
    except DatapkgError as error:
        text = visible(error.message, 500)
    name = _text(visible(entry.parts[-1]))
    return f"<details open><summary>{name}</summary><pre>{_text(text)}</pre></details>"


def _tree(source: Source, path: str) -> str:
    rows = []
    for line in outline.tree(source, path):
        below = _text(line.name)
        rows.append(
            f'<tr><td style="text-align:left;padding-left:{line.depth * 1.5 + 0.5}em">{below}</td>'
            f"<td{LEFT}>{_text(line.kind)}</td><td{LEFT}>{_text(line.detail)}</td></tr>"
        )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _grid(grid: outline.Grid) -> str:
    head = "".join(f"<th{LEFT}>{_text(name)}<br><small>{_text(kind)}</small></th>" for name, kind in _columns(grid))
    rows = "".join("<tr>" + "".join(f"<td{LEFT}>{_text(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    more = [(grid.more_rows, "more row"), (grid.more_columns, "more column")]
    rest = " and ".join(count(number, what) for number, what in more if number)
    note = f"<p>{_text(grid.note)}</p>" if grid.note else f"<p>… and {rest}</p>" if rest else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _columns(grid: outline.Grid) -> list[tuple[str, str]]:
    return list(zip(grid.names, grid.types, strict=True))


def _explained(columns: list[outline.Explained]) -> str:
    """What the columns hold, folded away."""
    if not columns:
        return ""
    rows = "".join("<tr>" + "".join(f"<td{LEFT}>{_text(cell)}</td>" for cell in each) + "</tr>" for each in columns)
    summary = f"{count(len(columns), 'column')} described"
    return f"<details><summary>{summary}</summary><table><tbody>{rows}</tbody></table></details>"
