"""Text for `print`, on terminals that cannot show every character."""

from __future__ import annotations

import sys

_PLAIN = str.maketrans({"│": "|", "├": "|", "└": "`", "─": "-", "…": "...", "×": "x", "·": "-"})


def printable(text: str) -> str:
    """Return the text as standard output can write it: its lines and dots in ASCII, other characters as escapes.

    The encoding of a terminal may lack characters (cp1252 on Windows, ASCII in the C locale), and `print` would fail.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # a custom stream, with an encoding unknown to Python
        return text
    return text
