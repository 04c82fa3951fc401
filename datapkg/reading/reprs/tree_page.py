"""The nodes below a group as HTML: a collapsible tree with sizes, and with the columns of its tables."""

from __future__ import annotations

from collections.abc import Iterator

from datapkg.format.manifest.parsed import Node, TableNode
from datapkg.format.texts import count_text, size_text, visible
from datapkg.reading.reprs import outline
from datapkg.reading.reprs.html import text
from datapkg.reading.reprs.table_page import table
from datapkg.reading.source import Source
from datapkg.reading.tables.stored_table import StoredTable

LIMITS = (50, 20, 10, 5)  # nodes shown of a group, by depth
LINES = 300  # in total
SEEN_TABLES = 3  # tables of the top group that unfold to rows; others unfold to columns
SEEN_ROWS = 8_192
COLUMNS = 30


def tree(source: Source, path: str) -> str:
    """Return all nodes below a group, up to the limits."""
    return _Tree(source).drawn(path)


class _Tree:
    """A tree that is being rendered, with the number of lines and tables that may follow."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines = LINES
        self.tables = SEEN_TABLES

    def drawn(self, path: str) -> str:
        rows = "".join(self._below(path, 0))
        return f'<div class="dp-tree">{rows}</div>' if rows else ""

    def _below(self, path: str, depth: int) -> Iterator[str]:
        names = self.source.children(path).names
        limit = min(LIMITS[depth], max(self.lines, 0))
        shown = names if len(names) <= limit else names[:limit]
        # Before the groups below are drawn, so that nodes near the top come first.
        self.lines -= len(shown)
        for name in shown:
            at = f"{path}/{name}" if path else name
            entry = self.source.entry(at)
            if entry is None or entry.kind == "group":
                yield self._group(at, name, depth)
            elif isinstance(entry, TableNode):
                yield self._table(entry, name, depth)
            else:
                yield _row("div", depth, name, entry.kind, outline.details(entry)[:-1], size_text(_size(entry)))
        if len(names) > len(shown):
            yield _row("div", depth, f"… and {len(names) - len(shown):,} more", "", [], "")

    def _group(self, path: str, name: str, depth: int) -> str:
        inside = [count_text(len(self.source.children(path).names), "node")]
        total = size_text(self.source.manifest.size(path))
        below = "".join(self._below(path, depth + 1)) if depth + 1 < len(LIMITS) else ""
        if not below:
            return _row("div", depth, name, "group", inside, total)
        return f"<details>{_row('summary', depth, name, 'group', inside, total)}{below}</details>"

    def _table(self, entry: TableNode, name: str, depth: int) -> str:
        row = _row("summary", depth, name, "table", outline.details(entry)[:-1], size_text(entry.size))
        if depth == 0 and self.tables:
            self.tables -= 1
            body = table(StoredTable(self.source, entry), SEEN_ROWS)
        else:
            body = _columns(entry)
        return f'<details>{row}<div class="dp-body">{body}</div></details>'


def _size(entry: Node) -> int:
    return sum(size_bytes for _, size_bytes in entry.objects())


def _row(tag: str, depth: int, name: str, kind: str, measures: list[str], total: str) -> str:
    mark = '<span class="dp-mark"></span>'
    cells = (text(kind), text(", ".join(measures)), text(total))
    rest = "".join(f"<span>{each}</span>" for each in cells)
    return f'<{tag} class="dp-row" style="--dp-in:{depth}"><span>{mark}{text(visible(name, 200))}</span>{rest}</{tag}>'


def _columns(entry: TableNode) -> str:
    """Return the columns of a table as the manifest has them."""
    names, types = outline.names_and_types(entry, COLUMNS)
    each = (
        f'<span>{text(name)} <span class="dp-soft">{text(kind)}</span></span>'
        for name, kind in zip(names, types, strict=True)
    )
    more = len(entry.columns) - len(names)
    rest = f'<span class="dp-soft">… and {more:,} more</span>' if more else ""
    return f'<div class="dp-columns">{"".join(each)}{rest}</div>'
