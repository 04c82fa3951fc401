"""stata, spss, sas and xport: read tables of statistics programs, with value labels and variable labels.

Value labels become categories; categories that are not text (a number without a label among others with one) are
converted to text. The label of a variable becomes the description of its column. Every kind of missing value becomes
missing. pandas reads Stata and sas7bdat files; the other formats need pyreadstat, which may crash on corrupt files and
therefore runs in a child process (`limited_reader`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers import limited_reader
from datapkg.building.readers.base import Described, Warn
from datapkg.errors import InvalidInput, MissingDependency, exhausted
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    import pandas

SPSS_KWARGS = frozenset({"columns", "convert_categoricals", "encoding", "user_missing"})
XPORT_KWARGS = frozenset({"columns", "encoding"})
_EXACT = 2**53  # up to here, a float is the integer that it looks like


def stata(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.dta` file, as `pandas.read_stata` reads it."""
    import pandas

    reader: Any
    try:
        with _damage_explained(), pandas.read_stata(path, iterator=True, **kwargs) as reader:
            frame = reader.read()
            labels = reader.variable_labels()
    except ValueError as error:
        if "convert_categoricals" not in str(error):
            raise
        what = " ".join(str(error).split())[:300]
        raise InvalidInput(what, hint="kwargs: {convert_categoricals: false} takes the codes") from error
    return _described(frame, labels, warn)


def sas(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.sas7bdat` file, as `pandas.read_sas` reads it, in the encoding that the file declares."""
    import pandas

    reader: Any
    options = {"encoding": "infer", **kwargs}
    with _damage_explained(), pandas.read_sas(path, format="sas7bdat", iterator=True, **options) as reader:
        frame = reader.read()
        labels = {_text(each.name): _text(each.label) for each in reader.columns}
    return _described(frame, labels, warn)


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Raise `InvalidInput` for pandas' unexplained errors, which come from impossible offsets and codes."""
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        raise exhausted(error) or InvalidInput(
            f"the file is damaged or truncated ({type(error).__name__}: {error})"
        ) from error


def spss(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.sav`, `.zsav` or `.por` file."""
    if path.suffix.lower() != ".por":
        more = {"encoding": kwargs.get("encoding"), "user_missing": bool(kwargs.get("user_missing"))}
        frame, found = _read("read_sav", path, kwargs, more)
    elif refused := sorted({"encoding", "user_missing"}.intersection(kwargs)):
        raise InvalidInput(f"kwarg {refused[0]} is not supported for .por files", hint=f"leave {refused[0]} out")
    else:
        frame, found = _read("read_por", path, kwargs, {})
    if kwargs.get("convert_categoricals", True):
        _refuse_equal_labels(frame, found)
        frame = _pyreadstat(path).set_value_labels(frame, found, formats_as_category=True)
    return _described(frame, found.labels, warn)


def _refuse_equal_labels(frame: pandas.DataFrame, found: _Found) -> None:
    """Raise `InvalidInput` if two values of a column would become one category, as pandas does for Stata files."""
    for name, named in found.variable_to_label.items():
        labels = found.value_labels.get(named, {})
        seen: dict[str, Any] = {}
        for value in frame[name].dropna().unique() if name in frame else ():
            label = labels.get(value, _number_text(value))
            if label in seen:
                raise InvalidInput(
                    f"column {quoted(name)}: the values {seen[label]} and {value} have the same label {quoted(label)}",
                    hint="kwargs: {convert_categoricals: false} takes the codes",
                    column=name,
                )
            seen[label] = value


def xport(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.xpt` file, SAS's transport format."""
    frame, found = _read("read_xport", path, kwargs, {"encoding": kwargs.get("encoding")})
    return _described(frame, found.labels, warn)


@dataclass(frozen=True)
class _Found:
    """Column metadata of a file: labels by column, names of value label sets by column, and these sets."""

    labels: Mapping[str, str | None]
    variable_to_label: Mapping[str, str]
    value_labels: Mapping[str, Mapping[Any, str]]


def _read(function: str, path: Path, kwargs: dict[str, Any], more: dict[str, Any]) -> tuple[pandas.DataFrame, _Found]:
    """Call a pyreadstat function in a child process; return the frame, with codes for labelled values."""
    import numpy
    import pandas
    import pyarrow as pa

    options = {"function": function, "kwargs": {"usecols": kwargs.get("columns"), **more}}
    libraries = [_pyreadstat(path), pandas, numpy, pa]
    if narwhals := sys.modules.get("narwhals"):  # newer versions of pyreadstat need it
        libraries.append(narwhals)
    with tempfile.TemporaryFile() as converted:
        try:
            limited_reader.run("readstat", path, *libraries, output=converted, options=options)
        except limited_reader.ReaderDied as died:
            most = f"{limited_reader.max_bytes() / 2**30:.1f} GiB of memory"
            raise InvalidInput(f"it is damaged, or it cannot be read in {most}") from died
        converted.seek(0)
        with pa.ipc.open_stream(converted) as reader:
            table = reader.read_all()
    told = json.loads(table.schema.metadata[b"datapkg"])
    frame = table.to_pandas()
    frame.columns = told["names"]
    sets = {name: dict(pairs) for name, pairs in told["value_labels"].items()}
    return frame, _Found(told["labels"], told["variable_to_label"], sets)


def _pyreadstat(path: Path) -> Any:
    try:
        import pyreadstat
    except ImportError as error:
        raise MissingDependency(
            f"{quoted(path.name)} is read with pyreadstat, which is not installed", hint="pip install pyreadstat"
        ) from error
    return pyreadstat


def _described(frame: pandas.DataFrame, labels: Mapping[str, str | None], warn: Warn) -> Described:
    from datapkg.tables.frame_to_arrow import table_from_frame

    notes = {name: {"description": label} for name, label in labels.items() if label and name in frame.columns}
    return Described(table_from_frame(_with_text_categories(frame, warn)), {"columns": notes} if notes else {})


def _with_text_categories(frame: pandas.DataFrame, warn: Warn) -> pandas.DataFrame:
    """Return the frame with categories of mixed types converted to text, because a table column holds one type."""
    import pandas

    changed: dict[int, Any] = {}
    for at, kind in enumerate(frame.dtypes):
        if isinstance(kind, pandas.CategoricalDtype) and kind.categories.inferred_type.startswith("mixed"):
            names = [each if isinstance(each, str) else _number_text(each) for each in kind.categories]
            changed[at] = frame.iloc[:, at].cat.rename_categories(names)
            warn(f"column {quoted(frame.columns[at])} has values without a label; they are kept as text")
    if changed:
        frame = frame.copy(deep=False)
        for at, column in changed.items():
            frame.isetitem(at, column)
    return frame


def _number_text(value: Any) -> str:
    """Return a number with all its digits, as different values must not become one category; 3.0 is `3`."""
    if not isinstance(value, Real):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
