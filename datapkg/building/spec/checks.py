"""Parse checks of a build file: named definitions at the top, and the checks that a node or group requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from datapkg.building.spec.document import Item
from datapkg.building.spec.function_ref import find_function
from datapkg.building.spec.keywords import unknown
from datapkg.building.spec.model import Check
from datapkg.building.spec.plain_values import Problems, pairs_of
from datapkg.building.spec.rule_schema import ALIASES, KINDS
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

SEVERITIES = ("error", "warn")
_WHERE = ("column", "columns")
_KEYS = (*KINDS, *ALIASES, *_WHERE, "severity")

Checks = Mapping[str, Check]


class CheckReader:
    """Parse definitions and requests of checks; a mistake is recorded and the check concerned is omitted."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.named: dict[str, Check] = {}

    def define(self, item: Item) -> None:
        """Parse the `checks` at the top of a build file: a mapping of names to definitions."""
        if item.kind != "mapping":
            if not item.is_null:
                self.problems.add(item.line, "checks", "expected a mapping of names to checks")
            return
        for key, value in pairs_of(item, "checks", self.problems):
            self.named[key.text] = self._check(value, key.text, f"checks.{key.text}", "checks")

    def ask(self, item: Item, place: str, inherited: Checks) -> dict[str, Check]:
        """Return the checks that a node or group requests: names, definitions, or names with definitions.

        A definition overrides an inherited one of the same name. A text holds names separated by spaces or commas, as
        in Quilt.
        """
        if item.kind == "mapping":
            asked = [self._named(key, value, place, inherited) for key, value in pairs_of(item, place, self.problems)]
        elif item.kind == "list":
            asked = [self._listed(each, f"{place}[{at}]", place, inherited) for at, each in enumerate(item.values)]
        else:
            names = [] if item.is_null else [name for name in re.split(r"[,\s]+", item.text) if name]
            asked = [self._known(name, item.line, place, inherited) for name in names]
        return {key: check for key, check in asked if check is not None}

    def _named(self, key: Item, value: Item, place: str, inherited: Checks) -> tuple[str, Check | None]:
        if value.is_null:
            return self._known(key.text, key.line, place, inherited)
        if value.kind == "scalar" and key.text in _KEYS:
            what = f"expected names of checks, got `{key.text}`; write a check without a name in a list: [{{…}}]"
            self.problems.add(key.line, place, what)
            return key.text, None
        return key.text, self._check(value, key.text, f"{place}.{key.text}", place)

    def _listed(self, item: Item, here: str, place: str, inherited: Checks) -> tuple[str, Check | None]:
        if item.kind == "scalar" and item.text and not item.is_null:
            return self._known(item.text, item.line, place, inherited)
        return here, self._check(item, "", here, place)

    def _known(self, name: str, line: int, place: str, inherited: Checks) -> tuple[str, Check | None]:
        known = {**self.named, **inherited}
        if name not in known:
            hint = choices(name, known) if known else "; none is defined in `checks` at the top"
            self.problems.add(line, place, f"unknown check {quoted(name)}{hint}")
        return name, known.get(name)

    def _check(self, item: Item, name: str, here: str, place: str) -> Check:
        if item.kind != "mapping":
            self.problems.add(item.line, here, f"expected a check such as {{column: …, min: 0}}, got a {item.kind}")
            return Check(name, {})
        rules: dict[str, Any] = {}
        entries = {key.text: (key, value) for key, value in pairs_of(item, here, self.problems)}
        for text, (key, value) in entries.items():
            kind = ALIASES.get(text, text)
            if kind in KINDS and kind in rules:
                self.problems.add(key.line, here, f"`{text}` and `{kind}` are the same")
            elif kind in KINDS:
                rules[kind] = self._argument(kind, value, f"{here}.{text}")
            elif text not in _KEYS:
                self.problems.add(key.line, f"{here}.{text}", unknown(text, _KEYS))
        columns = self._columns({key: entries[key][1] for key in _WHERE if key in entries}, here)
        self._complete(item, here, rules, columns, entries.keys())
        severity = self._severity(entries["severity"][1], here) if "severity" in entries else SEVERITIES[0]
        held = {kind: argument for kind, argument in rules.items() if argument is not None and argument is not False}
        return Check(name or ", ".join(rules), held, columns, severity, self.problems.place(item.line, place))

    def _complete(self, item: Item, here: str, rules: dict[str, Any], columns: Any, entries: Any) -> None:
        if not rules and not entries - {*_WHERE, "severity"}:
            self.problems.add(item.line, here, f"has no rule; there are {', '.join(KINDS)}")
        needy = [kind for kind in rules if KINDS[kind].needs_columns]
        if needy and columns is None and not entries & set(_WHERE):
            self.problems.add(item.line, here, f"`{needy[0]}` needs `column` or `columns`")

    def _argument(self, kind: str, item: Item, place: str) -> Any:
        try:
            argument = KINDS[kind].read(item)
            return find_function(argument, self.problems.path.parent) if kind == "python" else argument
        except ValueError as error:
            self.problems.add(item.line, place, str(error))
            return None

    def _columns(self, entries: dict[str, Item], here: str) -> tuple[str, ...] | None:
        """Return the columns that a check is for, as written; None if it is for all columns that it fits."""
        if len(entries) > 1:
            self.problems.add(entries["column"].line, here, "has both `column` and `columns`")
        for key, item in entries.items():
            texts = item.values if item.kind == "list" else [item]
            if texts and all(each.kind == "scalar" and not each.is_null for each in texts):
                return tuple(dict.fromkeys(each.text for each in texts))
            self.problems.add(item.line, f"{here}.{key}", "expected the name of a column, or a list of names")
        return None

    def _severity(self, item: Item, here: str) -> str:
        if item.kind != "scalar" or item.text not in SEVERITIES:
            got = quoted(item.text) if item.kind == "scalar" else f"a {item.kind}"
            self.problems.add(item.line, f"{here}.severity", f"expected error or warn, got {got}")
        return item.text
