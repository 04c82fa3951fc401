"""How a faster engine says that a slower one must read the file."""

from __future__ import annotations


class UnsupportedByEngine(Exception):
    """The file has something that this engine does not provably read as pandas does; the message says what."""
