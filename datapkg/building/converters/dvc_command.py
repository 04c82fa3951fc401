"""Write the stages of DVC as stages of a build file.

A command of DVC reads and writes fixed paths of the repository. Where all of them are words of the command, names of
inputs and outputs take their place. Elsewhere the stage runs in a fresh folder in which the same paths are prepared.
"""

from __future__ import annotations

import itertools
import re
import shlex
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import inner_path, named_files, with_modules
from datapkg.building.converters.conversion import Conversion, escaped, free_name
from datapkg.building.converters.dvc_data import Tracked
from datapkg.building.converters.dvc_params import ParamsFiles, can_write, subset
from datapkg.building.converters.dvc_stage import DvcStage
from datapkg.building.readers.csv.header_check import header_note
from datapkg.building.spec.generate import literal_glob
from datapkg.building.spec.globs import is_glob

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_FILES_LOOKED_AT = 1_000
_FOR_SHELL = re.compile(r"[|&;<>$`*?~#\n(){}\[\]\\!]")
_PLAIN_WORD = re.compile(r"[\w@%+=:,./{}-]+\Z")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]{0,100})")
_ASSIGNED = re.compile(r"(?:^|[\s;&(])(?:for\s+)?([A-Za-z_][A-Za-z0-9_]*)(?==|\s+in\s)")


