"""The last CSV engine: `pandas.read_csv` on the whole file, with fallbacks where it raises."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.readers.compression import for_pandas
from datapkg.building.readers.csv.exact_columns import with_exact_integers
from datapkg.errors import InvalidInput

if TYPE_CHECKING:
    import pandas

Warn = Callable[[str], None]
_MISSING = ("Integer column has NA values", "Bool column has NA values")


def frame(path: Path, kwargs: dict[str, Any], warn: Warn) -> pandas.DataFrame:
    """Return the file as a frame; the keys of `dtype` may name the columns of a headerless file."""
    names = names_from_dtype(kwargs)
    if not names:
        return _read_with_missing(path, kwargs, warn)
    width = width_of_first_row(path, kwargs, warn)
    if width > len(names):
        warn(f"`dtype` has {len(names)} keys and the file {width} columns, so it does not name them")
        return _read_with_missing(path, kwargs, warn)
    found = _read_with_missing(path, {**kwargs, "names": names}, warn)
    if width < len(names) and names[-1] in found and found[names[-1]].isna().all():
        raise InvalidInput(
            f"`dtype` names {len(names)} columns, the rows have {width} or so: nothing is in {names[-1]!r}",
            hint="give dtype one key a column, or name the columns by names: […]",
        )
    return found


def width_of_first_row(path: Path, kwargs: dict[str, Any], warn: Warn) -> int:
    """Return the number of columns of a headerless file, from its first row."""
    first = {key: value for key, value in kwargs.items() if key not in ("dtype", "index_col", "usecols", "parse_dates")}
    return _read(path, {**first, "nrows": 1, "skipfooter": 0}, warn).shape[1]


def names_from_dtype(kwargs: dict[str, Any]) -> list[str] | None:
    """Return the keys of `dtype` as the column names of a headerless file; None if they cannot be names."""
    dtype = kwargs.get("dtype")
    if "header" not in kwargs or kwargs["header"] is not None or kwargs.get("names") is not None:
        return None
    return list(dtype) if isinstance(dtype, dict) and all(isinstance(key, str) for key in dtype) else None


def _read_with_missing(path: Path, kwargs: dict[str, Any], warn: Warn) -> pandas.DataFrame:
    def silent(text: str) -> None:
        """Take a warning that was given for the first read."""

    def as_text() -> pandas.DataFrame:
        others = {name: value for name, value in kwargs.items() if name not in ("converters", "dtype_backend")}
        return _read(path, {**others, "dtype": "str"}, silent)

    try:
        found = _read(path, kwargs, warn)
        _check_index(path, found, kwargs, warn)
        return with_exact_integers(found, kwargs, as_text)
    except ValueError as error:
        if not str(error).startswith(_MISSING):
            raise
    frame = _read(path, {**kwargs, "dtype": _nullable(kwargs["dtype"])}, warn)
    return _without_needless(frame, kwargs["dtype"])


def _check_index(path: Path, frame: pandas.DataFrame, kwargs: dict[str, Any], warn: Warn) -> None:
    """Warn of an index that pandas made of first fields, as the rows have more fields than the header.

    Raise `InvalidInput` if the last column is empty, as then rows end with a separator.
    """
    import pandas

    if kwargs.get("index_col") is not None or 0 in frame.shape:
        return
    if frame.iloc[:, -1].isna().all():
        refuse_trailing_separators(path, kwargs)
    index = frame.index
    if not isinstance(index, pandas.RangeIndex) or (index.start, index.step, index.name) != (0, 1, None):
        warn("rows have more fields than columns have names; the first is the index, as by kwargs: {index_col: 0}")


def refuse_trailing_separators(path: Path, kwargs: dict[str, Any]) -> None:
    """Raise `InvalidInput` if the first row ends with a separator beyond the last column.

    pandas makes an index of its first field, and puts each value into the column beside its own.
    """
    if kwargs.get("index_col") is not None:
        return

    def first(**more: Any) -> pandas.DataFrame:
        names = {name: value for name, value in kwargs.items() if name not in ("converters", "skipfooter")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _by_pandas(path, {**names, "dtype": "str", "nrows": 1, **more})

    found = first()
    if 0 not in found.shape and found.iloc[:, -1].isna().all() and not found.equals(first(index_col=False)):
        raise InvalidInput(
            "rows have more fields than there are names of columns, and end with a separator",
            hint="kwargs: {index_col: false} leaves out the last field, {index_col: 0} makes an index of the first",
        )


def _nullable(dtype: Any) -> Any:
    """Return the dtypes with integer and boolean dtypes made nullable."""
    from pandas.api.types import pandas_dtype

    if isinstance(dtype, dict):
        return {column: _nullable(each) for column, each in dtype.items()}
    kind = pandas_dtype(dtype)
    if str(kind) == "bool":
        return "boolean"
    numpy_integer = getattr(kind, "kind", "") in ("i", "u") and not hasattr(kind, "numpy_dtype")
    return str(kind).replace("u", "U", 1).replace("int", "Int") if numpy_integer else dtype


def _without_needless(frame: pandas.DataFrame, dtype: Any) -> pandas.DataFrame:
    """Return the frame with columns that have no missing values cast to the requested dtype."""
    wanted = dtype if isinstance(dtype, dict) else dict.fromkeys(frame.columns, dtype)
    whole = {
        column: each
        for column, each in wanted.items()
        if column in frame and str(frame[column].dtype) != str(each) and not frame[column].isna().any()
    }
    return frame.astype(whole)


def _read(path: Path, kwargs: dict[str, Any], warn: Warn) -> pandas.DataFrame:
    import pandas

    if kwargs.get("engine") not in (None, "c"):
        return _by_pandas(path, kwargs)
    try:
        # With low_memory, pandas infers types chunk by chunk, and a column may get values of several types.
        return _by_pandas(path, {**kwargs, "low_memory": False})
    except pandas.errors.ParserError as error:
        if "engine" in kwargs:
            raise
        return _read_malformed(path, kwargs, error, warn)
    except ValueError as error:
        # Its Python engine does not know low_memory, which was added here, not by the user.
        if "engine" in kwargs or not str(error).startswith("Falling back to the 'python' engine"):
            raise
        return _by_pandas(path, {**kwargs, "engine": "python"})


def _read_malformed(path: Path, kwargs: dict[str, Any], error: Exception, warn: Warn) -> pandas.DataFrame:
    """Return a file that only the Python engine can parse; if it fails too, raise the C engine's error.

    The Python engine uses the first fields of overlong rows as an index and loses others, so such a result is rejected.
    """
    import pandas

    try:
        frame = _by_pandas(path, {**kwargs, "engine": "python"})
    except (ValueError, TypeError):
        raise error from None
    if kwargs.get("index_col") is None and not isinstance(frame.index, pandas.RangeIndex):
        raise error
    warn(f"read by pandas' Python engine, since its C engine says: {' '.join(str(error).split())}")
    return frame


def _by_pandas(path: Path, kwargs: dict[str, Any]) -> pandas.DataFrame:
    import pandas

    with for_pandas(path, kwargs) as (source, options):
        return pandas.read_csv(source, **options)
