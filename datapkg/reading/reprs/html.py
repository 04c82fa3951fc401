"""Pieces of HTML that several pages are made of."""

from __future__ import annotations

from html import escape


def text(words: str) -> str:
    """Words that are safe to see, as text between tags or in an attribute."""
    return escape(words, quote=True)


def fold(summary: str, body: str, is_open: bool = False) -> str:
    """What can be folded away; both are HTML."""
    return f'<details class="dp-fold"{" open" if is_open else ""}><summary>{summary}</summary>{body}</details>'


def note(words: str) -> str:
    """A line beside the matter."""
    return f'<div class="dp-note">{text(words)}</div>'
