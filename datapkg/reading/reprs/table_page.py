"""A table as HTML: its first rows below columns with types, nulls, range and distribution, and all descriptions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from datapkg.errors import DatapkgError
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.metadata import ColumnNote, column_notes
from datapkg.format.texts import count_text, visible
from datapkg.reading.reprs import outline
from datapkg.reading.reprs.availability import how_to_get, is_here
from datapkg.reading.reprs.html import fold, note, text
from datapkg.reading.tables.stored_table import StoredTable

if TYPE_CHECKING:
    from datapkg.reading.reprs.histogram import Histogram
    from datapkg.reading.reprs.sample import TableSample
    from datapkg.reading.tables.statistics import ColumnStatistics

COLUMNS = 20  # in the grid
LISTED = 100  # in the list of columns
LOOK_ROWS = 65_536
_NUMBERS = re.compile(r"u?int\d|float|double|halffloat|decimal")
_FLOATS = re.compile(r"float|double|halffloat")
_DIGITS = 10
# Footers may truncate their least and greatest; pyarrow gives those of `half` as bytes, and of `time[ns]` without ns.
_UNORDERED = re.compile(r"[a-z_]*(string|binary)|dictionary|half|time\[ns\]")
_DURATION = re.compile(r"duration\[(\w+)\]")


class _Preview(NamedTuple):
    """The sample of a table, or why there is none."""

    sample: TableSample | None
    histograms: list[Histogram | None]
    note: str


def table(stored: StoredTable, rows: int = LOOK_ROWS) -> str:
    """Return a table as a piece of HTML; the bars of its columns show at most this many rows."""
    entry, preview = stored.node, _preview(stored, rows)
    parts = [_grid(entry, preview), note(preview.note or _more(entry, preview))]
    return "".join([*parts, _listed(entry, preview)])


def _preview(table: StoredTable, rows: int) -> _Preview:
    if not is_here(table.source, [table.node.blocks[0].hash]):
        return _Preview(None, [], how_to_get(table.source))
    from datapkg.reading.reprs.histogram import histogram
    from datapkg.reading.reprs.sample import take_sample

    names = [name for name, _ in table.node.columns]
    try:
        found = take_sample(table, names[:COLUMNS], rows, explained=names[:LISTED])
    except DatapkgError as error:
        return _Preview(None, [], visible(error.message, 500))
    return _Preview(found, [histogram(column) for column in found.rows.columns], "")


def _more(entry: TableNode, preview: _Preview) -> str:
    """Return what is not shown, and which rows the bars show."""
    more = [(entry.rows - outline.ROWS, "more row"), (len(entry.columns) - COLUMNS, "more column")]
    rest = " and ".join(count_text(number, what) for number, what in more if number > 0)
    looked = len(preview.sample.rows) if preview.sample else 0
    of = "all rows" if looked == entry.rows else f"the first {count_text(looked, 'row')}"
    pictured = f"bars are of {of}" if looked and any(each and each.bars for each in preview.histograms) else ""
    return " · ".join(each for each in (f"… and {rest}" if rest else "", pictured) if each)


def _grid(entry: TableNode, preview: _Preview) -> str:
    names, types = outline.names_and_types(entry, COLUMNS)
    right = [' class="dp-num"' if _NUMBERS.match(kind) else "" for _, kind in entry.columns[:COLUMNS]]
    looked = len(preview.sample.rows) if preview.sample else 0
    heads = []
    for at, (name, kind) in enumerate(zip(names, types, strict=True)):
        found = preview.histograms[at] if preview.histograms else None
        head = f'{text(name)}<span class="dp-type">{text(kind)}</span>'
        heads.append(f"<th{right[at]}>{head}{_bars(found, looked)}{_span(entry, at, preview)}</th>")
    rows = []
    for row in _first_rows(preview):
        cells = (_cell(value, cls) for value, cls in zip(row, right, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    grid = f'<table class="dp-grid"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="dp-wide">{grid}</div>'


def _first_rows(preview: _Preview) -> list[tuple[str | None, ...]]:
    if preview.sample is None:
        return []
    shown = preview.sample.rows.slice(0, outline.ROWS)
    return list(zip(*([_value(value) for value in column] for column in shown.columns), strict=True))


def _value(value: Any) -> str | None:
    """Return a value as text; long floats with six digits, as data frames show them."""
    cell = outline.cell(value)
    return f"{value.as_py():.6g}" if cell and len(cell) > _DIGITS and _FLOATS.match(str(value.type)) else cell


def _cell(value: str | None, cls: str) -> str:
    return f"<td{cls}>{text(value)}</td>" if value is not None else f'<td{cls}><span class="dp-null">null</span></td>'


def _bars(found: Histogram | None, rows: int) -> str:
    """Return a histogram; each bar shows its range in a tooltip."""
    if found is None:
        return ""
    if not found.bars:
        return (
            f'<span class="dp-type">{count_text(found.distinct, "different value")} in {count_text(rows, "row")}</span>'
        )
    step, top = 100 / len(found.bars), max(number for number, _ in found.bars) or 1
    made = []
    for at, (number, label) in enumerate(found.bars):
        height = max(round(24 * number / top, 2), 0.8 if number else 0)
        made.append(
            f'<rect x="{at * step:.2f}" y="{26 - height:.2f}" width="{step * 0.86:.2f}" height="{height:.2f}">'
            f"<title>{text(label)}: {number:,}</title></rect>"
        )
    return (
        f'<svg class="dp-bars" viewBox="0 0 100 26" preserveAspectRatio="none" role="img" '
        f'aria-label="histogram">{"".join(made)}</svg>'
    )


def _span(entry: TableNode, at: int, preview: _Preview) -> str:
    """Return least and greatest, and the number of nulls, if the footers have them exactly."""
    found = preview.sample.statistics.get(entry.columns[at][0]) if preview.sample else None
    if found is None:
        return ""
    least, greatest = _ends(found, entry.columns[at][1])
    ends = f"<span>{text(least)}</span><span>{text(greatest)}</span>" if least else ""
    spread = preview.histograms[at] if preview.histograms else None
    if not ends and spread and spread.bars:
        ends = f"<span>{text(count_text(len(spread.bars), 'value'))}</span>"
    nulls = _nulls(found, entry.rows)
    return f'<span class="dp-span">{ends or "&nbsp;"}</span><span class="dp-type">{nulls}</span>'


def _ends(found: ColumnStatistics, kind: str) -> tuple[str, str]:
    if found.least is None or _UNORDERED.match(kind):
        return "", ""
    duration = _DURATION.fullmatch(kind)
    unit = f" {duration[1]}" if duration else ""  # pyarrow gives the number alone
    return visible(f"{_short(found.least)}{unit}", 24), visible(f"{_short(found.greatest)}{unit}", 24)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _nulls(found: ColumnStatistics, rows: int) -> str:
    if found.nulls is None:
        return ""
    share = f" ({found.nulls / rows:.0%})" if found.nulls and rows else ""
    return f"{count_text(found.nulls, 'null')}{share}" if found.nulls else "no nulls"


def _listed(entry: TableNode, preview: _Preview) -> str:
    """Return a collapsed list of columns: those that are described, or all if the grid does not have all."""
    notes = column_notes(entry.meta)
    is_more = len(entry.columns) > COLUMNS
    described = [at for at, (name, _) in enumerate(entry.columns) if name in notes and notes[name].description]
    chosen = list(range(min(LISTED, len(entry.columns)))) if is_more else described[: outline.NOTES]
    if not chosen:
        return ""
    rows = "".join(_line(entry, at, notes, preview) for at in chosen)
    titles = ("column", "type", "unit", "nulls", "least", "greatest", "description")
    head = "".join(f"<th{_right(each)}>{each}</th>" for each in titles)
    words = f"{count_text(len(described), 'column')} described" if described else ""
    if is_more:
        listed = f"{'the first ' if len(entry.columns) > LISTED else 'all '}{count_text(len(chosen), 'column')}"
        words = f"{listed}{f', {words}' if words else ''}"
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return fold(text(words), f'<div class="dp-wide">{body}</div>')


def _right(title: str) -> str:
    return ' class="dp-right"' if title in ("nulls", "least", "greatest") else ""


def _line(entry: TableNode, at: int, notes: dict[str, ColumnNote], preview: _Preview) -> str:
    name, kind = entry.columns[at]
    column = notes.get(name, ColumnNote())
    found = preview.sample.statistics.get(name) if preview.sample else None
    nulls = "" if found is None or found.nulls is None else f"{found.nulls:,}"
    least, greatest = _ends(found, kind) if found else ("", "")
    words = [visible(each, outline.CELL) for each in (name, kind, column.unit)]
    cells = "".join(f"<td>{text(each)}</td>" for each in words)
    numbers = "".join(f'<td class="dp-right">{text(each)}</td>' for each in (nulls, least, greatest))
    return f"<tr>{cells}{numbers}<td>{text(visible(column.description, outline.COLUMN_DESCRIPTION))}</td></tr>"
