"""The exception with which a faster engine passes a file on to a slower one."""

from __future__ import annotations


class UnsupportedByEngine(Exception):
    """The file contains something that this engine may not read exactly as pandas does; the message names it."""
