"""Describe what is in a package for type checkers: the text of its `.pyi` files."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection
from typing import NamedTuple

from datapkg.format.manifest.parsed import ArrayNode, FileNode, Manifest, Node, TableNode
from datapkg.format.metadata import COLUMNS_KEY, ColumnNote, column_notes
from datapkg.format.names import attribute_name, is_reserved_attribute
from datapkg.format.texts import count_text, dtype_text, size_text, visible

# Beyond these limits a stub has less detail, but is never wrong. A checker compares the overloads of a class pairwise,
# in quadratic time: 300 take mypy a second.
MAX_CLASSES = 300
MAX_NODES = 2_000
MAX_COLUMNS = 1_000
MAX_CHARACTERS = 1_000_000
LISTED_COLUMNS, DESCRIPTION, COLUMN_DESCRIPTION, NAME = 30, 1_000, 200, 40

# How far the estimate of a stub's characters, which is made before its nodes are written, may be above their number.
_ESTIMATED = 20
# The stub of a module has the name of each node in quotes at least, where it has groups.
_LEAST_CHARACTERS = 5

MARK = "# Made by datapkg stubs"
# The methods of `reading.nodes.groups.Package`, which the registry cannot import; a test compares them.
METHODS = (
    *("filter", "find", "frames", "hash", "items", "keys", "kind", "meta", "name", "plot", "ref", "shard", "size"),
    *("to_frame", "values", "walk"),
)
# Names of nodes override those of methods, as they do when the package is read.
_CHECKERS = """# mypy: ignore-errors
# pyright: basic, reportAssignmentType=false, reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false, reportOverlappingOverload=false, reportTypeCommentUsage=false
"""
# Names with two underscores on both sides are never a node's, so that no node hides what an annotation means.
_IMPORTS = """import builtins as __b__
import typing as __t__

import pandas as __pd__
from datapkg.reading.nodes.arrays import Array as __array__
from datapkg.reading.nodes.files import File as __file_node__
from datapkg.reading.nodes.groups import Group as __group__
from datapkg.reading.nodes.groups import Package as __package_node__
from datapkg.reading.nodes.tables import Table as __table__
"""
# For pyright this has to be beside the users that are known; for mypy, in datapkg itself too, where none is.
USERS_STUB = f"""{MARK}; do not edit.
{_CHECKERS}from typing import Any

def __getattr__(name: str) -> Any: ...
"""
# The real classes answer any attribute, or raise for it; this takes that back where all attributes are known. mypy and
# pyright ignore what is not a function; ty calls it for each attribute, so what takes the names of all has to be there.
_CLOSED = "    __getattr__: None\n"
_CLOSED_GROUP = "    __getattribute__: __known__[__methods__ | {names}]\n    __getattr__: None\n"
_KNOWN = f"""__methods__: __t__.TypeAlias = __t__.Literal{[*METHODS, "__class__", "__dict__", "__doc__", "__module__"]}
__attribute__ = __t__.TypeVar("__attribute__", bound=__b__.str)
class __known__(__t__.Generic[__attribute__]):
    def __call__(self, name: __attribute__) -> __t__.Any: ...
