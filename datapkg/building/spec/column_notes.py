"""Parse `columns`, the notes on a table's columns, and `sheet` and `table`, which select one of several tables."""

from __future__ import annotations

from typing import Any

from datapkg.building.spec.document import Item, scalar_value
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.plain_values import check_size, pairs_of, to_meta
from datapkg.format.metadata import COLUMNS_KEY
from datapkg.format.texts import quoted

MAX_COLUMNS = 20_000
MAX_NOTE = 4_096


def read_meta(mapping: NodeMapping) -> dict[str, Any]:
    """Return the metadata of a node, including the notes of `columns`."""
    meta = to_meta(mapping["meta"], mapping.where("meta"), mapping.problems) if "meta" in mapping else {}
    if "columns" not in mapping:
        return meta
    if COLUMNS_KEY in meta:
        mapping.wrong("columns", "is given here and in `meta`; give it once")
        return meta
    columns = _columns(mapping)
    whole = {**meta, **({COLUMNS_KEY: columns} if columns else {})}
    return whole if check_size(whole, mapping["columns"].line, mapping.where("columns"), mapping.problems) else meta


def _columns(mapping: NodeMapping) -> dict[str, dict[str, str]]:
    item = mapping["columns"]
    if item.kind != "mapping":
        if not item.is_null:
            mapping.wrong(
                "columns", f"expected a mapping of columns to {{description: …, unit: …}}, got {kind_of(item)}"
            )
        return {}
    pairs = pairs_of(item, mapping.where("columns"), mapping.problems)
    if len(pairs) > MAX_COLUMNS:
        mapping.wrong("columns", f"has {len(pairs):,} columns; at most {MAX_COLUMNS:,} are allowed")
        return {}
    return {key.text: _note(key, value, mapping) for key, value in pairs}


def _note(key: Item, value: Item, mapping: NodeMapping) -> dict[str, str]:
    """Return the note on one column; a plain text is its description."""
    place = f"{mapping.where('columns')}.{key.text}"
    if value.is_null:
        return {}
    if value.kind == "scalar":
        return _texts([("description", value)], place, mapping)
    if value.kind == "list":
        mapping.problems.add(value.line, place, "expected a text, or {description: …, unit: …}, got a list")
        return {}
    return _texts([(name.text, each) for name, each in pairs_of(value, place, mapping.problems)], place, mapping)


def _texts(pairs: list[tuple[str, Item]], place: str, mapping: NodeMapping) -> dict[str, str]:
    found = {}
    for name, item in pairs:
        if item.kind != "scalar":
            mapping.problems.add(item.line, f"{place}.{name}", f"expected a text, got a {item.kind}")
        elif len(item.text) > MAX_NOTE:
            what = f"has {len(item.text):,} characters; at most {MAX_NOTE:,} are allowed"
            mapping.problems.add(item.line, f"{place}.{name}", what)
        elif not item.is_null:
            found[name] = item.text
    return found


def read_words(mapping: NodeMapping) -> dict[str, Any]:
    """Return the kwargs that the keywords `sheet` and `table` set."""
    words: dict[str, Any] = {}
    if "sheet" in mapping:
        sheet = _sheet(mapping)
        words.update({"sheet": sheet} if sheet is not None else {})
    if "table" in mapping:
        table = mapping.text("table", "the name of a table")
        words.update({"table": table} if table is not None else {})
    return words


def _sheet(mapping: NodeMapping) -> str | int | list[str | int] | None:
    item = mapping["sheet"]
    if item.kind == "list" and item.values:
        sheets = [_one_sheet(each, mapping) for each in item.values]
        return [each for each in sheets if each is not None] if None not in sheets else None
    return _one_sheet(item, mapping)


def _one_sheet(item: Item, mapping: NodeMapping) -> str | int | None:
    """Return the name or the number (from 0) of a sheet: `2024` is a number, `"2024"` a name."""
    try:
        value = scalar_value(item) if item.kind == "scalar" and item.text else None
    except ValueError:
        value = item.text
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            mapping.problems.add(
                item.line, mapping.where("sheet"), f"sheets are counted from 0, got {quoted(item.text)}"
            )
            return None
        return value
    if value is None:
        what = f'expected the name or the number of a sheet, a list of such, or "*", got {kind_of(item)}'
        mapping.problems.add(item.line, mapping.where("sheet"), what)
        return None
    return item.text
