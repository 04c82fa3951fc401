"""The grammar of build.yml: from a document to what is to be built, with every mistake found on the way.

Under a group, `transform kwargs checks file meta …` is a node exactly if its value is a mapping with one of `SOURCES`;
`meta` is always metadata. `transform`, `kwargs` and `checks` of a group hold for all below it until overridden.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datapkg.building.checks.grammar import CheckReader
from datapkg.building.converting import Problems, pairs_of, path_text, to_kwargs, to_meta
from datapkg.building.directory import name_problem
from datapkg.building.document import Item, read_document
from datapkg.building.globs import fixed_prefix, is_glob, match
from datapkg.building.ignoring import below, read_ignore_file
from datapkg.building.kwargs import FAMILIES, Layer, merged, problem_with
from datapkg.building.nearest import nearest
from datapkg.building.spec import BuildSpec, Check, FileSource, NodeSpec, PackageSource
from datapkg.building.transforms import TRANSFORMS, guess, node_name
from datapkg.building.tree import Tree, is_inside, walk
from datapkg.errors import InvalidInput, InvalidName
from datapkg.format.names import Ref, shown

SOURCES = ("file", "url", "package", "sql", "python", "stage")
SETTINGS = ("transform", "kwargs", "checks", "meta")
UNSUPPORTED = ("columns", "environments", "extract", "sha256", "sheet")
_TOP = ("contents", "meta", "checks")

Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Inherited:
    """What the groups above say."""

    transform: str | None = None
    layers: tuple[Layer, ...] = ()
    checks: dict[str, Check] = field(default_factory=dict)


def read_build_file(path: Path, *, allow_outside: bool = False) -> BuildSpec:
    """The package that a build file describes; nothing but the existence and names of its sources is looked at.

    Raises `InvalidBuildFile` that lists all mistakes, each with file, line and place in the document.
    """
    document = read_document(path)
    problems = Problems(path)
    reader = _Reader(path, problems, allow_outside)
    reader.read(document)
    problems.raise_if_any()
    return BuildSpec("build file", reader.nodes, reader.groups, reader.meta, root=path.parent, warnings=reader.warnings)


class _Reader:
    """Walks the document and gathers nodes and groups; a mistake is noted and what it is about left out."""

    def __init__(self, path: Path, problems: Problems, allow_outside: bool) -> None:
        self.path, self.root, self.problems, self.allow_outside = path, path.parent, problems, allow_outside
        self.nodes: list[NodeSpec] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.meta: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._checks = CheckReader(problems)
        self._taken: dict[str, tuple[str, int]] = {}
        self._trees: dict[Path, Tree] = {}

    def read(self, document: Item | None) -> None:
        if document is None or document.kind != "mapping":
            what = "is empty" if document is None else "is no mapping"
            self.problems.add(document.line if document else 1, "", f"{self.path.name} {what}; expected `contents:`")
            return
        contents = None
        for key, value in pairs_of(document, "", self.problems):
            if key.text == "meta":
                self.meta = to_meta(value, "meta", self.problems)
            elif key.text == "contents":
                contents = value
            elif key.text == "checks":
                self._checks.define(value)
            else:
                self.problems.add(key.line, key.text, _unknown(key.text, _TOP))
        if contents is None:
            if not any(key.text == "contents" for key, _ in document.pairs):
                self.problems.add(document.line, "", f"{self.path.name} has no `contents`")
        elif contents.kind == "mapping":
            self._group(contents, (), _Inherited())
        elif not contents.is_null:
            self.problems.add(contents.line, "contents", "expected a mapping of names to nodes")

    def _group(self, item: Item, parts: Parts, inherited: _Inherited) -> None:
        place = path_text("contents", *parts)
        pairs = pairs_of(item, place, self.problems)
        settings = {key.text: value for key, value in pairs if _is_setting(key, value)}
        children = [(key, value) for key, value in pairs if not _is_setting(key, value)]
        meta = to_meta(settings["meta"], f"{place}.meta", self.problems) if "meta" in settings else {}
        if parts and not self._claim(parts, item.line, "group"):
            return
        if parts and not children and settings.keys() - {"meta"}:
            self.problems.add(item.line, place, f"has neither a source ({', '.join(_SUPPORTED)}) nor nodes below it")
        if parts and (meta or not children):
            self.groups["/".join(parts)] = meta
        elif meta:
            self.meta = {**meta, **self.meta}
        inherited = self._settle(settings, place, inherited)
        for key, value in children:
            self._child(key, value, parts, inherited)

    def _settle(self, settings: dict[str, Item], place: str, inherited: _Inherited) -> _Inherited:
        """What holds below a group that has these settings."""
        if "transform" in settings:
            inherited = replace(inherited, transform=self._transform(settings["transform"], f"{place}.transform"))
        if "kwargs" in settings:
            family = TRANSFORMS[inherited.transform].family if inherited.transform else None
            families = [family] if family else list(FAMILIES)
            values = self._kwargs(settings["kwargs"], f"{place}.kwargs", families)
            inherited = replace(inherited, layers=(*inherited.layers, Layer(family, values)))
        inherited = replace(inherited, checks=self._checks_of(settings, place, inherited))
        for name in settings.keys() - set(SETTINGS):
            self.problems.add(settings[name].line, f"{place}.{name}", _unknown(name, SETTINGS))
        return inherited

    def _child(self, key: Item, value: Item, parts: Parts, inherited: _Inherited) -> None:
        place = path_text("contents", *parts, key.text)
        name = unicodedata.normalize("NFC", key.text)
        here = (*parts, name)
        if is_glob(name) and _only_settings(value):
            self._glob(name, value, parts, inherited)
        elif problem := name_problem(here):
            hint = "; groups are nested mappings, and a file is named by `file:`" if "/" in name else ""
            self.problems.add(key.line, place, problem + hint)
        elif value.kind == "mapping" and _is_leaf(value):
            self._leaf(value, here, key.line, inherited)
        elif value.kind == "mapping":
            self._group(value, here, inherited)
        elif not value.is_null:
            what = shown(value.text) if value.kind == "scalar" else "a list"
            near = nearest(name, (*_SUPPORTED, *SETTINGS)) if parts else ""
            hint = f"; did you mean `{near}`?" if near else ""
            self.problems.add(value.line, place, f"expected a mapping such as {{file: …}}, got {what}{hint}")
        elif self._claim(here, key.line, "group"):
            self.groups["/".join(here)] = {}

    def _leaf(self, item: Item, parts: Parts, line: int, inherited: _Inherited) -> None:
        place = path_text("contents", *parts)
        said = {key.text: value for key, value in pairs_of(item, place, self.problems)}
        for name in said.keys() - {*_SUPPORTED, *SETTINGS}:
            self.problems.add(said[name].line, f"{place}.{name}", _unknown(name, (*_SUPPORTED, *SETTINGS)))
        meta = to_meta(said["meta"], f"{place}.meta", self.problems) if "meta" in said else {}
        if "file" in said and "package" in said:
            self.problems.add(line, place, "has both `file` and `package`; a node has one source")
        elif "package" in said:
            self._package(said, parts, line, meta, inherited)
        elif "file" in said:
            source = self._file(said["file"], f"{place}.file")
            transform, kwargs = self._how(said, place, source, inherited)
            checks = self._checks_of(said, place, inherited)
            if source is not None and self._claim(parts, line, "node"):
                where = self.problems.place(line, place)
                self._add(NodeSpec("/".join(parts), source, transform, kwargs, meta, where), checks)
                self._need_table(said, place, [transform])

    def _package(
        self, said: dict[str, Item], parts: Parts, line: int, meta: dict[str, Any], inherited: _Inherited
    ) -> None:
        place = path_text("contents", *parts)
        for name in said.keys() & {"transform", "kwargs"}:
            self.problems.add(
                said[name].line, f"{place}.{name}", "a node of a package is taken as it is; leave this out"
            )
        text = self._text(said["package"], f"{place}.package", "user/name, user/name/node or user/name@state")
        try:
            source = PackageSource(Ref.parse(text)) if text else None
        except InvalidName as error:
            self.problems.add(said["package"].line, f"{place}.package", str(error))
            return
        checks = self._checks_of(said, place, inherited)
        if source is not None and self._claim(parts, line, "node"):
            node = NodeSpec("/".join(parts), source, meta=meta, place=self.problems.place(line, place))
            self.nodes.append(replace(node, checks=tuple(checks.values())))

    def _glob(self, pattern: str, value: Item, parts: Parts, inherited: _Inherited) -> None:
        place = path_text("contents", *parts, pattern)
        said = {key.text: each for key, each in pairs_of(value, place, self.problems)}
        meta = to_meta(said["meta"], f"{place}.meta", self.problems) if "meta" in said else {}
        prefix, rest = fixed_prefix(pattern)
        folder = self.root / prefix
        if problem := self._outside(folder, prefix) or (
            "" if folder.is_dir() else f"there is no folder {shown(prefix)}"
        ):
            self.problems.add(value.line, place, problem)
            return
        files = [file for file in match(rest, self._tree(folder, prefix).files) if file.path != self.path]
        if not files:
            self.problems.add(value.line, place, "matches no file (hidden files are no data)")
        where = self.problems.place(value.line, place)
        checks = self._checks_of(said, place, inherited)
        before = len(self.nodes)
        for file in files:
            source = FileSource(file.path, f"{prefix}/{file.shown}" if prefix else file.shown)
            transform, kwargs = self._how(said, place, source, inherited)
            here = (*parts, *file.names[:-1], node_name(file.names[-1], transform))
            if problem := name_problem(here):
                self.problems.add(value.line, place, f"{shown(source.shown)}: {problem}")
            elif self._claim(here, value.line, "node"):
                self._add(NodeSpec("/".join(here), source, transform, kwargs, meta, where), checks)
        self._need_table(said, place, [node.transform for node in self.nodes[before:]])

    def _checks_of(self, said: dict[str, Item], place: str, inherited: _Inherited) -> dict[str, Check]:
        """The checks of a node or group: those of the groups above, and its own."""
        if "checks" not in said:
            return inherited.checks
        return {**inherited.checks, **self._checks.ask(said["checks"], f"{place}.checks", inherited.checks)}

    def _add(self, node: NodeSpec, checks: dict[str, Check]) -> None:
        """Takes in a node of a file; checks are of tables, and pass by what becomes none."""
        is_table = TRANSFORMS[node.transform].kind == "table"
        self.nodes.append(replace(node, checks=tuple(checks.values())) if checks and is_table else node)

    def _need_table(self, said: dict[str, Item], place: str, transforms: list[str]) -> None:
        """Notes checks of a node that no transform makes a table of, unless its transform is wrong already."""
        wrong = any(where == f"{place}.transform" for _, where, _ in self.problems.found)
        tables = any(TRANSFORMS[each].kind == "table" for each in transforms)
        if "checks" in said and transforms and not (wrong or tables):
            what = f"checks are for tables, and transform {transforms[0]} gives none"
            self.problems.add(said["checks"].line, f"{place}.checks", what)

    def _tree(self, folder: Path, prefix: str) -> Tree:
        """All that is below a folder, walked once."""
        if folder not in self._trees:
            left_out = below(read_ignore_file(self.root), Path(prefix).parts)
            self._trees[folder] = tree = walk(folder, left_out=left_out, allow_outside=self.allow_outside)
            self.warnings += [f"{prefix}/{each}" if prefix else each for each in tree.warnings]
        return self._trees[folder]

    def _how(
        self, said: dict[str, Item], place: str, source: FileSource | None, inherited: _Inherited
    ) -> tuple[str, dict[str, Any]]:
        """The transform and the kwargs of a node: its own, or of the groups above, or guessed."""
        transform = self._transform(said["transform"], f"{place}.transform") if "transform" in said else None
        if "transform" in said and transform is None:
            return "id", {}
        transform = transform or inherited.transform or (guess(source.path) if source is not None else "id")
        family = TRANSFORMS[transform].family
        own = self._kwargs(said["kwargs"], f"{place}.kwargs", [family]) if "kwargs" in said else {}
        return transform, merged(inherited.layers, family, own)

    def _transform(self, item: Item, place: str) -> str | None:
        name = self._text(item, place, "the name of a transform")
        try:
            if name is None or TRANSFORMS.get(name):
                return name
        except InvalidInput as error:
            self.problems.add(item.line, place, str(error))
            return None
        near = nearest(name, TRANSFORMS)
        hint = f" did you mean {near!r}?" if near else ""
        known = ", ".join(TRANSFORMS)
        self.problems.add(item.line, place, f"unknown transform {shown(name)};{hint} there are {known}")
        return None

    def _kwargs(self, item: Item, place: str, families: list[str]) -> dict[str, Any]:
        values = to_kwargs(item, place, self.problems)
        lines = {key.text: key.line for key, _ in item.pairs} if item.kind == "mapping" else {}
        for name in list(values):
            if problem := problem_with(name, families):
                self.problems.add(lines.get(name, item.line), place, problem)
                del values[name]
        return values

    def _text(self, item: Item, place: str, expected: str) -> str | None:
        """A scalar as written: `1.10` stays `1.10`."""
        if item.kind == "scalar" and item.text and not item.is_null:
            return item.text
        got = "nothing" if item.kind == "scalar" else f"a {item.kind}"
        self.problems.add(item.line, place, f"expected {expected}, got {got}")
        return None

    def _file(self, item: Item, place: str) -> FileSource | None:
        text = self._text(item, place, "the path of a file")
        if text is None:
            return None
        path = self.root / text
        problem = self._outside(path, text) or _file_problem(path, text)
        if problem:
            self.problems.add(item.line, place, problem)
            return None
        return FileSource(path, path.name if Path(text).is_absolute() else Path(text).as_posix())

    def _outside(self, path: Path, text: str) -> str:
        if self.allow_outside or is_inside(path, self.root):
            return ""
        return f"{shown(text)} leads out of the folder of the build file; `--allow-outside` allows it"

    def _claim(self, parts: Parts, line: int, kind: str) -> bool:
        """Takes a path, and its groups, for what stands on a line; notes a problem if something else has it."""
        for depth in range(1, len(parts) + 1):
            path, wanted = "/".join(parts[:depth]), kind if depth == len(parts) else "group"
            before = self._taken.setdefault(path, (wanted, line))
            if before != (wanted, line) and (wanted, before[0]) != ("group", "group"):
                what = f"node {shown(path)} is named twice: here and on line {before[1]}"
                self.problems.add(line, path_text("contents", *parts), what)
                return False
        return True


_SUPPORTED = ("file", "package")


def _is_leaf(item: Item) -> bool:
    """Whether a mapping is a node: it has a source that is not itself a node of that name."""
    return any(key.text in SOURCES and not _is_node(value) for key, value in _all_pairs(item))


def _is_node(item: Item) -> bool:
    return item.kind == "mapping" and any(key.text in SOURCES for key, _ in _all_pairs(item))


def _is_setting(key: Item, value: Item) -> bool:
    return key.text == "meta" or (key.text in (*SETTINGS, *SOURCES, *UNSUPPORTED) and not _is_node(value))


def _only_settings(item: Item) -> bool:
    if item.kind != "mapping":
        return item.is_null
    return not _is_node(item) and all(_is_setting(key, value) for key, value in _all_pairs(item))


def _all_pairs(item: Item) -> list[tuple[Item, Item]]:
    return pairs_of(item, "", None)


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if name in SOURCES or name in UNSUPPORTED:
        return f"`{name}` is not supported by this version of datapkg"
    near = nearest(name, known)
    return f"unknown key {shown(name)}; " + (f"did you mean `{near}`?" if near else f"expected {', '.join(known)}")


def _file_problem(path: Path, text: str) -> str:
    try:
        return _named_problem(path, text)
    except OSError as error:
        return f"{shown(text)} cannot be looked at: {error.strerror}"


def _named_problem(path: Path, text: str) -> str:
    if path.is_file():
        return name_problem((unicodedata.normalize("NFC", path.name),))
    if path.is_dir():
        return f"{shown(text)} is a folder; name its files, or take them by a glob such as {text.rstrip('/')}/*"
    if path.exists():
        return f"{shown(text)} is no ordinary file"
    near: list[str] = []
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, sorted(each.name for each in path.parent.iterdir()), 3)
    return f"there is no file {shown(text)}" + (f"; did you mean {' or '.join(map(shown, near))}?" if near else "")