"""
_OVERLOAD = "    @__t__.overload\n    def __getitem__(self, {key}) -> {kind}: ...\n"
# Classes that many nodes share: those without names of their own, and what there is no room for.
_SHARED = {"table": "__any_table__", "file": "__file_node__", "array": "__array__", "group": "__any_group__"}


_COLUMN, _COLUMNS = "__column__", "__columns__"


class PackageStub(NamedTuple):
    """The stub of a package: the file of its classes, that of its module, and its line in the file of its user."""

    classes: str
    module: str
    package_class: str
    doc: str


class Detail(NamedTuple):
    """What a stub has of a package: all, or less where a limit in bytes allows no more.

    In a `compact` one, all tables share a generic class, which takes a fifth of the text; hovers show it in its place.
    """

    compact: bool = True
    column_texts: bool = True
    columns: bool = True
    texts: bool = True
    groups: bool = True


WHOLE = Detail(compact=False)
LESS_AND_LESS = (
    Detail(),
    Detail(column_texts=False),
    Detail(column_texts=False, columns=False),
    Detail(column_texts=False, columns=False, texts=False, groups=False),
)


class _Member(NamedTuple):
    """A node directly in a group as its stub has it: name, attribute ("" if it has none), class and docstring."""

    path: str
    name: str
    attribute: str
    kind: str
    is_group: bool
    doc: str


def package_stub(package: str, manifest: Manifest) -> PackageStub:
    """Return the stub of a package (`user/name`) in this state; equal for equal manifests."""
    return _StubWriter(package, manifest).written()


def module_stub(package: str, manifest: Manifest, max_bytes: int) -> str:
    """Return the stub of a package as a single module, in the most detail that `max_bytes` allow.

    Tables lose the descriptions of their columns first, then the columns; then nodes lose their descriptions and what
    is in groups. Where even the names of the nodes are too long, the module takes any attribute.
    """
    for detail in LESS_AND_LESS:
        if detail.groups and manifest.node_count * _LEAST_CHARACTERS > max_bytes:
            continue
        text = _StubWriter(package, manifest, detail, _ESTIMATED * max_bytes).written_as_module()
        if text is not None and len(text.encode()) <= max_bytes:
            return text
    return f"# {package}@sha256:{manifest.hash}\nfrom typing import Any\n\ndef __getattr__(name: str) -> Any: ...\n"


def user_stub(user: str, packages: dict[str, PackageStub]) -> str:
    """Return the stub of a user with these packages, by name."""
    parts = [f"{MARK} of what is on this machine; do not edit.\n{_CHECKERS}"]
    for name, stub in sorted(packages.items()):
        module = f"datapkg.data.{user}.{classes_module(name)}"
        parts.append(f"from {module} import {stub.package_class} as __package_{name}__\n")
    for name, stub in sorted(packages.items()):
        parts.append(f"\n{name}: __package_{name}__\n{stub.doc}\n")
    return "".join(parts)


def classes_module(name: str) -> str:
    """Return the name of the module with the classes of a package; it cannot be a package, and nothing imports it."""
    return f"_{name}"


class _StubWriter:
    """Writes the classes of one package, those near its root first, up to the limits."""

    def __init__(
        self, package: str, manifest: Manifest, detail: Detail = WHOLE, max_characters: int = MAX_CHARACTERS
    ) -> None:
        self._user, _, self._name = package.partition("/")
        self._manifest = manifest
        self._detail = detail
        self._max_characters = max_characters
        self._taken: set[str] = set()
        self._classes = self._nodes = self._characters = 0
        self._texts: list[str] = []
        self._paths: dict[str, list[str]] = {}
        self._state = f"{package}@sha256:{manifest.hash}"

    def written(self) -> PackageStub:
        header = f"{MARK} from {self._state}; do not edit.\n{_CHECKERS}"
        root = self._class_name(self._name, "Package")
        members, is_whole = self._members("")
        self._write_groups(members)
        package_class = _group_class(root, "__package_node__", members, is_whole, self._paths)
        classes = "\n".join(
            [header + _IMPORTS, *_shared_classes(self._detail, has_groups=True), *self._texts, package_class]
        )
        doc = _docstring(_package_lines(self._manifest), "")
        module = f"datapkg.data.{self._user}.{classes_module(self._name)}"
        imports = f"import typing as __t__\n\nimport {module} as __n__\n\n"
        text = f"{header}{doc}\n{imports}" + _module_body(members, is_whole, root, "__n__.")
        return PackageStub(classes, text, root, doc)

    def written_as_module(self) -> str | None:
        """Return all in one module; None if it would not be whole."""
        members, is_whole = self._members("")
        is_whole = self._write_groups(members) and is_whole
        if not is_whole:
            return None
        has_groups = bool(self._texts)
        lines = _package_lines(self._manifest)
        doc = f"{_docstring(lines, '')}\n" if self._detail.texts else ""
        classes = "\n".join([_IMPORTS, *_shared_classes(self._detail, has_groups), *self._texts])
        body = _module_body(members, is_whole, "__package_node__", "")
        return f"# {self._state}\n{_CHECKERS}{doc}{classes}\n{body}"

    def _write_groups(self, members: list[_Member]) -> bool:
        """Write the classes of these groups and of those below; return whether they have all their nodes."""
        todo, is_whole = deque(members), True
        while todo:
            group = todo.popleft()
            if group.is_group and group.kind not in _SHARED.values():
                below, whole = self._members(group.path)
                todo.extend(below)
                is_whole = is_whole and whole
                self._texts.append(_group_class(group.kind, "__group__", below, whole, _names_by_kind(below)))
        return is_whole

    def _members(self, group: str) -> tuple[list[_Member], bool]:
        """Return the nodes in a group, and whether these are all."""
        members: list[_Member] = []
        if self._nodes >= MAX_NODES or self._characters >= self._max_characters:
            return members, False
        kinds = self._manifest.children(group)
        attributes = {name: attribute_name(name) for name in kinds}
        owners = Counter(attributes.values())
        if not group:
            self._taken.update(owners)  # the class of the package has the names of those at any depth
        for name, attribute in attributes.items():
            path = f"{group}/{name}" if group else name
            entry = self._manifest.get(path)
            doc = _docstring(self._lines(path, entry), "    ") if self._detail.texts else ""
            self._nodes += 1
            self._characters += 2 * len(doc) + 4 * len(repr(path)) + 200
            if self._nodes > MAX_NODES or self._characters > self._max_characters:
                return members, False
            shown = "" if owners[attribute] > 1 or is_reserved_attribute(attribute) else attribute
            kind = self._class_of(name, entry, owners)
            self._paths.setdefault(kind, []).append(path)
            members.append(_Member(path, name, shown, kind, kinds[name] == "group", doc))
        return members, True

    def _class_of(self, name: str, entry: Node | None, attributes: Collection[str]) -> str:
        """Return the class of a node beside these: one of its own, up to the limits, for a table or a group."""
        kind = entry.kind if entry else "group"
        columns = entry.columns if isinstance(entry, TableNode) else []
        is_left_out = (kind == "table" and not self._detail.columns) or (kind == "group" and not self._detail.groups)
        if kind in ("file", "array") or is_left_out or self._classes >= MAX_CLASSES or len(columns) > MAX_COLUMNS:
            return _SHARED[kind]
        if isinstance(entry, TableNode) and self._detail.compact:
            return f"{_COLUMNS}[{_name_type([column for column, _ in columns])}]"
        class_name = self._class_name(name, kind.title(), attributes)
        if isinstance(entry, TableNode):
            text = _table_class(class_name, _name_type([column for column, _ in columns]))
            if self._characters + len(text) > self._max_characters:
                return _SHARED[kind]
            self._characters += len(text)
            self._texts.append(text)
        self._classes += 1
        return class_name

    def _class_name(self, name: str, otherwise: str, attributes: Collection[str] = ()) -> str:
        """Return `_FieldNotes` for `field_notes`: a name that no other class has, and no node where it is used."""
        words = re.findall(r"[A-Za-z0-9]+", name)
        stem = "_" + ("".join(word[0].upper() + word[1:] for word in words)[:NAME] or otherwise)
        class_name, number = stem, 1
        while class_name in self._taken or class_name in attributes:
            number += 1
            class_name = f"{stem}{number}"
        self._taken.add(class_name)
        return class_name

    def _lines(self, path: str, entry: Node | None) -> list[str]:
        """Return the description of a node: its measures, then its publisher's text."""
        if isinstance(entry, TableNode):
            shape = f"{count_text(entry.rows, 'row')} × {count_text(len(entry.columns), 'column')}"
            lines = [f"table: {shape}, {size_text(entry.size)}"]
        elif isinstance(entry, ArrayNode):
            shape = " × ".join(map(str, entry.shape)) or "one value"
            lines = [f"array: {shape}, {dtype_text(entry.dtype)}, {size_text(entry.size)}"]
        elif isinstance(entry, FileNode):
            lines = [f"file: {size_text(entry.size)}"]
        else:
            lines = [f"group: {count_text(len(self._manifest.children(path)), 'node')}"]
        description = entry.meta.get("description") if entry else None
        lines += [description] if isinstance(description, str) else []
        return lines + (_column_lines(entry) if isinstance(entry, TableNode) and self._detail.column_texts else [])


