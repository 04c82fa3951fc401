"""Canonical JSON: the only way to write a value, so that equal values have equal bytes (after RFC 8785).

Keys are sorted by UTF-8 bytes; there are no spaces; floats are written as in ECMAScript. NaN, infinities, integers
beyond 2^53 and anything else that JSON lacks are `InvalidInput`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from datapkg.errors import InvalidInput

MAX_INTEGER = 1 << 53
"""Beyond it, readers of JSON whose numbers are doubles lose digits."""
MAX_NESTING = 64
MAX_META_BYTES = 512 << 10
_PLACE_CHARS = 300
_encoder = msgspec.json.Encoder(order="sorted")


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value (including msgspec structs, which must not contain floats)."""
    return _encoder.encode(value)


def encode_lines(values: Iterable[Any]) -> bytes:
    """Return the canonical bytes of many values, each followed by a newline."""
    return _encoder.encode_lines(values)


def check_metadata(value: Any, where: str = "meta") -> Any:
    """Return metadata as plain JSON values; raise `InvalidInput` with the place of a value that JSON lacks."""
    return _walk(value, where, 0, encode_floats=False)


def prepare(value: Any, where: str = "meta") -> Any:
    """Return metadata ready for `encode`: floats are replaced by their ECMAScript text."""
    return _walk(value, where, 0, encode_floats=True)


def _walk(value: Any, where: str, depth: int, encode_floats: bool) -> Any:
    if depth > MAX_NESTING:
        raise InvalidInput(f"{where[:200]}: metadata is nested deeper than {MAX_NESTING}")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value, where)
        # A subclass, such as numpy's, becomes a plain value, here and below.
        return str(value)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise InvalidInput(f"{where}: {value} is beyond 2^53; write it as text, or as a float")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{where}: {value} is not a JSON number; leave it out or write it as text")
        return msgspec.Raw(float_text(value).encode()) if encode_floats else float(value)
    # Otherwise a long key before many values would be copied for each of them.
    where = where if len(where) <= _PLACE_CHARS else f"{where[:_PLACE_CHARS]}…"
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInput(f"{where}: key {key!r} is not text; metadata keys are text")
            _check_text(key, where)
        return {key: _walk(each, f"{where}.{key}", depth + 1, encode_floats) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(each, f"{where}[{i}]", depth + 1, encode_floats) for i, each in enumerate(value)]
    raise InvalidInput(
        f"{where}: {type(value).__name__} is not a JSON value; metadata is text, numbers, lists and mappings"
    )


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{where}: {text[:40]!r} is not valid Unicode") from None


def widen_integers(value: Any) -> Any:
    """Return integers beyond 2^53, which only a float can have written, as floats."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return float(value)
    if isinstance(value, dict):
        return {key: widen_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [widen_integers(each) for each in value]
    return value


def float_text(value: float) -> str:
    """Return a finite float as ECMAScript's Number::toString writes it (ECMA-262, 6.1.6.1.20)."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if power > 0 else '-'}{abs(power)}"
