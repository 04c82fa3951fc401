"""Edits of `datapkg.yml` as text: comments, order and everything else stay as they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from datapkg.errors import InvalidLock
from datapkg.format.lockfile import REQUIREMENTS
from datapkg.format.names import Ref
from datapkg.format.requirements import Node, Requirements, compose, members, parse_requirement, parse_requirements

if TYPE_CHECKING:
    from yaml import Mark
# Text that YAML reads back as itself, also between the brackets of a list such as [a/b, c/d].
_PLAIN = re.compile(r"[A-Za-z0-9](?:[\w/.@<>=!~+%-]|:(?=\S))*\Z")
_PLAIN_IN_BLOCK = re.compile(r"[A-Za-z0-9](?:[\w/.@<>=!~+%,-]|:(?=\S))*\Z")


def with_requirement(text: str, ref: Ref, group: str = "", place: str = REQUIREMENTS) -> str:
    """Return the text of a `datapkg.yml` with a requirement in `packages` or a group.

    It replaces the one there of the same package and node, or becomes the last of its list.
    """
    document = _Document(text, place)
    found = document.find(group)
    if found is None:
        edited = document.with_list(ref, group)
    else:
        same = [item for item in _items(found) if _names(item, ref)]
        if len(same) > 1:
            return with_requirement(document.without(found, same[-1]), ref, group, place)
        edited = document.replaced(same[0], ref, found) if same else document.appended(found, ref)
    return _checked(text, edited, ref, group, place)


def without_package(text: str, package: Ref, group: str | None = None, place: str = REQUIREMENTS) -> str:
    """Return the text without the requirements of a package, or of a node in it; of one group, or of all lists."""
    while True:
        document = _Document(text, place)
        names = [name for name in document.names() if group in (None, name)]
        lists = [node for name in names if (node := document.find(name)) is not None]
        found = [(node, item) for node in lists for item in _items(node) if _names(item, package, bool(package.path))]
        if not found:
            return text
        edited = document.without(*found[-1])
        if edited == text or len(_parsed(edited).entries) + 1 != len(_parsed(text).entries):
            what = f"{place} is written in a way that cannot be edited; take {package.package} out of it"
            raise InvalidLock(what, hint=f"delete what asks for {package.package}, then type: datapkg lock")
        text = edited


def _checked(text: str, edited: str, ref: Ref, group: str, place: str) -> str:
    """Return the edited text if it means what it should: what was there, and the new requirement."""
    wanted = [each.key for each in _parsed(text).entries if not (each.group == group and _same(each.ref, ref))]
    found = [each.key for each in parse_requirements(edited.encode(), place).entries]
    if sorted(found) != sorted([*wanted, (str(ref), group)]):
        what = f"{place} is written in a way that cannot be edited; write {ref} into it"
        raise InvalidLock(what, hint=f"write {ref} into packages, then type: datapkg lock")
    return edited


def _parsed(text: str) -> Requirements:
    """Return what a text asks for, which may be two states of a package: the edit may be what ends that."""
    return parse_requirements(text.encode(), may_disagree=True) if text.strip() else Requirements(())


def _items(node: Node) -> list[Node]:
    return [item for item in node.value if item.id == "scalar"] if node.id == "sequence" else []


def _names(item: Node, ref: Ref, with_path: bool = True) -> bool:
    found = parse_requirement(item.value)
    return _same(found, ref) if with_path else found.package == ref.package


def _same(one: Ref, other: Ref) -> bool:
    return (one.package, one.path) == (other.package, other.path)


class _Document:
    """The text of a file, with the places of its lists."""

    def __init__(self, text: str, place: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._end = "\r\n" if "\r\n" in text else "\n"
        self._root = compose(text.encode(), place)

    def names(self) -> list[str]:
        return ["", *(name for name, _ in members(self._member("groups")))]

    def _member(self, key: str) -> Node | None:
        return next((node for name, node in members(self._root) if name == key), None)

    def find(self, group: str) -> Node | None:
        """Return the list of `packages` or of a group, if the file has it."""
        if not group:
            return self._member("packages")
        return next((node for name, node in members(self._member("groups")) if name == group), None)

    def replaced(self, item: Node, ref: Ref, found: Node) -> str:
        return self._spliced(item.start_mark, item.end_mark, _scalar(ref, bool(found.flow_style)))

    def appended(self, found: Node, ref: Ref) -> str:
        """Return the text with a last item in a list."""
        if found.id == "sequence" and found.value:
            last = found.value[-1]
            if found.flow_style:
                return self._spliced(last.end_mark, last.end_mark, f", {_scalar(ref, True)}")
            before = self._lines[last.start_mark.line][: last.start_mark.column]
            indent = " " * before.rindex("-") if "-" in before else before
            return self._with_line(last.end_mark.line, f"{indent}- {_scalar(ref)}")
        # An empty list, written as [] or not at all, becomes one with a line an item.
        indent = " " * self._indent_of(found)
        opened = self._lines[found.start_mark.line]
        if found.end_mark.index > found.start_mark.index:
            opened = (
                opened[: found.start_mark.column].rstrip() + self._lines[found.end_mark.line][found.end_mark.column :]
            )
        head, tail = self._lines[: found.start_mark.line], self._lines[found.end_mark.line + 1 :]
        return "".join([*head, self._ended(opened), f"{indent}- {_scalar(ref)}{self._end}", *tail])

    def _indent_of(self, found: Node) -> int:
        line = self._lines[found.start_mark.line]
        return len(line) - len(line.lstrip(" "))

    def with_list(self, ref: Ref, group: str) -> str:
        """Return the text with a new list of one item."""
        item = _scalar(ref)
        if not group:
            return self._joined([*self._lines], f"packages:{self._end}- {item}")
        groups = self._member("groups")
        if groups is None:
            return self._joined(self._lines, f"groups:{self._end}  {group}:{self._end}  - {item}")
        if groups.value and groups.flow_style:
            last = groups.value[-1][1]
            return self._spliced(last.end_mark, last.end_mark, f", {group}: [{_scalar(ref, True)}]")
        if groups.value:
            first = groups.value[0][0]
            indent = " " * first.start_mark.column
            return self._with_line(self._last_line(groups), f"{indent}{group}:{self._end}{indent}- {item}")
        line = groups.start_mark.line
        opened = self._lines[line].replace("{}", "").rstrip()
        lines = [*self._lines[:line], f"{opened}{self._end}  {group}:{self._end}  - {item}{self._end}"]
        return "".join([*lines, *self._lines[line + 1 :]])

    def _last_line(self, node: Node) -> int:
        """Return the number of the last line of a node that is not empty or a comment."""
        if node.id == "mapping" and not node.flow_style:
            return max(self._last_line(part) for pair in node.value for part in pair)
        if node.id == "sequence" and not node.flow_style and node.value:
            return max(self._last_line(item) for item in node.value)
        start, end = node.start_mark.line, node.end_mark.line
        return int(end - 1 if node.end_mark.column == 0 and end > start else end)

    def without(self, found: Node, item: Node) -> str:
        """Return the text without an item of a list."""
        if not found.flow_style:
            return "".join(self._lines[: item.start_mark.line] + self._lines[item.end_mark.line + 1 :])
        number = found.value.index(item)
        if number + 1 < len(found.value):
            return self._spliced(item.start_mark, found.value[number + 1].start_mark, "")
        start = found.value[number - 1].end_mark if number else item.start_mark
        return self._spliced(start, item.end_mark, "")

    def _spliced(self, start: Mark, stop: Mark, new: str) -> str:
        head = "".join(self._lines[: start.line]) + self._lines[start.line][: start.column]
        return head + new + self._lines[stop.line][stop.column :] + "".join(self._lines[stop.line + 1 :])

    def _with_line(self, line: int, new: str) -> str:
        lines = [*self._lines[:line], self._ended(self._lines[line]), new + self._end, *self._lines[line + 1 :]]
        return "".join(lines)

    def _joined(self, lines: list[str], new: str) -> str:
        return "".join([*lines[:-1], *map(self._ended, lines[-1:]), new + self._end])

    def _ended(self, line: str) -> str:
        return line if line.endswith(("\n", "\r")) else line + self._end


def _scalar(ref: Ref, in_brackets: bool = False) -> str:
    """Return a reference as YAML: quoted where plain text would be read as something else."""
    text = str(ref)
    is_plain = (_PLAIN if in_brackets else _PLAIN_IN_BLOCK).match(text) is not None
    return text if is_plain else "'" + text.replace("'", "''") + "'"
