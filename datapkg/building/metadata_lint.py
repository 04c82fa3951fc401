"""Lint metadata: find values that are probably mistakes.

The result is warnings, never errors, because publishers may store any metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

from datapkg.format.manifest.parsed import FileNode, Manifest, Node, TableNode
from datapkg.format.metadata import COLUMNS_KEY, LICENCE_KEYS, ColumnNote, licence_files_among, licence_of
from datapkg.format.suggestions import did_you_mean, suggestion
from datapkg.format.texts import quoted
from datapkg.objects.base import Readable

MAX_WARNINGS = 20
# Above this number of columns, no similar names are searched; nor for more unknown names than are reported.
MAX_COMPARED = 2_000
_SPDX_LINE = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]+)")
_SPDX_BYTES = 8_192
_MAX_LICENCE = 500
_HOMEPAGE = re.compile(r"https?://[^\s/@<>\"']+(?:[/?#][^\s<>\"']*)?\Z", re.IGNORECASE)


def metadata_warnings(manifest: Manifest) -> list[str]:
    """Return warnings about the metadata of a package, its groups and nodes, one line each.

    Equal problems at several places share one line.
    """
    places: dict[str, list[str]] = {}
    for place, problem in _problems(manifest):
        places.setdefault(problem, []).append(place)
    lines = [_line(problem, where) for problem, where in places.items()]
    more = len(lines) - MAX_WARNINGS
    return lines if more <= 0 else [*lines[:MAX_WARNINGS], f"metadata: … and {more:,} more warnings like these"]


def _line(problem: str, places: list[str]) -> str:
    more = f" (and {len(places) - 1:,} more)" if len(places) > 1 else ""
    return f"{places[0]}{more}: {problem}" if places[0] else problem


def _problems(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield pairs of a node's path ("" for the package) and a problem there."""
    yield from (("", each) for each in meta_warnings(manifest.meta))
    for node in manifest.entries():
        if node.meta:
            yield from ((node.path, each) for each in [*meta_warnings(node.meta), *column_warnings(node)])


def meta_warnings(meta: dict[str, Any]) -> list[str]:
    """Return the problems of one mapping of metadata, each with its key."""
    found = [f"meta.{key}: {problem}" for key, rule in _RULES.items() if key in meta and (problem := rule(meta[key]))]
    licences = {meta[key] for key in LICENCE_KEYS if isinstance(meta.get(key), str)}
    if len(licences) > 1:
        found.append(f"meta.licence and meta.license differ: {' and '.join(sorted(map(quoted, licences)))}")
    return found + [f"meta.{each}" for each in _misspelt(meta, _KEYS)]


def _misspelt(mapping: dict[str, Any], known: dict[str, str]) -> Iterator[str]:
    """Yield keys that are close to a known key that is not present; all other unknown keys are the publisher's own."""
    for key in list(mapping)[:MAX_COMPARED]:
        word = "" if key in _RULES or len(key) > 40 else key.lower()
        near = get_close_matches(word, known, 1, 0.85) if word else []
        if near and known[near[0]] not in mapping:
            yield f"{_key(key)}{did_you_mean([known[near[0]]])}"


def column_warnings(node: Node) -> list[str]:
    """Return the problems of a table's column metadata: unknown columns and values that are not text."""
    columns = node.meta.get(COLUMNS_KEY)
    if columns is None or not isinstance(node, TableNode):
        return []
    if not isinstance(columns, dict):
        return [f"{COLUMNS_KEY}: expected a mapping of columns, such as {{length: {{unit: cm}}}}, got {_kind(columns)}"]
    names = dict(node.columns)
    unknown = [name for name in columns if name not in names]
    compared = list(names) if len(names) <= MAX_COMPARED else []
    found = [f"{COLUMNS_KEY}.{_key(name)}: {_no_column(name, compared)}" for name in unknown[:MAX_WARNINGS]]
    if len(unknown) > MAX_WARNINGS:
        found.append(f"{COLUMNS_KEY}: {len(unknown) - MAX_WARNINGS:,} more are not columns of the table")
    return found + [
        f"{COLUMNS_KEY}.{_key(name)}{each}" for name, note in columns.items() for each in _note_warnings(note)
    ]


def _no_column(name: str, names: list[str]) -> str:
    return f"the table has no such column{suggestion(name, names) if len(name) <= 200 else ''}"


