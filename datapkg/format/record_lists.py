"""The long lists of a build record as an object: a record of 200,000 sources is neither one request nor one log file.

The object is JSON Lines, `["sources",{…}]` for each element, compressed as consecutive gzip members (RFC 1952, so
`zcat` reads it). A member ends behind lines chosen by a hash of their own bytes, a longer line more likely: equal lines
give equal members wherever they are, so the next record transfers only what changed in it (`objects/chunking.py`).
`rules` and `checks` come first, since a registry reads nothing else. In the record, `lists` has the lengths of the
lists that were moved.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from datapkg.errors import QuotaExceeded

if TYPE_CHECKING:
    from typing import BinaryIO

LISTS = "lists"
CHECK_LISTS = ("rules", "checks")
MIN_LIST_BYTES = 32 << 10
"""A shorter list stays in the record."""
_MEMBER_BYTES = 64 << 10
_GZIP = 16 + zlib.MAX_WBITS


def split_record(record: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return a record without its long lists, and the object that has these; the record itself and b"" without any."""
    from msgspec.json import encode

    lists = {key: value for key, value in record.items() if isinstance(value, Sequence) and not isinstance(value, str)}
    keys = [key for key, value in lists.items() if _is_long(map(len, map(encode, value)))]
    if not keys:
        return dict(record), b""
    keys.sort(key=lambda key: CHECK_LISTS.index(key) if key in CHECK_LISTS else len(CHECK_LISTS))
    lines = (encode([key, element]) + b"\n" for key in keys for element in lists[key])
    short = {key: value for key, value in record.items() if key not in keys}
    return {**short, LISTS: {key: len(lists[key]) for key in keys}}, b"".join(_members(lines))


def _is_long(sizes: Iterable[int]) -> bool:
    """Return whether elements of these sizes make a list that is moved; of a long one, few are looked at."""
    return any(size > MIN_LIST_BYTES for size in accumulate(size + 1 for size in sizes))


def _members(lines: Iterable[bytes]) -> Iterator[bytes]:
    member: list[bytes] = []
    for line in lines:
        member.append(line)
        # As likely as the line is long, so that a member has 64 KiB of text on average.
        if zlib.crc32(line) * _MEMBER_BYTES < len(line) << 32:
            yield zlib.compress(b"".join(member), wbits=_GZIP)
            member.clear()
    if member:
        yield zlib.compress(b"".join(member), wbits=_GZIP)


def read_lists(
    stream: BinaryIO, keys: Collection[str] | None = None, max_bytes: int | None = None
) -> dict[str, list[Any]]:
    """Return the lists of an object, or only those of `keys`, which must be the first ones in it.

    Raise `QuotaExceeded` beyond `max_bytes` of text, `ValueError` if it is not such an object.
    """
    from msgspec import DecodeError
    from msgspec.json import decode

    lists: dict[str, list[Any]] = {}
    left = max_bytes
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            # One byte more than allowed, so that a longer text is noticed; a line of any length is not read whole.
            while line := file.readline(-1 if left is None else left + 1):
                if left is not None and (left := left - len(line)) < 0:
                    raise QuotaExceeded(f"the lists of the record have more than {max_bytes:,} bytes", limit=max_bytes)
                key, element = decode(line)
                # They come first, so the rest need not be decompressed.
                if keys is not None and key not in keys:
                    break
                lists.setdefault(key, []).append(element)
    except (DecodeError, EOFError, gzip.BadGzipFile, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"not the lists of a record: {error}") from error
    return lists


class Record(Mapping[str, Any]):
    """A build record; the lists that were moved to an object are read when one of them is first used."""

    def __init__(self, short: Mapping[str, Any], read: Callable[[], Mapping[str, list[Any]]]) -> None:
        moved = short.get(LISTS)
        self._short = {key: value for key, value in short.items() if key != LISTS}
        self._moved = list(moved) if isinstance(moved, dict) else []
        self._read = read
        self._lists: Mapping[str, list[Any]] | None = None

    def __getitem__(self, key: str) -> Any:
        if key in self._short or key not in self._moved:
            return self._short[key]
        if self._lists is None:
            self._lists = self._read()
        return self._lists.get(key, [])

    def __contains__(self, key: object) -> bool:
        return key in self._short or key in self._moved

    def __iter__(self) -> Iterator[str]:
        return iter([*self._short, *self._moved])

    def __len__(self) -> int:
        return len(self._short) + len(self._moved)
