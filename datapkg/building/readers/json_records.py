"""json and jsonl: read a list of records, or one record per line, as a table.

Without kwargs the values keep their JSON types: text stays text, integers stay integers even with nulls, and nothing is
parsed as a date. The file is never held in memory as a whole. With kwargs, `pandas.read_json` reads it, which guesses
types.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json as json_library
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from datapkg.building.readers.compression import ERRORS, LONGEST_BYTES, for_pandas, open_text
from datapkg.building.readers.json_values import distinct, finite
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    import pandas

    from datapkg.building.readers.records import Numbered

_FIRST_BYTES = 65_536
_RECORDS = re.compile(rb"\s*\[\s*\{")
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+\-\w])-?[0-9]{16,}(?![0-9.eE])")
_EXACT = 2**53  # up to here, a float holds every integer
_SPACES = re.compile(r"[ \t\n\r]*")
# Perhaps a number beyond the floats, which Python's decoder takes for an infinity.
_HUGE = re.compile(r"[0-9][eE]\+?[0-9]{3}")
_HUGE_LENGTH = 64
# The text of one read, which is held in memory.
_READ_CHARS = 1 << 20


def begins_with_records(path: Path) -> bool:
    """Return whether a JSON file begins like a list of records: `[{`."""
    try:
        with open_text(path) as stream:
            return _RECORDS.match(stream.read(_FIRST_BYTES).removeprefix(codecs.BOM_UTF8)) is not None
    except ERRORS:
        return False


def json(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return the table of a list of records."""
    return _by_pandas(path, kwargs) if kwargs else _stream(partial(_listed, path))


def jsonl(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return the table of one record per line; empty lines are skipped."""
    if kwargs:
        return _by_pandas(path, {"lines": True, **kwargs})
    from datapkg.building.readers.json_lines import JsonLines

    return JsonLines(path)


def _listed(path: Path) -> Iterator[Numbered]:
    """Yield the elements of a list, each decoded once its text is read, so that memory holds little more than one."""
    with open_text(path) as stream:
        encoding = json_library.detect_encoding(stream.peek(4)[:4])  # type: ignore[attr-defined]
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        yield from _elements(_Window(text))


def _elements(window: _Window) -> Iterator[Numbered]:
    if window.skip() != "[":
        raise InvalidInput("a table is a list of records, [{…}, …]")
    window.at += 1
    following = window.skip()
    for number in itertools.count(1):
        if following == "]":
            break
        before = window.at
        value = window.decode()
        yield number, max(window.at - before, 0), value
        following = window.skip()
        if following not in ("]", ","):
            got = quoted(following) if following else "the end"
            raise InvalidInput(f"expecting ',' or ']' behind record {number}, got {got}")
        window.at += following == ","
    window.at += 1
    if window.skip():
        raise InvalidInput("there is text behind the list")


class _Window:
    """A window over a long text that is extended when needed; text before `at` is discarded."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at, self.ended = stream, "", 0, False
        self._decoder = json_library.JSONDecoder(object_pairs_hook=distinct)

    def more(self) -> bool:
        """Double the window, so that long values are decoded few times; return False at the end of the text."""
        size = max(_READ_CHARS, len(self.text) - self.at)
        if size > LONGEST_BYTES:
            raise InvalidInput(f"a record is longer than {LONGEST_BYTES >> 20} MiB")
        found = self.stream.read(size)
        before = len(self.text) - self.at
        self.text, self.at = self.text[self.at :] + found, 0
        if _HUGE.search(self.text, max(0, before - _HUGE_LENGTH)):
            self._decoder = json_library.JSONDecoder(object_pairs_hook=distinct, parse_float=finite)
        self.ended = not found
        return bool(found)

    def skip(self) -> str:
        """Return the next non-blank character; "" at the end."""
        while True:
            found = _SPACES.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def decode(self) -> Any:
        """Return the value that begins at the current position."""
        self.skip()
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.at)
            except InvalidInput:
                raise
            except ValueError:
                if not self.more():
                    raise
                continue
            # A number at the end of the window may continue.
            if end < len(self.text) or not self.more():
                self.at = end
                return value


def _by_pandas(path: Path, kwargs: dict[str, Any]) -> Any:
    import pandas

    from datapkg.tables.frame_to_arrow import dtype_kwarg, table_from_frame

    with for_pandas(path, kwargs) as (source, options):
        # By default, pandas' parser changes the last digit of every second float.
        frame = pandas.read_json(source, **{"precise_float": True, **options})
    _refuse_rounded(path, kwargs, frame)
    return table_from_frame(frame, dtype_kwarg)


def _refuse_rounded(path: Path, kwargs: dict[str, Any], frame: pandas.DataFrame) -> None:
    """Raise `InvalidInput` for numbers that pandas may have rounded: beside nulls, it makes floats of integers."""
    labels = [label for at, label in enumerate(frame.columns) if _is_perhaps_rounded(frame.iloc[:, at])]
    if not labels:
        return
    with for_pandas(path, kwargs) as (source, _):
        text: Any = source.read() if hasattr(source, "read") else Path(source).read_bytes()
    if _LONG_INTEGER.search(text if isinstance(text, bytes) else text.encode()):
        raise InvalidInput(
            f"column {quoted(labels[0])} holds integers above 2^53 and other values; read_json of pandas rounds them",
            hint="leave out its kwargs: then integers are exact beside nulls too",
            column=str(labels[0]),
        )


def _is_perhaps_rounded(values: pandas.Series) -> bool:
    import pandas

    if values.dtype == "str":
        return bool(values.str.fullmatch(r"-?([0-9]{16,}\.0|[0-9](\.[0-9]+)?e\+[0-9]+)").any())
    if not pandas.api.types.is_numeric_dtype(values.dtype) or pandas.api.types.is_bool_dtype(values.dtype):
        return False
    is_float = pandas.api.types.is_float_dtype(values.dtype)
    return bool((is_float or values.hasnans) and (values.dropna().abs() >= _EXACT).any())


def _stream(read: Callable[[], Iterator[Numbered]]) -> Any:
    from datapkg.building.readers.records import Records, record_groups

    return Records(lambda: record_groups(read(), "record"))
