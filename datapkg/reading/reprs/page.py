"""Nodes as HTML for a notebook; all foreign text is escaped, and there are no scripts."""

from __future__ import annotations

from datapkg.format.manifest.parsed import ArrayNode, FileNode, TableNode
from datapkg.format.texts import visible
from datapkg.reading.reprs import outline
from datapkg.reading.reprs.file_page import array, file, readme
from datapkg.reading.reprs.html import fold, text
from datapkg.reading.reprs.style import SHEET
from datapkg.reading.reprs.table_page import table
from datapkg.reading.reprs.tree_page import tree
from datapkg.reading.source import Source
from datapkg.reading.tables.stored_table import StoredTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.reading.protocols import NodeLike


def describe(node: NodeLike) -> str:
    """Return a node as a piece of HTML; one line with the error if it is corrupt or missing."""
    try:
        parts = [_head(node), _reference(node), *_body(node.__source__, node.__at__)]
        return f'<div class="datapkg">{SHEET}{"".join(parts)}</div>'
    except Exception as error:  # noqa: BLE001 - showing an object never fails, whatever it is made of
        return f'<div class="datapkg">{text(type(node).__name__)}: {text(visible(error, 500))}</div>'


def _head(node: NodeLike) -> str:
    name, kind, facts, measures = outline.heading(node)
    spans = "".join(f"<span>{text(each)}</span>" for each in [*facts, *measures])
    return (
        f'<div class="dp-head"><span class="dp-name">{text(name)}</span>'
        f'<span class="dp-kind">{text(kind)}</span>{spans}</div>'
    )


def _reference(node: NodeLike) -> str:
    """Return the exact reference; a click selects all of it."""
    reference = text(visible(node.__source__.ref_of(node.__at__)))
    return f'<div class="dp-ref" title="the exact reference, to be written down">{reference}</div>'


def _body(source: Source, path: str) -> list[str]:
    entry = source.entry(path)
    description = outline.description(source, path)
    parts = [f"<p>{text(description)}</p>" if description else ""]
    if isinstance(entry, TableNode):
        return [*parts, table(StoredTable(source, entry))]
    if isinstance(entry, ArrayNode):
        return [*parts, array(source, entry)]
    if isinstance(entry, FileNode):
        return [*parts, file(source, entry)]
    if (found := outline.readme(source, path)) is not None:
        parts.append(fold(text(visible(found.parts[-1])), readme(source, found), is_open=True))
    return [*parts, tree(source, path)]
