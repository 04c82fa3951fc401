"""Metadata and files of a package with a common meaning: README, licence, and notes on columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

LICENCE_KEYS = ("licence", "license")
COLUMNS_KEY = "columns"
_README_ENDINGS = ("md", "markdown", "", "txt", "rst")
_README = re.compile(r"readme(?:\.([a-z]+))?\Z")
_LICENCE_FILE = re.compile(r"(?:licen[cs]es?|copying|unlicense)(?:[-._ ].*)?\Z", re.DOTALL)


class ColumnNote(NamedTuple):
    """The publisher's note on a column; both parts may be empty."""

    unit: str = ""
    description: str = ""


def column_notes(meta: Mapping[str, Any]) -> dict[str, ColumnNote]:
    """Return the unit and description of each column, by name, from a table's metadata; malformed entries are skipped.

    A text instead of a mapping is a description.
    """
    columns = meta.get(COLUMNS_KEY)
    if not isinstance(columns, dict):
        return {}
    notes = {name: _note(entry) for name, entry in columns.items()}
    return {name: note for name, note in notes.items() if any(note)}


def _note(entry: Any) -> ColumnNote:
    entry = {"description": entry} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
    return ColumnNote(*(entry[key] if isinstance(entry.get(key), str) else "" for key in ColumnNote._fields))


def licence_of(meta: Mapping[str, Any]) -> str:
    """Return the licence named in metadata, under either spelling of the key in any case; "" if there is none."""
    found = {key.casefold(): value for key, value in meta.items() if isinstance(value, str) and value.strip()}
    return next((found[key] for key in LICENCE_KEYS if key in found), "")


def readme_among(names: Iterable[str]) -> str:
    """Return the name of the README among names, in any case, Markdown before plain text; "" if there is none."""
    found = {match[1] or "": name for name in names if (match := _README.match(name.casefold()))}
    return next((found[ending] for ending in _README_ENDINGS if ending in found), "")


def licence_files_among(names: Iterable[str]) -> list[str]:
    """Return the names of licence files: LICENSE, LICENCE.txt, LICENSE-MIT, COPYING, in any case."""
    return [name for name in names if _LICENCE_FILE.match(name.casefold())]
