"""The objects of a package of very many: hash to size in bytes, in a fifth of the memory that a dict takes."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, ItemsView, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, islice
from typing import Any, TypeVar

from datapkg.errors import InvalidManifest
from datapkg.format.hashing import is_hash

MANY = 1 << 16
"""Fewer objects are a dict: numpy, which sorts the others, takes longer to load."""
AT_ONCE = 1 << 14
"""How many hashes are text at a time: in a request about as many, registry and client need 30 MB for."""
_BYTES = 32
_S = TypeVar("_S")


class ObjectSizes(Mapping[str, int]):
    """Objects in order, each once: hash to size in bytes. It is used like a dict, and never changes.

    It takes 52 bytes for each object: its digest, its size, and for the search the first 8 bytes of all digests in
    order, with the number of each.
    """

    def __init__(self, digests: bytes | bytearray, sizes: array[int]) -> None:
        """Take the 32 bytes of each hash, and its size; an object that is named again counts once.

        Raise `InvalidManifest` if it is named with two different sizes.
        """
        import numpy as np

        # Texts of 32 bytes are sorted without a copy. Those with zeros at their end are equal only if all bytes are.
        order = np.argsort(np.frombuffer(digests, "S32"), kind="stable").astype(np.uint32)
        if repeated := _repeats(digests, sizes, order):
            kept = np.ones(len(sizes), bool)
            kept[repeated] = False
            digests, sizes = _chosen(digests, sizes, kept)
            order = np.argsort(np.frombuffer(digests, "S32"), kind="stable").astype(np.uint32)
        self._digests, self._sizes = digests, sizes
        self._order = order.data
        first = np.frombuffer(digests, ">u8")[:: _BYTES // 8][order]
        self._keys: memoryview = first.astype(np.uint64).data

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[str]:
        return map(self._hash, range(len(self._sizes)))

    def __getitem__(self, hash: str) -> int:
        number = self._number(hash)
        if number is None:
            raise KeyError(hash)
        return self._sizes[number]

    def __contains__(self, hash: object) -> bool:
        return self._number(hash) is not None

    def items(self) -> ItemsView[str, int]:
        """Return the hashes with their sizes."""
        return _SizeItems(self)

    def values(self) -> ValuesView[int]:
        """Return the sizes."""
        return _SizeValues(self)

    def lacking(self, missing: Callable[[Sequence[str]], Collection[str]]) -> ObjectSizes:
        """Return those of which `missing` returns the hashes; it is called with some at a time, in order of the hashes.

        So that whoever has sorted hashes finds those of one call together.
        """
        import numpy as np

        lacking = np.zeros(len(self), bool)
        for start in range(0, len(self), AT_ONCE):
            numbers = self._order[start : start + AT_ONCE]
            asked = [self._hash(number) for number in numbers]
            if absent := missing(asked):
                for number, hash in zip(numbers, asked, strict=True):
                    lacking[number] = hash in absent
        return self if lacking.all() else ObjectSizes(*_chosen(self._digests, self._sizes, lacking))

    def ordered(self) -> Iterator[tuple[str, int]]:
        """Yield the objects with their sizes, in the order of their hashes."""
        for number in self._order:
            yield self._hash(number), self._sizes[number]

    def _hash(self, number: int) -> str:
        return self._digests[number * _BYTES : (number + 1) * _BYTES].hex()

    def _number(self, hash: object) -> int | None:
        if not is_hash(hash):
            return None
        digest = bytes.fromhex(str(hash))
        key = int.from_bytes(digest[:8], "big")
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            number: int = self._order[at]
            if self._digests[number * _BYTES : (number + 1) * _BYTES] == digest:
                return number
            at += 1
        return None


class SizesCollector:
    """Collect objects: a few as a dict, many as `ObjectSizes`."""

    def __init__(self, *, is_long: bool) -> None:
        self._few: dict[str, int] | None = None if is_long else {}
        self._digests, self._sizes = bytearray(), array("Q")

    def add(self, hashes: Sequence[str], sizes: Sequence[int]) -> None:
        """Add objects; those that were added before are skipped."""
        if self._few is not None:
            self._few |= zip(hashes, sizes, strict=True)
        else:
            self._digests += bytes.fromhex("".join(hashes))
            self._sizes.extend(sizes)

    def add_all(self, sizes: Mapping[str, int]) -> None:
        """Add all objects of a mapping."""
        if self._few is None and isinstance(sizes, ObjectSizes):
            self._digests += sizes._digests
            self._sizes.extend(sizes._sizes)
            return
        for some in in_groups(sizes):
            self.add(list(some), list(some.values()))

    def collected(self) -> Mapping[str, int]:
        """Return all of them; raise `InvalidManifest` if one of many was added with different sizes."""
        return ObjectSizes(self._digests, self._sizes) if self._few is None else self._few


def joined(*parts: Mapping[str, int]) -> Mapping[str, int]:
    """Return all objects of several mappings, each once, in order."""
    filled = [part for part in parts if part]
    if len(filled) == 1:
        return filled[0]
    many = [part for part in filled if isinstance(part, ObjectSizes)]
    few = [part for part in filled if not isinstance(part, ObjectSizes)]
    if len(many) == 1 and sum(map(len, few)) < MANY:
        return _WithFew({hash: size for part in few for hash, size in part.items()}, many[0])
    collector = SizesCollector(is_long=sum(map(len, filled)) >= MANY)
    for part in filled:
        collector.add_all(part)
    return collector.collected()


def lacking(wanted: Mapping[str, int], missing: Callable[[Sequence[str]], Collection[str]]) -> Mapping[str, int]:
    """Return the objects whose hashes `missing` returns, in order; of very many it gets some at a time."""
    if isinstance(wanted, (ObjectSizes, _WithFew)):
        return wanted.lacking(missing)
    absent = missing(list(wanted))
    return {hash: size for hash, size in wanted.items() if hash in absent}


def missing_among(hashes: Collection[str], missing: Callable[[Sequence[str]], Collection[str]]) -> set[str]:
    """Return those hashes that `missing` returns; of very many it gets some at a time, in order."""
    if len(hashes) <= AT_ONCE:
        return set(missing(list(hashes))) if hashes else set()
    ordered = sorted(hashes)
    groups = (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))
    return {hash for group in groups for hash in missing(group)}


def in_groups(sizes: Mapping[str, _S]) -> Iterator[dict[str, _S]]:
    """Yield objects in groups of at most `AT_ONCE`, in order."""
    items = iter(sizes.items())
    while some := dict(islice(items, AT_ONCE)):
        yield some


def in_order_of_hashes(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield objects in groups of at most `AT_ONCE`, in the order of their hashes, as tables are stored."""
    ordered = sizes.ordered() if isinstance(sizes, ObjectSizes) else iter(sorted(sizes.items()))
    while some := dict(islice(ordered, AT_ONCE)):
        yield some


