"""Compute the content hash that a text file would have when built, to check files that were exported from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.warnings_capture import capture_warnings, captured_warnings
from datapkg.errors import exhausted
from datapkg.objects.progress import Share, ignore_share
from datapkg.tables.table_stream import RestartRead, TableStream

if TYPE_CHECKING:
    import pyarrow as pa

_ATTEMPTS = 3


def content_of_text(path: Path, transform: str, kwargs: dict[str, Any], share: Share = ignore_share) -> str:
    """Return the `content` of the table that a build would make of a file, without storing anything.

    Return "" for a file that a build would refuse. A large file is read in parts, as in a build; `share` is called with
    how much of it was read. Raise `ResourceExhausted`.
    """
    read = TRANSFORMS[transform].read
    assert read is not None
    with capture_warnings(), captured_warnings():
        try:
            return _content(read(path.absolute(), kwargs, lambda warning: None), share)
        except Exception as error:
            if (lack := exhausted(error, "reading the exported text back")) is not None:
                raise lack from error
            return ""


def missing_words(kwargs: dict[str, Any], label: str) -> set[str]:
    """Return the strings that `pandas.read_csv` with these kwargs reads as null in a column."""
    from pandas._libs.parsers import STR_NA_VALUES  # type: ignore[import-not-found]

    if not kwargs.get("na_filter", True):
        return set()
    own = kwargs.get("na_values")
    own = own.get(label) if isinstance(own, dict) else own
    words = {str(each) for each in own} if isinstance(own, list | tuple | set) else set() if own is None else {str(own)}
    return words | STR_NA_VALUES if kwargs.get("keep_default_na", True) else words


def _content(value: Any, share: Share) -> str:
    import pyarrow as pa

    from datapkg.tables.content_hash import content_of_parts, content_of_table
    from datapkg.tables.storage_types import to_storage_types

    if isinstance(value, pa.Table):
        return content_of_table(to_storage_types(value)).hash
    for _ in range(_ATTEMPTS):
        try:
            return content_of_parts(_parts(value, share), to_storage_types(value.schema.empty_table()).schema).hash
        except RestartRead:
            continue
    return ""


def _parts(stream: TableStream, share: Share) -> Iterator[pa.Table]:
    from datapkg.tables.storage_types import to_storage_types

    for part in stream.parts():
        share(part.share)
        yield to_storage_types(part.table)