def _note_warnings(note: Any) -> Iterator[str]:
    if isinstance(note, str):
        return
    if not isinstance(note, dict):
        yield f": expected a mapping such as {{description: …, unit: …}}, got {_kind(note)}"
        return
    for key in ColumnNote._fields:
        if key in note and not isinstance(note[key], str):
            yield f".{key}: expected text, got {_kind(note[key])}"
    yield from (f".{each}" for each in _misspelt(note, _COLUMN_KEYS))


def licence_hint(manifest: Manifest, objects: Readable) -> str:
    """Return a hint if a public package does not name a licence; "" if it does.

    A licence file counts if it has a line `SPDX-License-Identifier: …`; licence texts are not guessed.
    """
    if licence_of(manifest.meta):
        return ""
    files = [node for node in manifest.nodes if isinstance(node, FileNode) and "/" not in node.path]
    found = {file.path: _spdx_line(file, objects) for file in files if licence_files_among([file.path])}
    licences = sorted(set(filter(None, found.values())))
    if len(licences) == 1:
        file = next(path for path, licence in found.items() if licence)
        return f"{quoted(file)} names {licences[0]}; name it in build.yml too: meta: {{licence: {licences[0]}}}"
    if found:
        return f"which licence is in {quoted(min(found))}? Name it in build.yml: meta: {{licence: …}}"
    return "no licence is named, so nobody knows what they may do with it; name it in build.yml: meta: {licence: …}"


def _spdx_line(file: FileNode, objects: Readable) -> str:
    """Return the licence named in a file's SPDX line; "" if there is none or the file cannot be read."""
    if not file.size or objects.missing([file.hash]):
        return ""
    with objects.open(file.hash, 0, min(file.size, _SPDX_BYTES)) as stream:
        text = stream.read(_SPDX_BYTES).decode("utf-8", "replace")
    match = _SPDX_LINE.search(text)
    licence = re.sub(r"\s*(?:\*/|-->)?\s*\Z", "", match[1]) if match else ""
    return licence if licence and _is_spdx(licence) else ""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return f"expected text, got {_kind(value)}"
    return "" if value.strip() else "is empty"


def _licence(value: Any) -> str:
    if isinstance(value, list):
        return "expected text; several licences are one expression, such as MIT OR Apache-2.0"
    if problem := _text(value):
        return problem
    example = "such as CC-BY-4.0, MIT OR Apache-2.0 or LicenseRef-own"
    return "" if _is_spdx(value) else f"{quoted(value)} is not an SPDX expression, {example}"


def _is_spdx(text: str) -> bool:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return len(text) <= _MAX_LICENCE and bool(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, RecursionError, MemoryError):
        return False


def _keywords(value: Any) -> str:
    if isinstance(value, str):
        words = ", ".join(filter(None, re.split(r"\s*[,;]\s*", value[:100].strip())))
        return f"expected a list of text; write [{quoted(words)[1:-1]}]"
    if not isinstance(value, list):
        return f"expected a list of text, got {_kind(value)}"
    return next((f"[{number}]: {problem}" for number, each in enumerate(value) if (problem := _text(each))), "")


def _citation(value: Any) -> str:
    """Return the problem of a citation, which may be a text, a list of texts, or a mapping of fields as in BibTeX."""
    if isinstance(value, list):
        return next((f"[{number}]: {problem}" for number, each in enumerate(value) if (problem := _citation(each))), "")
    return "" if isinstance(value, dict) and value else _text(value)


def _homepage(value: Any) -> str:
    if problem := _text(value):
        return problem
    return "" if _HOMEPAGE.match(value) else f"expected an address that begins with https://, got {quoted(value)}"


_RULES: dict[str, Callable[[Any], str]] = {
    "title": _text,
    "description": _text,
    "licence": _licence,
    "license": _licence,
    "keywords": _keywords,
    "citation": _citation,
    "homepage": _homepage,
}
_KEYS = {key: key for key in _RULES} | {"licences": "licence", "licenses": "licence", "spdx": "licence"}
_COLUMN_KEYS = {key: key for key in ColumnNote._fields} | {"units": "unit", "desc": "description"}


def _key(name: str) -> str:
    return name if name.isidentifier() and len(name) <= 80 else quoted(name)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)
