"""stata, spss, sas and xport: tables of statistics programs, with their value labels and what they say of variables.

Value labels become categories, of which those that are not text (a number without a label beside others with one) are
written as text. The label of a variable becomes the description of its column. Every kind of missing value is missing.
pandas reads Stata's files and SAS's own; the others need the library pyreadstat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.transforms.base import Described, Warn
from datapkg.errors import InvalidInput, MissingDependency
from datapkg.format.names import shown

if TYPE_CHECKING:
    import pandas

SPSS_KWARGS = frozenset({"columns", "convert_categoricals", "encoding", "user_missing"})
XPORT_KWARGS = frozenset({"columns", "encoding"})


def stata(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.dta` file, as `pandas.read_stata` reads it."""
    import pandas

    reader: Any
    try:
        with pandas.read_stata(path, iterator=True, **kwargs) as reader:
            frame = reader.read()
            labels = reader.variable_labels()
    except ValueError as error:
        if "convert_categoricals" not in str(error):
            raise
        what = " ".join(str(error).split())[:300]
        raise InvalidInput(what, hint="kwargs: {convert_categoricals: false} takes the codes") from error
    return _described(frame, labels, warn)


def sas(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.sas7bdat` file, as `pandas.read_sas` reads it, in the encoding that the file names."""
    import pandas

    reader: Any
    with pandas.read_sas(path, format="sas7bdat", iterator=True, **{"encoding": "infer", **kwargs}) as reader:
        frame = reader.read()
        labels = {_text(each.name): _text(each.label) for each in reader.columns}
    return _described(frame, labels, warn)


def spss(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.sav`, `.zsav` or `.por` file."""
    library = _pyreadstat(path)
    is_portable = path.suffix.lower() == ".por"
    with_labels = kwargs.get("convert_categoricals", True)
    options: dict[str, Any] = {"apply_value_formats": with_labels, "formats_as_category": with_labels}
    if is_portable:
        if not_taken := [each for each in ("encoding", "user_missing") if kwargs.get(each)]:
            raise InvalidInput(
                f"a .por file is read as UTF-8, its own missing values as missing: leave out {not_taken[0]}"
            )
        return _read(library.read_por, path, kwargs, options, warn)
    if kwargs.get("user_missing"):
        options["user_missing"] = True
    return _read(library.read_sav, path, kwargs, {"encoding": kwargs.get("encoding"), **options}, warn)


def xport(path: Path, kwargs: dict[str, Any], warn: Warn) -> Described:
    """Return the table of a `.xpt` file, SAS's format for transport."""
    return _read(_pyreadstat(path).read_xport, path, kwargs, {"encoding": kwargs.get("encoding")}, warn)


def _read(
    read: Callable[..., Any], path: Path, kwargs: dict[str, Any], options: dict[str, Any], warn: Warn
) -> Described:
    frame, found = read(str(path), usecols=kwargs.get("columns"), **options)
    return _described(frame, found.column_names_to_labels, warn)


def _pyreadstat(path: Path) -> Any:
    try:
        import pyreadstat
    except ImportError as error:
        raise MissingDependency(
            f"{shown(path.name)} is read with pyreadstat, which is not installed", hint="pip install pyreadstat"
        ) from error
    return pyreadstat


def _described(frame: pandas.DataFrame, labels: Mapping[str, str | None], warn: Warn) -> Described:
    from datapkg.building.frames import table_from_frame

    notes = {name: {"description": label} for name, label in labels.items() if label and name in frame.columns}
    return Described(table_from_frame(_with_text_categories(frame, warn)), {"columns": notes} if notes else {})


def _with_text_categories(frame: pandas.DataFrame, warn: Warn) -> pandas.DataFrame:
    """Return the frame with text for each category that is none, where others are text: a table holds one type."""
    import pandas

    changed: dict[int, Any] = {}
    for at, kind in enumerate(frame.dtypes):
        if isinstance(kind, pandas.CategoricalDtype) and kind.categories.inferred_type.startswith("mixed"):
            names = [each if isinstance(each, str) else f"{each:g}" for each in kind.categories]
            changed[at] = frame.iloc[:, at].cat.rename_categories(names)
            warn(f"column {shown(frame.columns[at])} has values without a label; they are kept as text")
    if changed:
        frame = frame.copy(deep=False)
        for at, column in changed.items():
            frame.isetitem(at, column)
    return frame


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
