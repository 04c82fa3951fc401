"""Ranges and conditions of requests for immutable bytes (RFC 9110)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*\Z")


@dataclass(frozen=True)
class RequestedRange:
    """The bytes to send: all, a range, none since the client has them, or none since the range is beyond the end."""

    kind: Literal["whole", "part", "unchanged", "unsatisfiable"]
    start: int
    stop: int


def wanted_part(
    hash: str, size: int, *, range: str | None, if_range: str | None, if_none_match: str | None
) -> RequestedRange:
    """Return what to send by the headers of these names; several ranges, or a malformed one, mean the whole."""
    tag = etag(hash)
    if if_none_match is not None:
        # This header compares weakly (RFC 9110, 13.1.2), `If-Range` does not.
        known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
        if "*" in known or tag in known:
            return RequestedRange("unchanged", 0, 0)
    whole = RequestedRange("whole", 0, size)
    if range is None or (if_range is not None and if_range.strip() != tag):
        return whole
    match = _RANGE.match(range)
    if match is None or match.group(1) == match.group(2) == "":
        return whole
    first, last = match.groups()
    if first == "":
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return whole
    if start >= size or start >= stop:
        return RequestedRange("unsatisfiable", 0, 0)
    return RequestedRange("part", start, stop)


def etag(hash: str) -> str:
    """Return the strong entity tag of bytes with this hash."""
    return f'"{hash}"'
