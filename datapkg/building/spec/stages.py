"""Parse the `stages` of a build file, and check that they fit together: no circles, and all inputs exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Any

from datapkg.building.spec import keywords, stage_limits
from datapkg.building.spec.document import Item
from datapkg.building.spec.early_stopping import stop_rules
from datapkg.building.spec.function_ref import find_function
from datapkg.building.spec.globs import is_glob
from datapkg.building.spec.model import FileSource, PythonSource, ResultsSource, Stage, StageInput, StageSource
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.path_index import PathIndex
from datapkg.building.spec.plain_values import Problems, pairs_of, path_text, to_meta
from datapkg.building.spec.source_paths import SourceFolder
from datapkg.building.spec.stage_matrix import NAME, combinations, labels
from datapkg.building.spec.stage_names import check_names, written_names
from datapkg.errors import InvalidName
from datapkg.format.manifest.parsed import is_file_name
from datapkg.format.names import Ref
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

FORMS = ("parquet", "csv", "arrow")
MAX_STAGES = 10_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")
_KINDS = {"node": "contents.", "stage": "stages."}
_EXPLICIT = ("file", "package")
OfStage = StageSource | ResultsSource
Makers = PathIndex[OfStage | None]
"""The nodes of a build by their paths, each with the output of a stage that it is built from, if any."""


class StageReader:
    """Reads the stages of one build file; a mistake is recorded, and the stage concerned is left out."""

    def __init__(self, folder: SourceFolder, problems: Problems) -> None:
        self._folder, self._problems = folder, problems
        self.stages: dict[str, Stage] = {}
        self._lines: dict[str, int] = {}
        self._members: dict[str, dict[str, str]] = {}
        self._are_unknown = False

    def read(self, item: Item) -> None:
        """Read the mapping of names to stages."""
        if item.kind != "mapping":
            self._problems.add(item.line, "stages", "expected a mapping of names to stages")
            self._are_unknown = True
            return
        pairs = pairs_of(item, "stages", self._problems)
        if len(pairs) > MAX_STAGES:
            self._are_unknown = True
            self._problems.add(item.line, "stages", f"has {len(pairs):,} stages; at most {MAX_STAGES:,} are allowed")
            return
        for key, value in pairs:
            place = path_text("stages", key.text)
            self._lines[key.text] = key.line  # with a mistake too, so that what refers to it is not another one
            if not NAME.match(key.text):
                self._problems.add(key.line, place, "a stage is named by letters, digits and underscores")
            elif value.kind != "mapping":
                self._problems.add(key.line, place, f"expected a mapping such as {{run: …}}, got {kind_of(value)}")
            else:
                self._stage(key.text, NodeMapping.of(value, place, key.line, self._problems))

    def _stage(self, name: str, mapping: NodeMapping) -> None:
        before = len(self._problems.found)
        for word in mapping.others(keywords.OF_STAGE):
            mapping.wrong(word, keywords.unknown_of_stage(word))
        if ("run" in mapping) == ("python" in mapping):
            what = (
                "has both `run` and `python`; a stage has one" if "run" in mapping else "has neither `run` nor `python`"
            )
            self._problems.add(mapping.line, mapping.place, what)
        form = self._form(mapping)
        inputs = self._inputs(mapping, form)
        params = to_meta(mapping["params"], mapping.where("params"), self._problems) if "params" in mapping else {}
        outputs = self._outputs(mapping)
        shell = mapping.flag("shell")
        run = self._run(mapping, shell) if "run" in mapping else ()
        stage = Stage(
            name,
            run,
            shell,
            self._python(mapping) if "python" in mapping else None,
            inputs,
            params,
            outputs,
            self._env(mapping),
            tuple(self._code(mapping)),
            stage_limits.timeout(mapping),
            stage_limits.retries(mapping),
            mapping.flag("isolated"),
            self._problems.place(mapping.line, mapping.place),
            stage_limits.resources(mapping),
            stage_limits.concurrency(mapping),
            stage_limits.image(mapping),
            mapping.flag("network"),
            stop_rules(mapping),
        )
        several = combinations(mapping)
        check_names(mapping, stage, [] if several is None else [name for each in several for name in each])
        if len(self._problems.found) == before:
            self._add(stage, several)

    def _add(self, stage: Stage, several: list[dict[str, Any]] | None) -> None:
        """Add a stage, or one for each combination of params."""
        if several is None:
            self.stages[stage.name] = stage
            return
        self._members[stage.name] = {label: f"{stage.name}@{label}" for label in labels(several)}
        for name, values in zip(self._members[stage.name].values(), several, strict=True):
            params = {**stage.params, **values}
            # Inputs of its own, since `_check_inputs` changes them.
            self.stages[name] = replace(stage, name=name, params=params, inputs=dict(stage.inputs))
            self._lines[name] = self._lines[stage.name]

    def _form(self, mapping: NodeMapping) -> dict[str, str]:
        """Return the form of tables by the name of the input, "" for all others."""
        if "as" not in mapping:
            return {}
        item, found = mapping["as"], {}
        pairs = [("", item)] if item.kind == "scalar" else []
        pairs += [(key.text, value) for key, value in pairs_of(item, mapping.where("as"), self._problems)]
        for name, value in pairs:
            if value.kind != "scalar" or value.text not in FORMS:
                mapping.wrong("as", f"expected {', '.join(FORMS)}, or a mapping of inputs to these")
            else:
                found[name] = value.text
        return found

    def _inputs(self, mapping: NodeMapping, form: Mapping[str, str]) -> dict[str, StageInput]:
        found: dict[str, StageInput] = {}
        for key, value in self._named(mapping, "inputs"):
            given = self._input(key, value)
            if isinstance(given, str):
                self._problems.add(value.line, path_text(mapping.where("inputs"), key), given)
            else:
                found[key] = StageInput(*given, form.get(key, form.get("", "parquet")))
        written = written_names(mapping, ("inputs",))
        for name in form.keys() - (form.keys() if written is None else written) - {""}:
            mapping.wrong("as", f"there is no input {quoted(name)}{suggestion(name, tuple(found))}")
        return found

    def _input(self, name: str, value: Item) -> tuple[str, str] | str:
        """Return kind and text of an input, or an error message."""
        if value.kind == "mapping":
            pairs = pairs_of(value, "", None)
            if len(pairs) == 1 and pairs[0][0].text in _EXPLICIT and pairs[0][1].kind == "scalar":
                kind, text = pairs[0][0].text, pairs[0][1].text
                return self._package(text) if kind == "package" else self._path(text)
            return "expected {file: PATH} or {package: USER/NAME/NODE}"
        if value.kind != "scalar" or not value.text or value.is_null:
            return f"expected contents.NODE, stages.STAGE.OUTPUT, a path or a package, got {kind_of(value)}"
        text = value.text
        if text.startswith(_KINDS["node"]):
            return "node", text.removeprefix(_KINDS["node"]).strip("/")
        if text.startswith(_KINDS["stage"]):
            return "stage", text.removeprefix(_KINDS["stage"])
        # What is there as a file is meant; a package can be named by {package: …} then.
        if text.startswith(("./", "../", "/")) or (self._folder.root / text).exists():
            return self._path(text)
        return self._package(text)

    def _path(self, text: str) -> tuple[str, str] | str:
        path = self._folder.root / text
        problem = self._folder.outside(path, text)
        if problem or not (path.is_dir() or path.is_file()):
            return problem or f"there is no file or folder {quoted(text)}"
        return "path", PurePosixPath(text).as_posix()

    @staticmethod
    def _package(text: str) -> tuple[str, str] | str:
        try:
            Ref.parse(text)
        except InvalidName:
            return (
                f"{quoted(text)} is neither a file here nor a package; expected contents.NODE, stages.STAGE.OUTPUT, "
                "a path, or user/name/node"
            )
        return "package", text

    def _outputs(self, mapping: NodeMapping) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self._named(mapping, "outputs"):
            text = name if value.is_null else value.text
            path = PurePosixPath(text)
            is_name = value.kind == "scalar" and is_file_name(path.name)
            if not is_name or path.is_absolute() or ".." in path.parts:
                where = path_text(mapping.where("outputs"), name)
                self._problems.add(value.line, where, "expected the name of a file, or of a folder with a / at its end")
            else:
                found[name] = path.name + ("/" if text.endswith("/") else "")
        return found

    def _named(self, mapping: NodeMapping, word: str) -> list[tuple[str, Item]]:
        """Return the entries of a mapping of names, which placeholders in a command can be."""
        if word not in mapping or mapping[word].is_null:
            return []
        if mapping[word].kind != "mapping":
            mapping.wrong(word, f"expected a mapping of names, got {kind_of(mapping[word])}")
            return []
        pairs = pairs_of(mapping[word], mapping.where(word), self._problems)
        for key, _ in pairs:
            if not NAME.match(key.text):
                where = path_text(mapping.where(word), key.text)
                self._problems.add(key.line, where, "a name has letters, digits and underscores")
        return [(key.text, value) for key, value in pairs if NAME.match(key.text)]

    def _run(self, mapping: NodeMapping, shell: bool) -> tuple[str, ...]:
        item = mapping["run"]
        if item.kind == "list" and not shell and all(each.kind == "scalar" for each in item.values) and item.values:
            return tuple(each.text for each in item.values)
        if item.kind != "scalar" or not item.text.strip() or item.is_null:
            more = "" if shell else ", or a list of its words"
            mapping.wrong("run", f"expected a command{more}, got {kind_of(item)}")
            return ()
        if shell:
            return (item.text,)
        try:
            return tuple(shlex.split(item.text))
        except ValueError as error:
            mapping.wrong("run", f"cannot be split into words: {error}")
            return ()

    def _python(self, mapping: NodeMapping) -> PythonSource | None:
        text = mapping.text("python", "a function, module:function")
        try:
            return find_function(text, self._folder.root) if text else None
        except ValueError as error:
            mapping.wrong("python", str(error))
            return None

    def _env(self, mapping: NodeMapping) -> tuple[str, ...]:
        names = self._texts(mapping, "env", "the names of environment variables")
        for name in [name for name in names if not _VARIABLE.match(name)]:
            mapping.wrong("env", f"{quoted(name)} cannot be the name of an environment variable")
        return tuple(sorted(set(names)))

    def _code(self, mapping: NodeMapping) -> Iterable[FileSource]:
        found: dict[str, FileSource] = {}
        for text in self._texts(mapping, "code", "the files of its code, such as [clean.py, lib/]"):
            is_folder = not is_glob(text) and (self._folder.root / text).is_dir()
            pattern = f"{text.rstrip('/')}/**/*" if is_folder else text
            files = self._folder.glob(pattern) if is_glob(pattern) else self._folder.file(text)
            if isinstance(files, str):
                mapping.wrong("code", f"{quoted(text)}: {files}")
            else:
                each = [files] if isinstance(files, FileSource) else [file for _, file in files]
                found |= {file.shown: file for file in each}
        return [found[shown] for shown in sorted(found)]

    def _texts(self, mapping: NodeMapping, word: str, expected: str) -> list[str]:
        if word not in mapping or mapping[word].is_null:
            return []
        item = mapping[word]
        items = item.values if item.kind == "list" else [item]
        if any(each.kind != "scalar" or not each.text for each in items):
            mapping.wrong(word, f"expected {expected}, got {kind_of(item)}")
            return []
        return [each.text for each in items]

    def named(self, source: OfStage, node: str) -> OfStage:
        """Return the source of a node with the name of the output; record a mistake if there is no such output."""
        if isinstance(source, ResultsSource):
            if problem := self._stage_problem(source.stage):
                self._problems.add(source.line, path_text("contents", *node.split("/")), problem)
            return replace(source, members=self._members.get(source.stage, {}))
        problem = self.output_problem(source.stage, source.output)
        if problem:
            self._problems.add(source.line, path_text("contents", *node.split("/")), problem)
        output = self.output_of(source.stage, source.output) or source.output
        return replace(source, output=output, members=self._members.get(source.stage, {}))

    def ordered(self, nodes: Mapping[str, OfStage | None]) -> tuple[Stage, ...]:
        """Return the stages in an order in which they can run; `nodes` are those of the build by their path.

        Record inputs that do not exist, and circles, as mistakes.
        """
        index = indexed(nodes)
        used = {each.stage for each in nodes.values() if each is not None}
        for stage in self.stages.values():
            self._check_inputs(stage, nodes, index)
        for name in {stage.name.partition("@")[0]: None for stage in self.stages.values() if not stage.outputs}:
            if name not in used:
                what = f"has no `outputs`; expected them, or a node with its metrics: results: {{results_of: {name}}}"
                self._problems.add(self._lines[name], path_text("stages", name), what)
        needs = {name: needed_stages(stage, index) for name, stage in self.stages.items()}
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            circle = list(reversed(error.args[1]))  # which has each before the one that needs it
            shown = " → ".join(circle)
            self._problems.add(self._lines[circle[0]], path_text("stages", circle[0]), f"needs its own output: {shown}")
            return ()
        # The others have mistakes, or do not exist.
        return tuple(self.stages[name] for name in order if name in self.stages)

    def _check_inputs(self, stage: Stage, nodes: Mapping[str, OfStage | None], index: Makers) -> None:
        """Record inputs that do not exist as mistakes, and give those that are outputs their full names."""
        for name, each in list(stage.inputs.items()):
            problem = ""
            if each.kind == "stage":
                other, output = self._split(each.text)
                problem = self.output_problem(other, output)
                text, members = f"{other}/{self.output_of(other, output)}", self._members.get(other, {})
                if not problem:
                    stage.inputs[name] = replace(each, text=text, members=members)
            elif each.kind == "node" and not index.touching(each.text) and not self._is_wrong(each.text):
                problem = f"there is no node {quoted(each.text)} in contents{suggestion(each.text, tuple(nodes))}"
            if problem:  # once for all stages of a matrix
                where = path_text("stages", stage.name.partition("@")[0], "inputs", name)
                self._problems.add(self._lines[stage.name], where, problem)

    def _split(self, text: str) -> tuple[str, str]:
        """Return stage and output of `STAGE.OUTPUT`; the name of a run of a matrix may contain dots itself."""
        name, _, output = text.rpartition(".")
        return (text, "") if not name or text in self._lines else (name, output)

    def _is_wrong(self, node: str) -> bool:
        """Return whether a node that is missing may be so because of a mistake at, above or below its path."""
        path = f"{path_text('contents', *node.split('/'))}."
        return any(path.startswith(f"{place}.") or f"{place}.".startswith(path) for _, place, _ in self._problems.found)

    def output_problem(self, stage: str, output: str) -> str:
        """Return the problem of a reference to an output; "" if there is such an output, or its stage is in error."""
        if problem := self._stage_problem(stage):
            return problem
        found = self._any(stage)
        if found and self.output_of(stage, output) is None:
            outputs = tuple(found.outputs)
            if not outputs:
                return f"stage {quoted(stage)} has no `outputs`; a table of its metrics is {{results_of: {stage}}}"
            if not output:
                return f"stage {quoted(stage)} has {len(outputs)} outputs; name one of them: {', '.join(outputs)}"
            expected = suggestion(output, outputs) or f"; expected {' or '.join(outputs)}"
            return f"stage {quoted(stage)} has no output {quoted(output)}{expected}"
        return ""

    def _stage_problem(self, stage: str) -> str:
        known = self._are_unknown or stage in self._lines
        return "" if known else f"there is no stage {quoted(stage)}{suggestion(stage, tuple(self._lines))}"

    def _any(self, stage: str) -> Stage | None:
        """Return a stage, one of those that it stands for, or None for one that is in error."""
        return self.stages.get(next(iter(self._members.get(stage, {}).values()), stage))

    def output_of(self, stage: str, output: str) -> str | None:
        """Return the name of an output; that of the only one for ""; None if there is none."""
        found = self._any(stage)
        outputs = list(found.outputs) if found else []
        if not output and len(outputs) == 1:
            return outputs[0]
        return output if output in outputs else None


def indexed(nodes: Mapping[str, OfStage | None]) -> Makers:
    """Return an index of the nodes of a build."""
    index: Makers = PathIndex()
    for path, source in nodes.items():
        index.add(path, source)
    return index


def needed_stages(stage: Stage, nodes: Makers) -> list[str]:
    """Return the stages that must run before one; `nodes` are those of the build by path."""
    found: list[str] = []
    for each in stage.inputs.values():
        if each.kind == "stage":
            found += each.members.values() or [each.text.partition("/")[0]]
        if each.kind == "node":
            makers = [source for source in nodes.touching(each.text) if source is not None]
            for source in makers:
                found += source.members.values() or [source.stage]
    return list(dict.fromkeys(found))


def is_within(path: str, wanted: str) -> bool:
    """Return whether a node at one path is, or holds, or is below what another path names."""
    return path == wanted or path.startswith(f"{wanted}/") or wanted.startswith(f"{path}/")
