"""The attrs of a DataFrame, pandas' place for metadata, reduced to what the metadata of a node can hold."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from datapkg.errors import InvalidInput
from datapkg.format.canonical import MAX_META_BYTES, check_metadata, encode, prepare
from datapkg.format.texts import quoted
from datapkg.tables.pandas_metadata import pandas_metadata, without_origin

if TYPE_CHECKING:
    import pyarrow as pa


def plain_attrs(attrs: Mapping[Hashable, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what JSON can hold of attrs, and a line for each entry that is left out.

    numpy's numbers become Python's, tuples lists, dates and times ISO text, as in a build file.
    """
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in without_origin(dict(attrs)).items():
        if not isinstance(key, str):
            left_out.append(f"attrs: key {quoted(key)} is not text; it is left out")
            continue
        try:
            kept |= check_metadata({key: _plain(value)}, "attrs")
        except InvalidInput as error:
            left_out.append(f"{error}; it is left out")
    if len(encode(prepare(kept))) > MAX_META_BYTES:
        return {}, [*left_out, f"attrs: more than {MAX_META_BYTES >> 10} KiB; they are left out"]
    return kept, left_out


def attrs_as_meta(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata of a node whose table came from a DataFrame with attrs: those kept in its schema."""
    attributes = pandas_metadata(schema).get("attributes")
    return plain_attrs(attributes)[0] if isinstance(attributes, dict) else {}


def _plain(value: Any, depth: int = 0) -> Any:
    import numpy

    if depth > 64:  # the check of the result rejects it
        return value
    if isinstance(value, numpy.generic):
        return _plain(value.item(), depth + 1)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat() if value == value else value  # NaT is not equal to itself, and has no text
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    return {key: _plain(each, depth + 1) for key, each in value.items()} if isinstance(value, dict) else value
