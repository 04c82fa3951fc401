"""Pieces of HTML that several pages use."""

from __future__ import annotations

from html import escape


def text(words: str) -> str:
    """Return text escaped for use between tags or in an attribute."""
    return escape(words, quote=True)


def fold(summary: str, body: str, is_open: bool = False) -> str:
    """Return a collapsible section; both arguments are HTML."""
    return f'<details class="dp-fold"{" open" if is_open else ""}><summary>{summary}</summary>{body}</details>'


def note(words: str) -> str:
    """Return a short remark."""
    return f'<div class="dp-note">{text(words)}</div>'
