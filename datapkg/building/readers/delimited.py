"""csv, tsv and ssv: read delimited text as `pandas.read_csv` does, with three exceptions.

The keys of `dtype` name the columns of a headerless file if there is one key per column. Integers and booleans with
missing values become Int64 and boolean where pandas raises. Text that pandas' C engine cannot parse is tried with its
Python engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datapkg.building.readers.compression import check_lines
from datapkg.building.readers.converters import with_functions
from datapkg.building.readers.csv.header_check import header_note
from datapkg.errors import InvalidInput

Warn = Callable[[str], None]


def csv(path: Path, kwargs: dict[str, Any], warn: Warn) -> Any:
    """Return the table in a comma-separated file."""
    return _table(path, ",", kwargs, warn)


def tsv(path: Path, kwargs: dict[str, Any], warn: Warn) -> Any:
    """Return the table in a tab-separated file."""
    return _table(path, "\t", kwargs, warn)


def ssv(path: Path, kwargs: dict[str, Any], warn: Warn) -> Any:
    """Return the table in a semicolon-separated file."""
    return _table(path, ";", kwargs, warn)


def _table(path: Path, separator: str, kwargs: dict[str, Any], warn: Warn) -> Any:
    from datapkg.building.readers.csv.engines import read

    names, dates = kwargs.get("names"), kwargs.get("parse_dates")
    if isinstance(names, list) and any(isinstance(each, list) for each in names):
        raise InvalidInput("`names` is a list of texts", hint="for labels of several levels say header: [0, 1]")
    if isinstance(dates, list) and any(isinstance(each, list) for each in dates):
        raise InvalidInput("`parse_dates` names columns; pandas no longer joins several to one")
    if not kwargs.keys() & {"sep", "delimiter"}:
        kwargs = {"sep": separator, **kwargs}
    check_lines(path)
    if note := header_note(path, kwargs):
        warn(note)
    return read(path, with_functions(kwargs), warn)