def _shared_classes(detail: Detail, has_groups: bool) -> list[str]:
    known = [_KNOWN] if has_groups else []
    tables = [_table_class(_SHARED["table"], "__b__.str")]
    if detail.compact:
        variable = f'{_COLUMN} = __t__.TypeVar("{_COLUMN}", bound=__b__.str)\n'
        generic = _table_class(_COLUMNS, "", f"__table__, __t__.Generic[{_COLUMN}]")
        tables = [variable, generic, f"{_SHARED['table']}: __t__.TypeAlias = {_COLUMNS}[__b__.str]\n"]
    return [*known, *tables, _group_class(_SHARED["group"], "__group__", [], False, {})]


def _module_body(members: list[_Member], is_whole: bool, root: str, prefix: str) -> str:
    """Return the package as a module: what `import datapkg.data.USER.NAME` and `from … import node` see."""
    nodes = {each.attribute: each for each in members if each.attribute}
    lines = [
        f"__this__: {prefix}{root}\n",
        *(f"{name} = __this__.{name}\n" for name in METHODS if name not in nodes),
        *(f"{name}: {prefix}{each.kind}\n{_doc_lines(_outdented(each.doc))}" for name, each in nodes.items()),
    ]
    return "".join([*lines, *([] if is_whole else ["def __getattr__(name: str) -> __t__.Any: ...\n"])])


