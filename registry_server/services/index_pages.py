"""Pages of the Python package index in pieces, so that a change of a package costs what it adds.

The page of a package with 10,000 versions has 20,000 wheels in 10 MB. Its pieces have some hundred wheels each, and do
not depend on each other, not even compressed. A page takes from the one before it the pieces that show the same.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TypeAlias

from datapkg.format import simple_index
from datapkg.format.simple_index import IndexFile

# The versions of some wheels, each with the reason why it is yanked, or None.
Shown: TypeAlias = tuple[tuple[str, str | None], ...]
# What a page has of them: the lines of HTML, or their versions and files as elements of two JSON lists.
Rows: TypeAlias = tuple[bytes, ...]

WHEELS_PER_PIECE = 500
ZIP_FROM_BYTES = 4 << 10
# RFC 1952, without name and time, so that equal pages have equal bytes.
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
_RAW_DEFLATE = -15
_LAST_BLOCK = b"\x03\0"  # an empty one


@dataclass(frozen=True)
class IndexPage:
    """A page in pieces, its sha256, and its length in bytes.

    `deflated` has each piece compressed, and `checksum` is the CRC-32 of the page. `rows` is what it has for which
    wheels, where all of them are built, by the version of the first.
    """

    pieces: Sequence[bytes]
    sha256: str
    size: int
    deflated: Mapping[bytes, bytes]
    checksum: int
    rows: Mapping[str, tuple[Shown, Rows]]

    @property
    def body(self) -> bytes:
        """The page."""
        return b"".join(self.pieces)

    @property
    def is_long(self) -> bool:
        """Whether it is worth compressing."""
        return self.size >= ZIP_FROM_BYTES

    @property
    def zipped(self) -> bytes:
        """The page compressed by gzip, as one member, since some clients read no second one."""
        end = self.checksum.to_bytes(4, "little") + (self.size & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join([_GZIP_HEAD, *(self.deflated[each] for each in self.pieces), _LAST_BLOCK, end])


class NewestPages:
    """The newest page of each project in each form; the last `keep` that were used are kept."""

    def __init__(self, keep: int) -> None:
        self._keep, self._lock = keep, Lock()
        self._pages: OrderedDict[str, tuple[str, IndexPage]] = OrderedDict()

    def find(self, name: str, key: str | None = None) -> IndexPage | None:
        """Return the page under this name, with a key only if it was kept with the same."""
        with self._lock:
            kept_key, page = self._pages.get(name, (None, None))
            if page is not None:
                self._pages.move_to_end(name)
            return page if key in (None, kept_key) else None

    def keep(self, name: str, key: str, page: IndexPage) -> None:
        """Replace the page under this name."""
        with self._lock:
            self._pages[name] = key, page
            self._pages.move_to_end(name)
            while len(self._pages) > self._keep:
                self._pages.popitem(last=False)


def in_pieces(wheels: Iterable[tuple[str, str | None]]) -> list[Shown]:
    """Return wheels in the pieces of a page; where one is added at the end, all pieces but the last stay."""
    left = iter(wheels)
    return list(iter(lambda: tuple(islice(left, WHEELS_PER_PIECE)), ()))


def write_project(
    project: str,
    shown: Sequence[Shown],
    find: Callable[[Shown], Mapping[str, IndexFile]],
    *,
    as_json: bool,
    before: IndexPage | None,
) -> IndexPage:
    """Return the page of a project after the page before; `find` returns the files, by version, that are built."""
    known = before.rows if before else {}
    complete: dict[str, tuple[Shown, Rows]] = {}
    written: list[Rows] = []
    for each in shown:
        first = each[0][0]
        same, rows = known.get(first, ((), ()))
        if same != each:
            files = find(each)
            rows = _rows([files[name]._replace(yanked=yanked) for name, yanked in each if name in files], as_json)
        if same == each or len(files) == len(each):
            complete[first] = each, rows
        if rows:
            written.append(rows)
    if as_json:
        pieces = simple_index.json_page(project, [(versions, rest) for versions, rest in written])
    else:
        pieces = simple_index.html_page(project, [lines for (lines,) in written])
    return page_of(pieces, before, complete)


def _rows(files: Sequence[IndexFile], as_json: bool) -> Rows:
    if not files:
        return ()
    return simple_index.json_rows(files) if as_json else (simple_index.html_rows(files),)


def page_of(
    pieces: Sequence[bytes], before: IndexPage | None = None, rows: Mapping[str, tuple[Shown, Rows]] | None = None
) -> IndexPage:
    """Return a page of these pieces; those that the page before has are not compressed again."""
    known = before.deflated if before else {}
    whole, checksum = hashlib.sha256(), 0
    for each in pieces:
        whole.update(each)
        checksum = zlib.crc32(each, checksum)
    deflated = {each: known.get(each) or _deflate(each) for each in pieces}
    return IndexPage(pieces, whole.hexdigest(), sum(map(len, pieces)), deflated, checksum, rows or {})


def _deflate(data: bytes) -> bytes:
    """Return data as whole bytes in the middle of a DEFLATE stream, which refer to nothing before them."""
    stream = zlib.compressobj(level=1, wbits=_RAW_DEFLATE)
    return stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)
