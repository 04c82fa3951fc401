"""Write values as YAML text that `document` reads back as equal values."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_WORDS = frozenset("y n yes no on off true false null none".split())


def yaml_text(text: str) -> str:
    """Return a text as YAML, quoted only where YAML would read it as something else."""
    return text if _PLAIN.match(text) and text.lower() not in _WORDS else yaml_quoted(text)


def yaml_quoted(text: str) -> str:
    """Return a text in YAML's double quotes, whose escapes are those of JSON."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)


def flow(value: Any) -> str:
    """Return a JSON value (keys may be integers) as YAML in braces and brackets, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return yaml_text(value)
    if isinstance(value, float):
        mantissa, mark, exponent = repr(value).partition("e")
        # YAML 1.1 reads a number with an exponent as text if it has no point.
        return mantissa + ("" if "." in mantissa or not mark else ".0") + mark + exponent
    return json.dumps(value)


def _key(key: Any) -> str:
    return yaml_text(key) if isinstance(key, str) else json.dumps(key)
