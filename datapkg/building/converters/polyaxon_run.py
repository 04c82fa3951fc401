"""What all versions of Polyaxon have alike: commands with templates, rules of early stopping, one stage."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import named_files, with_modules
from datapkg.building.converters.conversion import Conversion, escaped, free_name
from datapkg.building.converters.sections import Section
from datapkg.building.spec.early_stopping import RULE_KEYS
from datapkg.building.spec.node_mapping import kind_of
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# Where a program of Polyaxon finds the folder of its outputs, in its versions before and since 1.0.
_OUTPUTS_VARIABLES = ("POLYAXON_RUN_OUTPUTS_PATH", "POLYAXON_OUTPUTS_PATH")
_TEMPLATE = re.compile(r"\{\{\s*([^{}]{0,200}?)\s*\}\}")
_ALL_PARAMS = ("params", "declarations", "params.as_args")
_SCOPES = ("params.", "declarations.", "inputs.")
_AS_OPTION = ".as_arg"
_AS_VALUE = (".as_str", ".value")
_GLOBALS = {"globals.artifacts_path": ".", "globals.run_artifacts_path": "."}
_OUTPUTS_GLOBALS = ("globals.outputs_path", "globals.run_outputs_path")


class CommandTemplate:
    """Writes the commands of one run: its templates become names in braces."""

    def __init__(self, names: Sequence[str], section: Section, word: str, declare: str) -> None:
        self._names, self._section, self._word, self._declare = names, section, word, declare
        self.outputs = free_name("outputs", names)

    def text(self, text: str, *, is_word: bool = False) -> str:
        """Return a text for the shell; with `is_word`, one word of a command that no shell has read."""
        written, end = [], 0
        for match in _TEMPLATE.finditer(text):
            written += [self._plain(text[end : match.start()], is_word), self._name(match)]
            end = match.end()
        return "".join([*written, self._plain(text[end:], is_word)])

    @staticmethod
    def _plain(text: str, is_word: bool) -> str:
        return escaped(shlex.quote(text) if is_word and text else text)

    def _name(self, match: re.Match[str]) -> str:
        name = match[1]
        if name in _ALL_PARAMS:
            return " ".join(f"--{each}={{{each}}}" for each in self._names)
        if name in _GLOBALS:
            return _GLOBALS[name]
        if name in _OUTPUTS_GLOBALS:
            return f"{{{self.outputs}}}"
        for scope in _SCOPES:
            name = name.removeprefix(scope)
        for suffix in _AS_VALUE:
            name = name.removesuffix(suffix)
        is_option, name = name.endswith(_AS_OPTION), name.removesuffix(_AS_OPTION)
        if name in self._names:
            return f"--{name}={{{name}}}" if is_option else f"{{{name}}}"
        place = f"{self._section.shown}:{self._section.line(self._word)}: {self._section.where(self._word)}"
        raise InvalidInput(
            f"{place}: {quoted(match[0])} is neither declared nor in the matrix",
            hint=f"declare it: {self._declare.format(name=name if NAME.match(name) else 'name')}",
        )


def described(*sections: Section) -> dict[str, Any]:
    """Return name, description and tags, each of the first section that has it."""
    found: dict[str, Any] = {}
    for section in sections:
        values = {word: section.value(word) for word in ("name", "description", "tags")}
        found = {**{word: value for word, value in values.items() if value}, **found}
    return found


def add_run(
    path: Path,
    conversion: Conversion,
    meta: Mapping[str, Any],
    stage: Mapping[str, Any],
    lines: Sequence[str],
    outputs: str,
) -> None:
    """Add the stage that runs these lines, and a node with the folder of its outputs; `meta` is what describes it."""
    name = free_name(str(meta.get("name", "run")), ())
    code = with_modules([file for line in lines for file in named_files(line, path.parent)], path.parent)
    exported = " ".join(f"{each}={{{outputs}}}" for each in _OUTPUTS_VARIABLES)
    run = "\n".join(["set -e", f"export {exported}", *lines])
    conversion.add_stage(name, {"run": run, "shell": True, **stage, "code": code, "outputs": {outputs: "outputs/"}})
    meta = {word: value for word, value in meta.items() if word != "name"}
    several = "matrix" in stage or "foreach" in stage
    node = {"stage": name, **({"meta": meta} if meta else {})}
    conversion.add_node("runs" if several else "outputs", node, is_group=True)


def stop_rules(tuning: Section, word: str) -> list[dict[str, Any]] | None:
    """Return the rules of early stopping, without those that end single runs, and without unknown keys."""
    item = tuning.take(word)
    if item is None:
        return None
    if item.kind != "list":
        raise tuning.wrong(word, f"expected a list of rules, got {kind_of(item)}")
    kept = []
    for number, each in enumerate(item.values, 1):
        rule = Section(each, tuning.shown, f"{tuning.where(word)}.{number}", tuning.conversion)
        found = {key: value for key in sorted(RULE_KEYS) if (value := rule.value(key)) is not None}
        rule.close()
        if found.get("policy", "all") == "all":
            kept.append(found)
    if len(kept) < len(item.values):
        tuning.leave_out(word, "a run ends itself by its own program; only rules with policy: all are kept")
    return kept or None
