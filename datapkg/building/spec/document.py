"""Read YAML as a tree that keeps line numbers and the text as written; without tags or code, and with limits on size.

PyYAML's safe loader silently keeps the last of two equal keys, reads `1.10` as 1.1 and `no` as False, and discards line
numbers. So the tree is composed from its events here, and each part of a build file is converted by its own rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from datapkg.errors import InvalidBuildFile, NotFound
from datapkg.format.texts import quoted

MAX_BYTES = 16 << 20
MAX_DEPTH = 200
MAX_VALUES = 250_000
# YAML's limit for keys on one line; a key is part of every place below it.
MAX_KEY = 1_024
MAX_PLAIN = 1_000
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml
_SCALARS = yaml.SafeLoader("")
_MERGE = "<<"


@dataclass(slots=True)
class Item:
    """One value of a document and the line, from 1, on which it begins.

    `text` is a scalar as written, `plain` if it is unquoted. `values` are the items of a list, or the keys and values
    of a mapping in turn. `weight` counts all values in it, those of an alias each time it is used; `depth` is the
    nesting depth. `open` is true while it is being read. A scalar begins at `column` of its line and ends before
    `end_column` of `end_line` (lines from 1, columns from 0), quotes included. A mapping is `flow` if it is written in
    braces.
    """

    kind: Literal["scalar", "list", "mapping"]
    line: int
    text: str = ""
    plain: bool = False
    values: list[Item] = field(default_factory=list)
    weight: int = 1
    depth: int = 1
    open: bool = False
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    flow: bool = False

    @property
    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """Return the pairs of keys and values of a mapping."""
        return zip(self.values[::2], self.values[1::2], strict=True)

    @property
    def is_null(self) -> bool:
        """Return whether this is an unquoted null."""
        return self.kind == "scalar" and self.plain and self.text in ("", "~", "null", "Null", "NULL")


def read_document(path: Path) -> Item | None:
    """Return the document in a file; None if it is empty.

    Raise `InvalidBuildFile` with file, line, column and snippet if it is not YAML or exceeds a limit.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"build file {quoted(path)} cannot be read: {error.strerror}", path=str(path)) from error
    if len(data) > MAX_BYTES:
        raise InvalidBuildFile(f"{path}: more than {MAX_BYTES >> 20} MiB are too much for a build file")
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Item | None:
    """Return the document in these bytes; `name` is the file name shown in messages."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        raise _mistake(name, before + "�", len(before), "a build file is UTF-8, and this byte is not") from None
    if found := _NOT_YAML.search(text):
        what = f"the character U+{ord(found[0]):04X} is not allowed in YAML"
        raise _mistake(name, text, found.start(), what)
    try:
        return _compose(text, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.problem, error.context and f"({error.context})")))
        if "nesting depth" in what:  # since 0.2.6, libyaml has a limit too, and its scanner runs ahead of its parser
            what = f"nested deeper than {MAX_DEPTH}"
        raise _mistake(name, text, None, what, (mark.line, mark.column) if mark else (0, 0)) from None
    except yaml.YAMLError as error:
        raise _mistake(name, text, 0, " ".join(str(error).split())) from None


def _mistake(name: str, text: str, at: int | None, what: str, place: tuple[int, int] | None = None) -> InvalidBuildFile:
    """Return the error for a position in a text, an offset or a pair of line and column from 0, showing its line."""
    lines = LINE_END.split(text if at is None else text[:at])
    line, column = place if place is not None else (len(lines) - 1, len(lines[-1]))
    whole = LINE_END.split(text)
    snippet = whole[line] if line < len(whole) else ""
    # `column` counts from the beginning of the line, which may be long: show the part around the mistake.
    start = max(0, column - 60)
    cut = "".join(c if c.isprintable() or c == "�" else "·" for c in snippet[start : start + 100])
    if "\t" in snippet[:column]:
        what += "; YAML is indented with spaces, never with tabs"
    where = f"{name}:{line + 1}:{column + 1}"
    return InvalidBuildFile(
        f"{where}: {what}\n    {cut}\n    {' ' * (column - start)}^",
        problems=[(where, what)],
        line=line + 1,
        column=column + 1,
    )


def _compose(text: str, name: str) -> Item | None:
    """Compose the tree from the parser's events; a stack makes `MAX_DEPTH` the limit of nesting, not Python's."""
    root: Item | None = None
    stack: list[Item] = []
    anchors: dict[str, Item] = {}
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            item = stack.pop()
            item.open = False
        elif isinstance(event, yaml.AliasEvent):
            item = _aliased(event, anchors, name, text)
        elif isinstance(event, yaml.NodeEvent):
            item = _item(event, name, text)
            if event.anchor is not None:
                anchors[event.anchor] = item
            if item.kind != "scalar":
                stack.append(item)
                if len(stack) > MAX_DEPTH:
                    raise _at(event, name, text, f"nested deeper than {MAX_DEPTH}")
                continue
        elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise _at(event, name, text, "a build file is one document; this begins a second")
        else:
            continue
        if not stack:
            root = item
            continue
        above = stack[-1]
        if above.kind == "mapping" and len(above.values) % 2 == 0 and len(item.text) > MAX_KEY:
            raise _at(event, name, text, f"this key has {len(item.text):,} characters; {MAX_KEY:,} are the bound")
        above.values.append(item)
        # Aliases count each time they are used; otherwise nested aliases could expand exponentially.
        above.weight += item.weight
        above.depth = max(above.depth, item.depth + 1)
        if above.weight > MAX_VALUES:
            raise _at(event, name, text, f"with its aliases this has more than {MAX_VALUES:,} values")
        if len(stack) + item.depth > MAX_DEPTH:
            raise _at(event, name, text, f"nested deeper than {MAX_DEPTH}, its aliases included")
    return None if root is None or (root.is_null and not root.text) else root


def _item(event: Any, name: str, text: str) -> Item:
    if event.tag is not None:
        raise _at(event, name, text, f"tags such as {event.tag[:60]!r} are not allowed: a build file runs no code")
    start, end = event.start_mark, event.end_mark
    if isinstance(event, yaml.ScalarEvent):
        return Item(
            "scalar",
            start.line + 1,
            event.value,
            plain=event.style in (None, ""),
            column=start.column,
            end_line=end.line + 1,
            end_column=end.column,
        )
    kind: Literal["list", "mapping"] = "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
    return Item(kind, start.line + 1, open=True, column=start.column, flow=bool(event.flow_style))


def _aliased(event: Any, anchors: dict[str, Item], name: str, text: str) -> Item:
    item = anchors.get(event.anchor)
    if item is None:
        raise _at(event, name, text, f"there is no anchor &{event.anchor} above this")
    if item.open:
        raise _at(event, name, text, f"*{event.anchor} contains itself")
    return item


def _at(event: Any, name: str, text: str, what: str) -> InvalidBuildFile:
    mark = event.start_mark
    return _mistake(name, text, None, what, (mark.line, mark.column))


def scalar_value(item: Item) -> Any:
    """Return the value of a scalar as YAML 1.1 defines it: numbers, booleans in all spellings, null, dates, text.

    Raise `ValueError` for a scalar that looks like a date or number but is not one.
    """
    tag = _SCALARS.resolve(yaml.ScalarNode, item.text, (item.plain, not item.plain))
    construct = yaml.SafeLoader.yaml_constructors.get(tag)
    if construct is None or tag in ("tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"):
        return item.text
    if len(item.text) > MAX_PLAIN and tag != "tag:yaml.org,2002:str":
        # Parsing a base-60 number takes time quadratic in its length.
        raise ValueError(f"{item.text[:60]!r} looks like a {tag.rpartition(':')[2]} but is not one: it is too long")
    try:
        return construct(_SCALARS, yaml.ScalarNode(tag, item.text))
    except (ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{item.text[:60]!r} looks like a {tag.rpartition(':')[2]} but is not one ({error})") from None


def is_merge(key: Item) -> bool:
    """Return whether this key is YAML's `<<`, which merges the pairs of other mappings."""
    return key.plain and key.text == _MERGE
