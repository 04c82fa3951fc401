"""A small part of Markdown as HTML: every character of the text is escaped, and only tags of ours are set around it.

What is not known here stays the text that it is, as HTML and addresses of other schemes. Of images and of relative
links, which lead nowhere in a notebook, the words are shown, and nothing is loaded. Each pattern ends at what it begins
with, so that no text makes it slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*)\Z")
_RULE = re.compile(r" {0,3}([-*_])(?:\s*\1){2,}\s*\Z")
_ITEM = re.compile(r"(\s{0,20})(?:[-*+]|\d{1,9}[.)])\s+(.*)\Z")
_NUMBERED = re.compile(r"\s*\d")
_QUOTE = re.compile(r" {0,3}> ?(.*)\Z")
_DASHES = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*\Z")
_UNDERLINE = re.compile(r" {0,3}(=+|--+)\s*\Z")
_MAX_CELLS = 50
_MAX_INLINE = 20_000
_DEEPEST = 4

# The first that fits counts: an escaped character begins nothing, and in code nothing else is marked up.
_INLINE = re.compile(
    r"\\(?P<escaped>[\\`*_{}\[\]()#+\-.!<>|~])"
    r"|`(?P<code>[^`\n]{1,500})`"
    r"|!\[(?P<image>[^\[\]]{0,300})\]\([^()\n]{0,1000}\)"
    r"|\[(?P<words>[^\[\]]{1,300})\]\((?P<target>https?://[^\s()<>\"']{1,1000})\)"
    r"|\[(?P<relative>[^\[\]]{1,300})\]\((?!//|[A-Za-z][A-Za-z0-9+.-]*:)[^\s()<>\"']{1,1000}\)"
    r"|<(?P<auto>https?://[^\s()<>\"']{1,1000})>"
    r"|(?P<bare>https?://[^\s()<>\"'`*\[\]]{1,1000}[^\s()<>\"'`*\[\].,;:!?])"
    r"|\*\*(?P<strong>[^\s*][^*]{0,500})\*\*"
    r"|\*(?P<soft>[^\s*][^*]{0,500})\*"
    r"|(?<!\w)_(?P<under>[^\s_][^_]{0,500})_(?!\w)"
)


def to_html(text: str) -> str:
    """Return a text, whose characters are all visible ones, as a piece of a page."""
    return "".join(_blocks(text.split("\n")))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif fence := _FENCE.match(line):
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip().startswith(fence[1])), len(lines))
            yield f"<pre>{_escaped(chr(10).join(lines[at + 1 : end]))}</pre>"
            at = end + 1
        elif heading := _HEADING.match(line):
            yield _heading(heading[2].rstrip().rstrip("#").rstrip(), len(heading[1]))
            at += 1
        elif _RULE.match(line):
            yield "<hr>"
            at += 1
        else:
            made, at = _several(lines, at)
            yield made


def _several(lines: list[str], at: int) -> tuple[str, int]:
    """Return the block of several lines that begins here, and where the next begins."""
    line = lines[at]
    # Cut, since many blanks take this pattern quadratic time.
    if "|" in line and at + 1 < len(lines) and "-" in lines[at + 1] and _DASHES.match(lines[at + 1][:2_000]):
        end = _end(lines, at + 2, lambda each: "|" in each)
        return _table(lines[at], lines[at + 2 : end]), end
    if _ITEM.match(line):
        end = _end(lines, at + 1, lambda each: bool(_ITEM.match(each)) or each.startswith((" ", "\t")))
        return _list(lines[at:end]), end
    if _QUOTE.match(line):
        end = _end(lines, at + 1, lambda each: bool(_QUOTE.match(each)))
        words = " ".join(match[1] if (match := _QUOTE.match(each)) else each for each in lines[at:end])
        return f"<blockquote>{_inline(words)}</blockquote>", end
    if at + 1 < len(lines) and (under := _UNDERLINE.match(lines[at + 1])):
        return _heading(line.strip(), 1 if under[1][0] == "=" else 2), at + 2
    end = _end(lines, at + 1, lambda each: not _begins_a_block(each))
    return f"<p>{_inline(chr(10).join(lines[at:end]))}</p>", end


def _end(lines: list[str], start: int, goes_on: Callable[[str], bool]) -> int:
    """Return the first line from `start` on that is empty, or for which `goes_on` is false."""
    for at in range(start, len(lines)):
        if not lines[at].strip() or not goes_on(lines[at]):
            return at
    return len(lines)


def _begins_a_block(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_FENCE, _HEADING, _RULE, _ITEM, _QUOTE))


def _heading(text: str, level: int) -> str:
    """Return a heading, never as <h1>: a notebook's outline and numbering belong to its author, not to a package."""
    return f'<div class="dp-h{min(level, 4)}">{_inline(text)}</div>'


def _table(head: str, rows: list[str]) -> str:
    names = _cells(head)
    top = "".join(f"<th>{_inline(cell)}</th>" for cell in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(c)}</td>" for c in _cells(row)[: len(names)]) + "</tr>" for row in rows
    )
    return f'<div class="dp-wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")][:_MAX_CELLS]


def _list(lines: list[str]) -> str:
    """Return items as a list, indented as they are in the text; an item may have several lines."""
    items: list[tuple[int, str, bool]] = []
    for line in lines:
        if match := _ITEM.match(line):
            items.append((len(match[1]) // 2, match[2], bool(_NUMBERED.match(line))))
        elif items:
            depth, text, is_numbered = items[-1]
            items[-1] = (depth, f"{text}\n{line.strip()}", is_numbered)
    tag = "ol" if items[0][2] else "ul"
    made = "".join(f'<li class="dp-in{min(depth, 3)}">{_inline(text)}</li>' for depth, text, _ in items)
    return f"<{tag}>{made}</{tag}>"


def _inline(text: str, depth: int = 0, in_link: bool = False) -> str:
    if depth > _DEEPEST or len(text) > _MAX_INLINE:
        return _escaped(text)
    made, done = [], 0
    for match in _INLINE.finditer(text):
        made += [_escaped(text[done : match.start()]), _marked(match, depth + 1, in_link)]
        done = match.end()
    return "".join([*made, _escaped(text[done:])])


def _marked(match: re.Match[str], depth: int, in_link: bool) -> str:
    kind, content = match.lastgroup or "", match[match.lastgroup or 0]
    if kind == "code":
        return f"<code>{_escaped(content)}</code>"
    if kind == "image":
        return f'<span class="dp-soft">{_escaped(content or "image")}</span>'
    if kind == "target":
        words = _inline(match["words"], depth, in_link=True)
        return words if in_link else _link(content, words)
    if kind == "relative":
        return _inline(content, depth, in_link)
    if kind in ("auto", "bare"):
        return _escaped(content) if in_link else _link(content, _escaped(content))
    if kind in ("strong", "soft", "under"):
        tag = "strong" if kind == "strong" else "em"
        return f"<{tag}>{_inline(content, depth, in_link)}</{tag}>"
    return _escaped(content)


def _link(address: str, words: str) -> str:
    return f'<a href="{_escaped(address)}" target="_blank" rel="noopener noreferrer nofollow">{words}</a>'


def _escaped(text: str) -> str:
    return escape(text, quote=True)