def _names_by_kind(members: list[_Member]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for each in members:
        names.setdefault(each.kind, []).append(each.name)
    return names


def _group_class(class_name: str, base: str, members: list[_Member], is_whole: bool, keys: dict[str, list[str]]) -> str:
    """Return the class of a group; `keys` are what may be in brackets, by the class of the result."""
    names = _name_type([each.attribute for each in members if each.attribute])
    lines = [f"class {class_name}({base}):\n", _CLOSED_GROUP.format(names=names) if is_whole else "    ...\n"]
    lines += [
        f"    {each.attribute}: {each.kind}\n{_doc_lines(each.doc, '    ')}" for each in members if each.attribute
    ]
    lines += [_OVERLOAD.format(key=f"path: {_literal(names)}", kind=kind) for kind, names in keys.items()]
    # Names are put together as often as they are written down, so any text is taken.
    plain = _OVERLOAD.format(key="path: __b__.str", kind="__t__.Any")
    return "".join([*lines, plain if keys else plain.partition("\n")[2]])


def _table_class(class_name: str, column: str, base: str = "__table__") -> str:
    """Return the class of a table whose columns have names of this type; "" for a base that is generic in it."""
    lines = [f"class {class_name}({base}):\n", _CLOSED]
    lines += [f"    {_COLUMN}: __t__.TypeAlias = {column}\n"] if column else []
    lines.append(_OVERLOAD.format(key=f"key: {_COLUMN}", kind="__pd__.Series"))
    lists = f"__b__.list[{_COLUMN}] | __b__.list[__b__.str]"
    lines.append(_OVERLOAD.format(key=f"key: {lists}", kind="__pd__.DataFrame"))
    lines.append(f"    @__b__.property\n    def columns(self) -> __b__.list[{_COLUMN}]: ...\n")
    return "".join(lines)


def _name_type(columns: list[str]) -> str:
    return _literal(columns) if columns else "__t__.Never"


def _literal(names: list[str]) -> str:
    """Return a string literal in which `repr` escapes invisible and direction-changing characters."""
    return f"__t__.Literal[{', '.join(map(repr, names))}]"


def _package_lines(manifest: Manifest) -> list[str]:
    title = manifest.meta.get("title")
    lines = [title] if isinstance(title, str) else []
    description = manifest.meta.get("description")
    lines += [description] if isinstance(description, str) else []
    return [*lines, count_text(len(manifest.children()), "node")]


def _column_lines(entry: TableNode) -> list[str]:
    notes = column_notes(entry.meta) if COLUMNS_KEY in entry.meta else {}
    lines = []
    for name, kind in entry.columns[:LISTED_COLUMNS]:
        note = notes.get(name, ColumnNote())
        details = ", ".join(_shown(text, COLUMN_DESCRIPTION) for text in (kind, note.unit, note.description) if text)
        lines.append(f"- {_shown(name, COLUMN_DESCRIPTION)}: {details}")
    more = len(entry.columns) - LISTED_COLUMNS
    return [*lines, f"- … {count_text(more, 'more column')}"] if more > 0 else lines


def _docstring(lines: list[str], indent: str) -> str:
    """Return foreign text as a docstring that it cannot end, without images or tags that an editor would show."""
    shown = (_shown(line, DESCRIPTION) for line in lines)
    plain = (re.sub(r"<(?=\S[^>]*>)", "< ", line).replace("](", "] (") for line in shown)
    safe = [line.replace("\\", "\\\\").replace('"', '\\"') for line in plain]
    between = f"\n{indent}"
    return f'"""{between.join(safe)}"""'


def _shown(text: str, limit: int) -> str:
    return visible(" ".join(text.split()), limit)


def _doc_lines(doc: str, indent: str = "") -> str:
    return f"{indent}{doc}\n" if doc else ""


def _outdented(doc: str) -> str:
    return doc.replace("\n    ", "\n")