class _WithFew(Mapping[str, int]):
    """A few objects, then very many, without a copy of these."""

    def __init__(self, few: dict[str, int], many: ObjectSizes) -> None:
        """Raise `InvalidManifest` if an object of the few has another size among the many."""
        for hash, size in few.items():
            if many.get(hash, size) != size:
                raise InvalidManifest(f"object {hash} has two different sizes")
        self._few = {hash: size for hash, size in few.items() if hash not in many}
        self._many = many

    def __len__(self) -> int:
        return len(self._few) + len(self._many)

    def __iter__(self) -> Iterator[str]:
        return chain(self._few, self._many)

    def __getitem__(self, hash: str) -> int:
        return self._few[hash] if hash in self._few else self._many[hash]

    def items(self) -> ItemsView[str, int]:
        """Return the hashes with their sizes."""
        return _ChainedItems(self)

    def values(self) -> ValuesView[int]:
        """Return the sizes."""
        return _ChainedValues(self)

    def lacking(self, missing: Callable[[Sequence[str]], Collection[str]]) -> Mapping[str, int]:
        """Return those of which `missing` returns the hashes."""
        return joined(lacking(self._few, missing) if self._few else {}, self._many.lacking(missing))


class _ChainedItems(ItemsView[str, int]):
    _mapping: _WithFew

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return chain(self._mapping._few.items(), self._mapping._many.items())


class _ChainedValues(ValuesView[int]):
    _mapping: _WithFew

    def __iter__(self) -> Iterator[int]:
        return chain(self._mapping._few.values(), self._mapping._many.values())


class _SizeItems(ItemsView[str, int]):
    _mapping: ObjectSizes

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._mapping, self._mapping._sizes, strict=True)


class _SizeValues(ValuesView[int]):
    _mapping: ObjectSizes

    def __iter__(self) -> Iterator[int]:
        return iter(self._mapping._sizes)


def _repeats(digests: bytes | bytearray, sizes: array[int], order: Any) -> list[int]:
    """Return the numbers of objects that were named before; raise `InvalidManifest` for another size."""
    import numpy as np

    found: list[int] = []
    rows = np.frombuffer(digests, "S32")
    for start in range(0, len(order) - 1, AT_ONCE):
        some = order[start : start + AT_ONCE + 1]
        here = rows[some]
        # Of equal digests, the order is that of their numbers, so the first one is kept.
        for at in np.flatnonzero(here[1:] == here[:-1]).tolist():
            number, before = int(some[at + 1]), int(some[at])
            if sizes[number] != sizes[before]:
                hash = digests[number * _BYTES : (number + 1) * _BYTES].hex()
                raise InvalidManifest(f"object {hash} has two different sizes")
            found.append(number)
    return found


def _chosen(digests: bytes | bytearray, sizes: array[int], kept: Any) -> tuple[bytes, array[int]]:
    import numpy as np

    chosen = array("Q")
    chosen.frombytes(np.frombuffer(sizes, np.uint64)[kept].tobytes())
    return np.frombuffer(digests, np.uint8).reshape(-1, _BYTES)[kept].tobytes(), chosen
