"""Parse build.yml into a `BuildSpec`, recording every mistake on the way.

Below a group, a reserved name such as `transform`, `kwargs`, `checks` or `file` is a node exactly if its value is a
mapping with one of `SOURCES`; `meta` is always metadata. `transform`, `kwargs` and `checks` of a group apply to
everything below it until overridden. The other modules of this folder parse the keywords of a node.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from datapkg.building.readers import TRANSFORMS, node_name
from datapkg.building.spec import keywords
from datapkg.building.spec.checks import CheckReader
from datapkg.building.spec.column_notes import read_meta
from datapkg.building.spec.concat import is_concat, name_of
from datapkg.building.spec.document import Item, read_document
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.globs import is_glob
from datapkg.building.spec.kwargs import FAMILIES, Layer
from datapkg.building.spec.model import BuildSpec, Check, FileSource, NodeSpec, Stage, StageSource, UrlSource
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.plain_values import Problems, pairs_of, path_text, to_meta
from datapkg.building.spec.source_keywords import files_as_one, read_source
from datapkg.building.spec.source_paths import Parts, SourceFolder
from datapkg.building.spec.stages import OfStage, StageReader
from datapkg.building.spec.transform_options import TransformOptions, transform_of
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

_NODES = tuple(word for word in keywords.SOURCES if word not in keywords.UNSUPPORTED)


@dataclass(frozen=True)
class _Inherited:
    """Settings inherited from the groups above."""

    transform: str | None = None
    layers: tuple[Layer, ...] = ()
    checks: dict[str, Check] = field(default_factory=dict)


def read_build_file(path: Path, *, allow_outside: bool = False, update: bool = False) -> BuildSpec:
    """Return the package that a build file describes; of its sources, only existence and names are checked.

    With `update`, the checksum of a URL may be missing, since it is about to be computed. Raise `InvalidBuildFile` that
    lists all mistakes, each with file, line and place in the document.
    """
    document = read_document(path)
    problems = Problems(path)
    reader = _Reader(SourceFolder(path, allow_outside=allow_outside), problems, update)
    reader.read(document)
    stages = reader.ordered_stages()
    problems.raise_if_any()
    own: dict[str, Any] = {"root": path.parent, "warnings": reader.folder.warnings, "stages": stages, "file": path}
    return BuildSpec("build file", reader.nodes, reader.groups, reader.meta, **own)


class _Reader:
    """Walk the document and collect nodes and groups; a mistake is recorded and the part concerned is omitted."""

    def __init__(self, folder: SourceFolder, problems: Problems, update: bool) -> None:
        self.folder, self.problems, self._update = folder, problems, update
        self.nodes: list[NodeSpec] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.meta: dict[str, Any] = {}
        self._checks = CheckReader(problems)
        self._stages = StageReader(folder, problems)
        self._taken: dict[str, tuple[str, int, str]] = {}

    def read(self, document: Item | None) -> None:
        """Read the whole document."""
        name = self.folder.path.name
        if document is None or document.kind != "mapping":
            what = "is empty" if document is None else "is not a mapping"
            self.problems.add(document.line if document else 1, "", f"{name} {what}; expected `contents:`")
            return
        contents = None
        for key, value in pairs_of(document, "", self.problems):
            if key.text == "meta":
                self.meta = to_meta(value, "meta", self.problems)
            elif key.text == "contents":
                contents = value  # read last: they name checks, which may be written below them
            elif key.text == "checks":
                self._checks.define(value)
            elif key.text == "stages":
                self._stages.read(value)
            else:
                self.problems.add(key.line, key.text, keywords.unknown(key.text, keywords.TOP))
        if contents is None:
            if not any(key.text == "contents" for key, _ in document.pairs):
                self.problems.add(document.line, "", f"{name} has no `contents`")
        elif contents.kind == "mapping":
            self._group(contents, (), _Inherited())
        elif not contents.is_null:
            self.problems.add(contents.line, "contents", "expected a mapping of names to nodes")

    def ordered_stages(self) -> tuple[Stage, ...]:
        """Return the stages in an order in which they can run; nodes of stages get the names of their outputs."""
        for number, node in enumerate(self.nodes):
            if isinstance(source := node.source, OfStage):
                found = self._stages.named(source, node.path)
                self.nodes[number] = replace(node, source=found)
                if found.members and isinstance(found, StageSource):
                    self.groups[node.path] = node.meta
        sources = {node.path: node.source if isinstance(node.source, OfStage) else None for node in self.nodes}
        return self._stages.ordered(sources)

    def _group(self, item: Item, parts: Parts, inherited: _Inherited) -> None:
        place = path_text("contents", *parts)
        pairs = pairs_of(item, place, self.problems)
        children = [(key, value) for key, value in pairs if not _is_setting(key, value)]
        settings = {key.text: value for key, value in pairs if _is_setting(key, value)}
        mapping = NodeMapping(settings, place, item.line, self.problems)
        meta = to_meta(settings["meta"], mapping.where("meta"), self.problems) if "meta" in mapping else {}
        if parts and not self._claim(parts, item.line, "group"):
            return
        if parts and not children and settings.keys() - {"meta"}:
            self.problems.add(item.line, place, f"has neither a source ({', '.join(_NODES)}) nor nodes below it")
        if parts and (meta or not children):
            self.groups["/".join(parts)] = meta
        elif meta:
            self.meta = {**meta, **self.meta}
        inherited = self._settle(mapping, inherited)
        for key, value in children:
            self._child(key, value, parts, inherited)

    def _settle(self, mapping: NodeMapping, inherited: _Inherited) -> _Inherited:
        """Return the settings that apply below a group."""
        if "transform" in mapping:
            inherited = replace(inherited, transform=transform_of(mapping))
        if "kwargs" in mapping:
            family = TRANSFORMS[inherited.transform].family if inherited.transform else None
            values = TransformOptions.kwargs_of(mapping, [family] if family else list(FAMILIES))
            inherited = replace(inherited, layers=(*inherited.layers, Layer(family, values)))
        inherited = replace(inherited, checks=self._checks_of(mapping, inherited))
        for name in mapping.others(keywords.SETTINGS):
            mapping.wrong(name, keywords.unknown(name, keywords.SETTINGS, "a group"))
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
            self._leaf(NodeMapping.of(value, place, key.line, self.problems), here, inherited)
        elif value.kind == "mapping":
            self._group(value, here, inherited)
        elif not value.is_null:
            what = quoted(value.text) if value.kind == "scalar" else "a list"
            hint = suggestion(name, (*_NODES, *keywords.SETTINGS)) if parts else ""
            self.problems.add(value.line, place, f"expected a mapping such as {{file: …}}, got {what}{hint}")
        elif self._claim(here, key.line, "group"):
            self.groups["/".join(here)] = {}

    def _leaf(self, mapping: NodeMapping, parts: Parts, inherited: _Inherited) -> None:
        meta = read_meta(mapping)
        source = read_source(
            mapping, self.folder, TransformOptions(mapping, inherited.transform, inherited.layers), self._update
        )
        checks = self._checks_of(mapping, inherited)
        if source is None or not self._claim(parts, mapping.line, "node"):
            return
        where = self.problems.place(mapping.line, mapping.place)
        node = NodeSpec("/".join(parts), source.source, source.transform, source.kwargs, meta, where)
        if isinstance(node.source, FileSource):
            self._add(node, checks)
            self._need_table(mapping, [node.transform])
        else:
            self.nodes.append(replace(node, checks=tuple(checks.values())))
        # If the transform is not settled yet, the file may still turn out to be a table.
        if isinstance(node.source, UrlSource) and not source.may_be_table:
            self._need_table(mapping, [node.transform])

    def _glob(self, pattern: str, value: Item, parts: Parts, inherited: _Inherited) -> None:
        place = path_text("contents", *parts, pattern)
        mapping = NodeMapping.of(value, place, value.line, self.problems)
        for name in mapping.others(keywords.OF_GLOB):
            mapping.wrong(name, keywords.unknown(name, keywords.OF_GLOB, "a glob"))
        if is_concat(mapping):
            self._concat(pattern, mapping, parts, inherited)
            return
        meta = read_meta(mapping)
        files = self.folder.glob(pattern)
        if isinstance(files, str):
            self.problems.add(value.line, place, files)
            return
        where = self.problems.place(value.line, place)
        checks = self._checks_of(mapping, inherited)
        before = len(self.nodes)
        reading = TransformOptions(mapping, inherited.transform, inherited.layers)
        for names, source in files:
            transform, kwargs = reading.of(source.path)
            here = (*parts, *names[:-1], node_name(names[-1], transform))
            if problem := name_problem(here):
                self.problems.add(value.line, place, f"{quoted(source.shown)}: {problem}")
            elif self._claim(here, value.line, "node", source.shown):
                self._add(NodeSpec("/".join(here), source, transform, kwargs, meta, where), checks)
        self._need_table(mapping, [node.transform for node in self.nodes[before:]])

    def _concat(self, pattern: str, mapping: NodeMapping, parts: Parts, inherited: _Inherited) -> None:
        """Add all files of a glob as one table, named after their folder."""
        here = (*parts, name_of(pattern))
        if problem := name_problem(here):
            hint = f"name the table: some_name: {{file: {quoted(pattern)}, concat: true}}"
            self.problems.add(mapping.line, mapping.place, f"{problem}; {hint}")
            return
        reading = TransformOptions(mapping, inherited.transform, inherited.layers)
        source = files_as_one(mapping, "concat", self.folder, pattern, reading)
        if source is None or not self._claim(here, mapping.line, "node"):
            return
        where = self.problems.place(mapping.line, mapping.place)
        checks = tuple(self._checks_of(mapping, inherited).values())
        path, meta = "/".join(here), read_meta(mapping)
        self.nodes.append(NodeSpec(path, source.source, source.transform, source.kwargs, meta, where, checks))

    def _checks_of(self, mapping: NodeMapping, inherited: _Inherited) -> dict[str, Check]:
        """Return the checks of a node or group: inherited ones and its own."""
        if "checks" not in mapping:
            return inherited.checks
        return {**inherited.checks, **self._checks.ask(mapping["checks"], mapping.where("checks"), inherited.checks)}

    def _add(self, node: NodeSpec, checks: dict[str, Check]) -> None:
        """Add the node of a file; inherited checks apply only to tables and are dropped for other nodes."""
        is_table = TRANSFORMS[node.transform].kind == "table"
        self.nodes.append(replace(node, checks=tuple(checks.values())) if checks and is_table else node)

    def _need_table(self, mapping: NodeMapping, transforms: list[str]) -> None:
        """Record a mistake if a node has checks but no transform returns a table, unless the transform is wrong."""
        wrong = any(where == mapping.where("transform") for _, where, _ in self.problems.found)
        tables = any(TRANSFORMS[each].kind == "table" for each in transforms)
        if "checks" in mapping and transforms and not (wrong or tables):
            mapping.wrong("checks", f"checks are for tables, and transform {transforms[0]} gives none")

    def _claim(self, parts: Parts, line: int, kind: str, file: str = "") -> bool:
        """Claim a path and its groups for the entry on a line; record a mistake if another entry has them.

        `file` distinguishes the files of one glob, which share a line.
        """
        for depth in range(1, len(parts) + 1):
            path, wanted = "/".join(parts[:depth]), kind if depth == len(parts) else "group"
            claim = (wanted, line, file)
            before = self._taken.setdefault(path, claim)
            if before != claim and (wanted, before[0]) != ("group", "group"):
                self.problems.add(line, path_text("contents", *parts), _taken_twice(path, before, claim))
                return False
        return True


def _taken_twice(path: str, before: tuple[str, int, str], now: tuple[str, int, str]) -> str:
    """Return the message for two claims of a path: (kind, line, file of a glob)."""
    if before[1] != now[1]:
        return f"node {quoted(path)} is named twice: here and on line {before[1]}"
    files = sorted(each or "a folder" for each in {before[2], now[2]})
    names = ", ".join(f"{PurePosixPath(each).name.replace('.', '_')}: {{file: {each}}}" for each in files)
    return f"{' and '.join(map(quoted, files))} would both be node {quoted(path)}; name them one by one: {names}"


def _is_leaf(item: Item) -> bool:
    """Return whether a mapping is a node: it has a source keyword whose value is not itself a node of that name."""
    return any(key.text in keywords.SOURCES and not _is_node(value) for key, value in _all_pairs(item))


def _is_node(item: Item) -> bool:
    return item.kind == "mapping" and any(key.text in keywords.SOURCES for key, _ in _all_pairs(item))


def _is_setting(key: Item, value: Item) -> bool:
    if key.text in keywords.OF_NODES and key.text != "columns":
        return value.kind != "mapping" and not value.is_null
    return key.text == "meta" or (key.text in keywords.RESERVED and not _is_node(value))


def _only_settings(item: Item) -> bool:
    if item.kind != "mapping":
        return item.is_null
    return not _is_node(item) and all(_is_setting(key, value) for key, value in _all_pairs(item))


def _all_pairs(item: Item) -> list[tuple[Item, Item]]:
    return pairs_of(item, "", None)
