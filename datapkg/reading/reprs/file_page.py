"""Files and arrays as HTML: a rendered README, the beginning of a text, the first numbers."""

from __future__ import annotations

import math

from datapkg.errors import DatapkgError
from datapkg.format.manifest.parsed import ArrayNode, FileNode
from datapkg.format.texts import count_text, visible, visible_lines
from datapkg.reading.reprs.availability import how_to_get, is_here
from datapkg.reading.reprs.html import note, text
from datapkg.reading.reprs.markdown import to_html
from datapkg.reading.source import Source

README_BYTES = 65_536
TEXT_BYTES, TEXT_LINES, LINE = 8_192, 20, 160
ARRAY_BYTES = 65_536
ARRAY_ROWS, ARRAY_COLUMNS = 6, 10
_CELL = 24
_MARKDOWN = (".md", ".markdown")


def readme(source: Source, entry: FileNode) -> str:
    """Return a README: rendered if its name is that of Markdown, else as plain text."""
    if not is_here(source, [entry.hash]):
        return note(how_to_get(source))
    try:
        shown = visible_lines(_beginning(source, entry, README_BYTES).decode("utf-8", "replace").expandtabs(4))
    except DatapkgError as error:
        return note(visible(error.message, 500))
    body = to_html(shown) if _is_markdown(entry) else f"<pre>{text(shown)}</pre>"
    cut = note(f"… the first {README_BYTES:,} bytes") if entry.size > README_BYTES else ""
    return f'<div class="dp-read">{body}{cut}</div>'


def file(source: Source, entry: FileNode) -> str:
    """Return the original name of a file, and its beginning if it is text."""
    called = entry.file_name if entry.file_name and entry.file_name != entry.parts[-1] else ""
    parts = [note(f"original name: {visible(called)}")] if called else []
    if _is_markdown(entry):
        return "".join([*parts, readme(source, entry)])
    if not is_here(source, [entry.hash]):
        return "".join([*parts, note(how_to_get(source))])
    try:
        return "".join([*parts, _text(_beginning(source, entry, TEXT_BYTES), entry.size)])
    except DatapkgError as error:
        return "".join([*parts, note(visible(error.message, 500))])


def _is_markdown(entry: FileNode) -> bool:
    return (entry.file_name or entry.parts[-1]).casefold().endswith(_MARKDOWN)


def _beginning(source: Source, entry: FileNode, limit: int) -> bytes:
    with source.open(entry.path, entry.hash) as stream:
        return stream.read(limit)


def _text(data: bytes, size: int) -> str:
    """Return the first lines of a text; "" for a binary file."""
    is_cut = size > len(data)
    try:
        # Cut after a line: a character of several bytes that is cut would make the text a binary file.
        words = (data.rsplit(b"\n", 1)[0] if is_cut and b"\n" in data else data).decode()
    except UnicodeDecodeError:
        return ""
    if not words or "\0" in words:
        return ""
    lines = words.splitlines()
    shown = "\n".join(visible(line.replace("\t", "    "), LINE) for line in lines[:TEXT_LINES])
    more = note("… and more") if is_cut or len(lines) > TEXT_LINES else ""
    return f"<pre>{text(shown)}</pre>{more}"


def array(source: Source, entry: ArrayNode) -> str:
    """Return the corner of an array at the beginning of its object."""
    if not is_here(source, [entry.hash]):
        return note(how_to_get(source))
    from datapkg.reading.reprs.array_preview import array_preview

    try:
        found = array_preview(source, entry, (ARRAY_ROWS, ARRAY_COLUMNS), ARRAY_BYTES)
    except DatapkgError as error:
        return note(visible(error.message, 500))
    if found is None:
        return ""
    rows = "".join(f"<tr>{''.join(map(_number, row))}</tr>" for row in found.tolist())
    left_out = _left_out(entry, found.size)
    grid = f'<table class="dp-grid"><tbody>{rows}</tbody></table>'
    return f'<div class="dp-wide">{grid}</div>{note(left_out) if left_out else ""}'


def _left_out(entry: ArrayNode, shown: int) -> str:
    total = math.prod(entry.shape)
    return f"… and {count_text(total - shown, 'more value')}" if total > shown else ""


def _number(value: object) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else value
    return f'<td class="dp-num">{text(visible(shown, _CELL))}</td>'
