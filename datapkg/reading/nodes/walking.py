"""Walk through all nodes below a group, and find nodes there by a pattern, by metadata or by a test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any
from unicodedata import normalize

from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import Node as Entry
from datapkg.format.texts import quoted
from datapkg.reading.nodes.base import CLASSES, Node
from datapkg.reading.source import Source

MAX_PATTERN = 4096
Test = Callable[[Node], object]


def lines(source: Source, group: str) -> Iterator[tuple[str, Entry | None]]:
    """Yield (path within the group, manifest entry) of all nodes below a group; None for a group without an entry."""
    skip = len(group) + 1 if group else 0
    parent = ""
    for entry in source.manifest.entries(group):
        path = entry.path[skip:]
        if not path:
            continue
        above = path.rpartition("/")[0]
        if above != parent:
            yield from ((new, None) for new in _entered(parent, above))
        yield path, entry
        parent = path if entry.kind == "group" else above


def _entered(before: str, now: str) -> list[str]:
    """Return the groups that are entered when going from one group to another."""
    if not now or f"{before}/".startswith(f"{now}/"):
        return []
    ends = [at for at, char in enumerate(now) if char == "/"] + [len(now)]
    return [now[:end] for end in ends if not f"{before}/".startswith(f"{now[:end]}/")]


def walk(source: Source, group: str) -> Iterator[tuple[str, Node]]:
    """Return (path within the group, node) of all nodes below a group, each group before its children."""
    return ((path, _node(source, group, path, entry)) for path, entry in lines(source, group))


def find(source: Source, group: str, pattern: str) -> Iterator[tuple[str, Node]]:
    """Return the same for nodes whose path matches a pattern.

    `*` and `?` match within a name, `**` any number of names.
    """
    fits = compiled(pattern).match
    fixed = _fixed(normalize("NFC", pattern))
    if fixed and source.manifest.kind(_below(group, fixed)) != "group":
        return iter(())
    below = ((_below(fixed, path), entry) for path, entry in lines(source, _below(group, fixed)))
    return ((path, _node(source, group, path, entry)) for path, entry in below if fits(path))


def select(source: Source, group: str, test: Test | None, meta: Mapping[str, Any] | None) -> Iterator[tuple[str, Node]]:
    """Yield the same for nodes whose metadata contain all of `meta`, at any depth, and that pass the test."""
    for path, entry in lines(source, group):
        if meta is None or _holds(entry.meta if entry else {}, meta):
            node = _node(source, group, path, entry)
            if test is None or test(node):
                yield path, node


def _node(source: Source, group: str, path: str, entry: Entry | None) -> Node:
    """Return the node of an entry, which it keeps: looking up each entry again costs more than the walk."""
    node = CLASSES[entry.kind if entry else "group"](source, _below(group, path))
    if entry and entry.kind != "group":
        vars(node)["__line__"] = entry
    return node


def _below(group: str, path: str) -> str:
    return f"{group}/{path}" if group and path else group or path


def _holds(found: object, wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(key in found and _holds(found[key], wanted[key]) for key in wanted)
    # In Python 1 == True, but not in JSON.
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of paths as a regular expression; raise `InvalidInput` for what is not a pattern."""
    if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN:
        what = f"text of 1 to {MAX_PATTERN:,} characters, such as **/*.jpg"
        raise InvalidInput(f"a pattern is {what}; got {quoted(pattern)}")
    parts = normalize("NFC", pattern).split("/")
    if "" in parts or "." in parts or ".." in parts:
        raise InvalidInput(
            f"pattern {quoted(pattern)} is not allowed: it is names with / between them, such as a/*.jpg"
        )
    # `**/**` means the same as `**`, but the time to match would grow with each.
    parts = [part for part, after in pairwise([*parts, ""]) if not part == after == "**"]
    steps = ["(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in parts[:-1]]
    steps.append(".+" if parts[-1] == "**" else _part(parts[-1]))
    try:
        return re.compile("".join(steps) + r"\Z", re.DOTALL)
    except re.error as error:
        raise InvalidInput(f"pattern {quoted(pattern)} is not allowed: {error}") from error


_WORDS = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def _part(part: str) -> str:
    return "".join(_word(word) for word in _WORDS.findall(part))


def _word(word: str) -> str:
    if word[0] == "*":
        return "[^/]*"
    if word == "?":
        return "[^/]"
    if len(word) == 1:
        return re.escape(word)
    negated = word[1] == "!"
    # Doubled, some of these are reserved for operators on sets (Python warns of them).
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", word[1 + negated : -1])
    return f"[^/{inside}]" if negated else f"[{inside}]"


def _fixed(pattern: str) -> str:
    """Return the names that a pattern begins with, so that only the nodes below them are searched."""
    fixed: list[str] = []
    for part in pattern.split("/")[:-1]:
        if set(part) & set("*?["):
            break
        fixed.append(part)
    return "/".join(fixed)
