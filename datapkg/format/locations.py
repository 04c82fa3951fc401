"""Where the objects of a state are in a registry without a server, so that nothing is listed or searched to read it.

A file is: magic; 8 bytes each of the number of the state's entry in the log (0 while it is being pushed), the size of
the manifest, that of all objects, and the counts of bases, packs and entries; the bases and the packs, 32 bytes of
sha256 each; the entries sorted by hash (32 bytes of sha256, 4 of pack, 8 of offset, 8 of size); the sha256 of all this.
Integers are little-endian. A base is another state of the package whose file is searched too, so that a small change of
a package with many objects writes a small file. The file is derived: what it states is verified by the object's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from datapkg.errors import CorruptObject

MAGIC = b"dplocat1"
WHOLE, RECIPE = "whole", "recipe"
# Instead of the number of a pack; no file has so many.
_SPECIAL = {0xFFFFFFFF: WHOLE, 0xFFFFFFFE: RECIPE}
_HEAD_BYTES = len(MAGIC) + 6 * 8
_ENTRY_BYTES = 52
MAX_BYTES = 1 << 60
"""No file is longer; beyond, systems cannot even be asked."""


class ObjectLocation(NamedTuple):
    """`pack` is the hash of a pack, `WHOLE` for a file of the object's own, or `RECIPE`; `size` is the object's."""

    pack: str
    offset: int
    size: int


@dataclass(frozen=True)
class StateLocations:
    """The file of one state, read; `find` searches it without making an object of every entry."""

    number: int
    manifest_size: int
    bytes_logical: int
    bases: Sequence[str]
    packs: Sequence[str]
    entries: bytes

    def find(self, hash: str) -> ObjectLocation | None:
        """Return where an object is, None if this file does not list it."""
        digest = bytes.fromhex(hash)
        low, high = 0, len(self.entries) // _ENTRY_BYTES
        while low < high:
            middle = (low + high) // 2
            at = middle * _ENTRY_BYTES
            here = self.entries[at : at + 32]
            if here == digest:
                return self._location(at)
            low, high = (middle + 1, high) if here < digest else (low, middle)
        return None

    def __iter__(self) -> Iterator[tuple[str, ObjectLocation]]:
        for at in range(0, len(self.entries), _ENTRY_BYTES):
            yield self.entries[at : at + 32].hex(), self._location(at)

    def _location(self, at: int) -> ObjectLocation:
        pack, offset, size = (
            int.from_bytes(self.entries[start:stop], "little")
            for start, stop in ((at + 32, at + 36), (at + 36, at + 44), (at + 44, at + 52))
        )
        if pack >= len(self.packs) and pack not in _SPECIAL:
            raise CorruptObject("a file of locations names a pack that it does not list")
        if max(offset, size) > MAX_BYTES:
            raise CorruptObject(f"a file of locations has an object at {offset:,} of {size:,} bytes")
        return ObjectLocation(_SPECIAL.get(pack) or self.packs[pack], offset, size)


def encode_locations(
    found: Mapping[str, ObjectLocation],
    *,
    number: int = 0,
    manifest_size: int = 0,
    bytes_logical: int = 0,
    bases: Sequence[str] = (),
) -> bytes:
    """Return the bytes of a file with these objects, by hash."""
    packs = sorted({each.pack for each in found.values()} - {WHOLE, RECIPE})
    numbers = {name: number for number, name in _SPECIAL.items()} | {pack: at for at, pack in enumerate(packs)}
    counts = (number, manifest_size, bytes_logical, len(bases), len(packs), len(found))
    rows = (
        bytes.fromhex(hash)
        + numbers[each.pack].to_bytes(4, "little")
        + each.offset.to_bytes(8, "little")
        + each.size.to_bytes(8, "little")
        for hash, each in sorted(found.items())
    )
    body = b"".join([MAGIC, *(count.to_bytes(8, "little") for count in counts), *_hashes([*bases, *packs]), *rows])
    return body + hashlib.sha256(body).digest()


def _hashes(hashes: Iterable[str]) -> Iterator[bytes]:
    return map(bytes.fromhex, hashes)


def decode_locations(data: bytes) -> StateLocations:
    """Return a file that was read; raise `CorruptObject` for one that is damaged."""
    body = data[:-32]
    if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != data[-32:]:
        raise CorruptObject("a file of locations is damaged")
    number, manifest_size, bytes_logical, bases, packs, entries = (
        int.from_bytes(body[at : at + 8], "little") for at in range(len(MAGIC), _HEAD_BYTES, 8)
    )
    at = _HEAD_BYTES + 32 * (bases + packs)
    if len(body) != at + _ENTRY_BYTES * entries:
        raise CorruptObject("a file of locations is damaged")
    hashes = [body[start : start + 32].hex() for start in range(_HEAD_BYTES, at, 32)]
    return StateLocations(number, manifest_size, bytes_logical, hashes[:bases], hashes[bases:], body[at:])
