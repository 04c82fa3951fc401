"""Serialize checks as text for the build record, so that later changes of the data are checked too.

The text is the flow form of a build file (`{columns: ["x"], min: 0}`) and is parsed by the same grammar, so a
definition that comes from a registry is validated like one that a user wrote.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datapkg.building.sources.function import source_hash
from datapkg.building.spec.checks import SEVERITIES, CheckReader
from datapkg.building.spec.document import parse
from datapkg.building.spec.model import Check, PythonSource
from datapkg.building.spec.plain_values import Problems
from datapkg.errors import DatapkgError

_HASH_CHARS = 16
Entry = dict[str, Any]


def definition_of(check: Check) -> str:
    """Return the text of a check without its name; equal checks have equal texts.

    The text of a `python` check contains a hash of the module, from which the code cannot be restored.
    """
    entry: dict[str, Any] = {} if check.columns is None else {"columns": list(check.columns)}
    entry |= {kind: _plain(kind, argument) for kind, argument in check.rules.items()}
    if check.severity != SEVERITIES[0]:
        entry["severity"] = check.severity
    return _written(entry)


def read_definition(name: str, text: str) -> Check | None:
    """Return the check that a text defines; None if it is invalid or needs a Python function.

    No code of the definition is loaded or run.
    """
    problems = Problems(Path("the record"))
    try:
        document = parse(f"[{text}]".encode(), "the record")
        if document is None or len(document.values) != 1 or document.values[0].kind != "mapping":
            return None
        # `<<` could merge a `python` key in.
        if any(key.text in ("python", "<<") for key, _ in document.values[0].pairs):
            return None
        (check,) = CheckReader(problems).ask(document, "checks", {}).values()
    except (DatapkgError, ValueError, UnicodeError):
        return None
    return None if problems.found else replace(check, name=name, place="")


def packed(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the part of a record that holds the results of checks; each definition is stored once, under `rules`."""
    checks: list[Entry] = []
    rules: dict[str, int] = {}
    for each in entries:
        entry = {key: value for key, value in each.items() if key != "definition"}
        if definition := each.get("definition"):
            entry["rule"] = rules.setdefault(definition, len(rules))
        checks.append(entry)
    return ({"checks": checks} if checks else {}) | ({"rules": list(rules)} if rules else {})


def unpacked(record: Mapping[str, Any]) -> list[Entry]:
    """Return the check entries of a record, each with its definition if the record has it.

    A record may come from a registry: entries that a build would not write are skipped.
    """
    checks, rules = record.get("checks"), record.get("rules")
    texts = [each if isinstance(each, str) else "" for each in rules] if isinstance(rules, list) else []
    found = []
    for each in checks if isinstance(checks, list) else []:
        if not isinstance(each, dict) or not all(
            isinstance(each.get(key), str) for key in ("path", "check", "outcome")
        ):
            continue
        numbers = (each.get(key) for key in ("rows", "wrong") if key in each)
        if not all(isinstance(number, int) for number in numbers):
            continue
        at = each.get("rule")
        text = texts[at] if isinstance(at, int) and 0 <= at < len(texts) else ""
        entry = {key: value for key, value in each.items() if key != "rule"}
        found.append({**entry, "definition": text} if text else entry)
    return found


def _plain(kind: str, argument: Any) -> Any:
    if isinstance(argument, PythonSource):
        return f"{argument.module.stem}:{argument.function} sha256:{source_hash(argument.module)[:_HASH_CHARS]}"
    if kind == "row_count":
        fewest, most = argument
        return {"min": fewest} | ({} if most is None else {"max": most})
    return list(argument) if isinstance(argument, tuple) else argument


def _written(value: Any) -> str:
    """Return a value in the flow form of YAML 1.1: text always quoted, every other type in its plain form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float):
        text = repr(value)
        # YAML 1.1 requires a point before an exponent.
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(map(_quoted, value)) + '"'


def _quoted(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