class StageWriter:
    """Adds the stages of a repository to a conversion."""

    def __init__(self, root: Path, conversion: Conversion, tracked: Mapping[str, Tracked], params: ParamsFiles) -> None:
        self._root, self._conversion, self._tracked, self._params = root, conversion, tracked, params
        self._outs: dict[str, str] = {}
        self._sorted_outs: list[str] = []
        self._sorted_data = sorted(tracked)
        self._names: dict[str, dict[str, str]] = {}

    def add_outs(self, stages: Mapping[str, DvcStage]) -> None:
        """Add a node for each output; of two stages with the same output, the second is not mapped."""
        for name, stage in stages.items():
            names = self._names.setdefault(name, {})
            for out in stage.outs:
                if out.path in self._outs:
                    stage.section.leave_out("outs", f"{out.path} is an output of another stage too")
                    continue
                names[out.path] = free_name(out.path.rpartition("/")[2], names.values())
                self._outs[out.path] = f"stages.{name}.{names[out.path]}"
                keywords: dict[str, Any] = {"stage": name}
                if len(stage.outs) > 1:
                    keywords["output"] = names[out.path]
                if self._is_without_header(self._root / out.path):
                    keywords["transform"] = "id"
                    what = "looks like data, so it is kept as it is; as a table: kwargs: {header: null}"
                    stage.section.leave_out("outs", f"the first line of {out.path} {what}")
                if meta := {**stage.meta, **out.meta}:
                    keywords["meta"] = meta
                self._conversion.add_node(out.path, keywords, is_group=out.is_folder)
        self._sorted_outs = sorted(self._outs)

    @staticmethod
    def _is_without_header(path: Path) -> bool:
        """Return whether an output that is here is a table without a header, or a folder that has one."""
        files = itertools.islice(path.rglob("*"), _FILES_LOOKED_AT) if path.is_dir() else [path]
        return any(
            header_note(each, {"sep": _SEPARATORS[each.suffix]})
            for each in files
            if each.suffix in _SEPARATORS and each.is_file()
        )

    def add_stage(self, name: str, stage: DvcStage) -> None:
        """Add one stage; dependencies that are nowhere are named."""
        outs = {
            out.path: (self._names[name][out.path], out.is_folder)
            for out in stage.outs
            if out.path in self._names[name]
        }
        if not outs:
            stage.section.leave_out("cmd", "a stage without outputs makes no data, and is left out")
            return
        taken = {each for each, _ in outs.values()}
        inputs, code = self._inputs(stage, taken)
        params, param_files = self._param_values(stage, taken | {each for each, _ in inputs.values()}, code)
        is_own = {*outs, *inputs}
        for line in stage.command:
            for file in named_files(line, self._root, stage.folder):
                if not any(file == each or file.startswith(f"{each}/") for each in is_own):
                    code.setdefault(file)
        words = self._direct(stage, {**{k: n for k, (n, _) in outs.items()}, **{k: n for k, (n, _) in inputs.items()}})
        is_direct = words is not None and not params and not param_files
        run = words if is_direct else self._prepared(stage, inputs, outs, param_files)
        self._conversion.add_stage(
            name,
            {
                "run": run,
                "shell": not is_direct,
                "isolated": not is_direct,
                "code": self._code(code),
                "inputs": dict(inputs.values()),
                "params": params,
                "env": [] if is_direct else _variables(stage.command),
                "outputs": {n: path.rpartition("/")[2] + ("/" if folder else "") for path, (n, folder) in outs.items()},
            },
        )

    def _inputs(self, stage: DvcStage, taken: set[str]) -> tuple[dict[str, tuple[str, Any]], dict[str, None]]:
        """Return name and source of each input by the path at which the command expects it, and the code."""
        inputs: dict[str, tuple[str, Any]] = {}
        code: dict[str, None] = {}
        for dep, line in stage.deps:
            path = inner_path(dep, stage.folder)
            found = dict(self._sources(path)) if path else {}
            for each, source in found.items():
                if each not in inputs:
                    name = free_name(each.rpartition("/")[2], taken)
                    taken.add(name)
                    inputs[each] = name, source
            if found:
                continue
            if not path or not (self._root / path).exists():
                reason = "an address as a dependency is not read" if "://" in dep else "not found in this folder"
                stage.section.conversion.leave_out(
                    stage.section.shown,
                    line,
                    f"{stage.section.where('deps')}.{dep}"[:300],
                    reason,
                )
            else:
                code.setdefault(path)
        return inputs, code

    def _sources(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield the outputs and tracked data at a path, around it and below it, by their paths."""
        yield from ((each, self._outs[each]) for each in _overlapping(self._sorted_outs, self._outs, path))
        for each in _overlapping(self._sorted_data, self._tracked, path):
            data = self._tracked[each]
            if path.startswith(f"{each}/") and (self._root / path).exists():
                yield path, {"file": path}
                continue
            if isinstance(data.input, str):  # a stage reads the bytes, not the table that is made of them
                self._conversion.nodes[data.node]["transform"] = "id"
            yield each, data.input

    def _param_values(
        self, stage: DvcStage, taken: set[str], code: dict[str, None]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the params of a stage, and the name of the param that a params file is written from, by its path."""
        params: dict[str, Any] = {}
        files: dict[str, str] = {}
        for path, keys in stage.params.items():
            values = self._params.values(path) if path else None
            if values is None or not can_write(path):
                if path and (self._root / path).is_file():
                    code.setdefault(path)
                    stage.section.leave_out(
                        "params", f"each change of {path} runs the stage again, not only of these keys"
                    )
                else:
                    stage.section.leave_out("params", f"there is no file {path or 'of params in this folder'}")
                continue
            chosen, absent = (values, []) if keys is None else subset(values, keys)
            if absent:
                stage.section.leave_out("params", f"{path} has no {', '.join(absent)[:200]}")
            name = free_name(path.rpartition("/")[2], {*taken, *params})
            params[name], files[path] = chosen, name
        return params, files

    def _direct(self, stage: DvcStage, names: Mapping[str, str]) -> str | None:
        """Return a command with names instead of paths; None if a path is not a word of it, or a shell is needed."""
        if len(stage.command) != 1 or stage.folder or _FOR_SHELL.search(stage.command[0]):
            return None
        try:
            words = shlex.split(stage.command[0])
        except ValueError:
            return None
        used = set()
        written = []
        for word in words:
            before, mark, text = word.rpartition("=") if word.startswith("-") else ("", "", word)
            path = inner_path(text)
            parents = [path[:end] for end in range(len(path), 0, -1) if end == len(path) or path[end] == "/"]
            owner = next((each for each in parents if each in names), None) if path else None
            if owner is not None:
                used.add(owner)
                written.append(f"{before}{mark}{{{names[owner]}}}{path.removeprefix(owner)}")
            else:
                written.append(word)
        if used != names.keys():
            return None
        return " ".join(each if _PLAIN_WORD.match(each) else shlex.quote(each) for each in written)

    def _prepared(
        self,
        stage: DvcStage,
        inputs: Mapping[str, tuple[str, Any]],
        outs: Mapping[str, tuple[str, bool]],
        param_files: Mapping[str, str],
    ) -> str:
        """Return a script that puts inputs and params where the command reads them, and takes what it wrote."""
        folders = [path.rpartition("/")[0] for path in (*inputs, *outs, *param_files)] + [stage.folder]
        lines = ["set -e"]
        if needed := sorted({each for each in folders if each}):
            lines.append("mkdir -p " + " ".join(map(_shell_path, needed)))
        lines += [f"ln -s {{{name}}} {_shell_path(path)}" for path, (name, _) in inputs.items()]
        lines += [f"printf '%s\\n' {{{name}}} > {_shell_path(path)}" for path, name in param_files.items()]
        lines += _commands(stage)
        for path, (name, is_folder) in outs.items():
            lines.append(f"{f'rmdir {{{name}}} && ' if is_folder else ''}mv {_shell_path(path)} {{{name}}}")
        return "\n".join(lines)

    def _code(self, code: Mapping[str, None]) -> list[str]:
        files = [path for path in code if (self._root / path).is_file()]
        folders = [path for path in code if (self._root / path).is_dir()]
        found = [*with_modules(files, self._root), *folders]
        return [literal_glob(path) if is_glob(path) else path for path in dict.fromkeys(found)]


def _overlapping(ordered: list[str], known: Container[str], path: str) -> list[str]:
    """Return the known paths that are a path, contain it or are below it; `ordered` are all of them, sorted."""
    parts = path.split("/")
    found = [each for depth in range(1, len(parts) + 1) if (each := "/".join(parts[:depth])) in known]
    start = bisect_left(ordered, f"{path}/")
    return found + list(
        itertools.takewhile(lambda each: each.startswith(f"{path}/"), itertools.islice(ordered, start, None))
    )


def _commands(stage: DvcStage) -> list[str]:
    """Return the lines of the command; DVC runs each text of a list by a shell of its own, and stops at a failure."""
    enter = f"cd {_shell_path(stage.folder)}\n" if stage.folder else ""
    lines = []
    for each in stage.command:
        text = escaped(each.rstrip())
        is_plain = "\n" not in text and not enter
        lines += [text] if is_plain else f"(\n{enter}set +e\n{text}\n)".split("\n")
    return lines


def _shell_path(path: str) -> str:
    return escaped(shlex.quote(path))


def _variables(command: Iterable[str]) -> list[str]:
    """Return the environment variables that a command names, except those that it sets itself."""
    text = "\n".join(command)
    return sorted(set(_VARIABLE.findall(text)) - set(_ASSIGNED.findall(text)))
