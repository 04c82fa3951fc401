"""The objects of a package of very many: hash to size in bytes, in a fifth of the memory that a dict takes."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, islice
from typing import Any, TypeVar, cast

from datapkg.errors import InvalidManifest
from datapkg.format.hashing import is_hash

MANY = 1 << 16
"""Fewer objects are a dict: numpy, which sorts the others, takes longer to load."""
AT_ONCE = 1 << 14
"""How many hashes are text at a time: in a request about as many, registry and client need 30 MB for."""
_BYTES = 32
_S = TypeVar("_S")
_C = TypeVar("_C", bound=Iterable[str])


class CompactSizes(Mapping[str, int]):
    """Very many objects: hash to size in bytes."""

    @property
    def parts(self) -> list[Mapping[str, int]]:
        """Return what it consists of, which have no object in common."""
        return [self]

    @abstractmethod
    def lacking(self, missing: Callable[[Sequence[str]], Collection[str]]) -> Mapping[str, int]:
        """Return those of which `missing` returns the hashes; it is called with some at a time."""


class ObjectSizes(CompactSizes):
    """Objects in order, each once: hash to size in bytes. It is used like a dict, and never changes.

    It takes 52 bytes for each object: its digest, its size, and for the search the first 8 bytes of all digests in
    order, with the number of each.
    """

    def __init__(self, digests: bytes | bytearray, sizes: array[int]) -> None:
        """Take the 32 bytes of each hash, and its size; an object that is named again counts once.

        Raise `InvalidManifest` if it is named with two different sizes.
        """
        import numpy as np

        order = _order(digests)
        repeated = array("I")
        for number, before in _repeats(digests, order):
            if sizes[number] != sizes[before]:
                hash = digests[number * _BYTES : (number + 1) * _BYTES].hex()
                raise InvalidManifest(f"object {hash} has two different sizes")
            repeated.append(number)
        if repeated:
            digests, sizes = _chosen(digests, sizes, _all_but(repeated, len(sizes)))
            order = _order(digests)
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
        return self._of(lacking)

    def among(self, others: Iterable[Iterable[str]], *, is_in: bool = True) -> ObjectSizes:
        """Return those that are in any of the others or, without `is_in`, in none."""
        import numpy as np

        found = np.zeros(len(self), bool)
        for other in others:
            for numbers in self._numbers(other):
                found[numbers] = True
        return self._of(found if is_in else ~found)

    def numbers(self, other: Iterable[str]) -> Iterator[int]:
        """Yield the numbers of those that are in the other too, in any order."""
        return chain.from_iterable(each.tolist() for each in self._numbers(other))

    def _numbers(self, other: Iterable[str]) -> Iterator[Any]:
        """Yield the same as arrays, some thousand at a time."""
        import numpy as np

        for part in parts_of(other):
            if isinstance(part, ObjectSizes):
                yield from self._common(part)
            else:
                for some in _some(part):
                    yield np.array([at for hash in some if (at := self._number(hash)) is not None], np.uint32)

    def _common(self, other: ObjectSizes) -> Iterator[Any]:
        """Yield the numbers of the common ones; both are in order, so the longer one is read from end to end once."""
        import numpy as np

        one, two = (self, other) if len(self) < len(other) else (other, self)
        rows_one, rows_two = (np.frombuffer(each._digests, f"S{_BYTES}") for each in (one, two))
        keys_two, order_two = np.asarray(two._keys), np.asarray(two._order)
        for start in range(0, len(one), AT_ONCE):
            keys = np.asarray(one._keys[start : start + AT_ONCE])
            here = np.asarray(one._order[start : start + AT_ONCE])
            at = np.minimum(np.searchsorted(keys_two, keys), len(two) - 1)
            there = order_two[at]
            is_same = rows_two[there] == rows_one[here]
            # Others may begin with the same bytes, by chance or on purpose: the first of them need not be the one.
            for number in np.flatnonzero(~is_same & (keys_two[at] == keys)).tolist():
                if (found := two._number(one._hash(here[number]))) is not None:
                    there[number], is_same[number] = found, True
            yield (here if one is self else there)[is_same]

    def _of(self, chosen: Any) -> ObjectSizes:
        return self if chosen.all() else ObjectSizes(*_chosen(self._digests, self._sizes, chosen))

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
    """Collect objects in compact form; in the end, a few are a dict, many are `ObjectSizes`."""

    def __init__(self) -> None:
        self._digests, self._sizes = bytearray(), array("Q")

    def add(self, hashes: Iterable[str], sizes: Iterable[int]) -> None:
        """Add objects, as many hashes as sizes."""
        self.add_digests(map(bytes.fromhex, hashes), sizes)

    def add_digests(self, digests: Iterable[bytes], sizes: Iterable[int]) -> None:
        """Add objects by the 32 bytes of their hashes."""
        for some in _some(digests):
            self._digests += b"".join(some)
        self._sizes.extend(sizes)

    def add_all(self, sizes: Mapping[str, int]) -> None:
        """Add all objects of a mapping."""
        for part in parts_of(sizes):
            if isinstance(part, ObjectSizes):
                self._digests += part._digests
                self._sizes.extend(part._sizes)
            else:
                self.add(part, part.values())

    def collected(self) -> Mapping[str, int]:
        """Return each object once; raise `InvalidManifest` if one of many was added with different sizes."""
        if len(self._sizes) >= MANY:
            return ObjectSizes(self._digests, self._sizes)
        return dict(zip(_texts(self._digests), self._sizes, strict=True))

    def with_repeated(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return each object once with the largest of its sizes, and those of them that were added more than once."""
        if len(self._sizes) < MANY:
            found, several = dict[str, int](), set[str]()
            for hash, size in zip(_texts(self._digests), self._sizes, strict=True):
                several |= {hash} & found.keys()
                found[hash] = max(size, found.get(hash, 0))
            return found, {hash: found[hash] for hash in several}
        again, first = array("I"), array("I")
        for number, before in _repeats(self._digests, _order(self._digests)):
            # Of equal ones, each but the first follows another one.
            first.append(first[-1] if again and again[-1] == before else before)
            again.append(number)
            self._sizes[first[-1]] = max(self._sizes[first[-1]], self._sizes[number])
        if not again:
            return self.collected(), {}
        once = _all_but(again, len(self._sizes))
        repeated = ObjectSizes(*_chosen(self._digests, self._sizes, ~_all_but(first, len(self._sizes))))
        return ObjectSizes(*_chosen(self._digests, self._sizes, once)), repeated


def lacking(wanted: Mapping[str, int], missing: Callable[[Sequence[str]], Collection[str]]) -> Mapping[str, int]:
    """Return the objects whose hashes `missing` returns, in order; of very many it gets some at a time."""
    if isinstance(wanted, CompactSizes):
        return wanted.lacking(missing)
    absent = missing(list(wanted))
    return {hash: size for hash, size in wanted.items() if hash in absent}


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


class _SizeItems(ItemsView[str, int]):
    _mapping: ObjectSizes

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._mapping, self._mapping._sizes, strict=True)


class _SizeValues(ValuesView[int]):
    _mapping: ObjectSizes

    def __iter__(self) -> Iterator[int]:
        return iter(self._mapping._sizes)


def parts_of(sizes: _C) -> list[_C]:
    """Return what objects consist of, none of which is in two parts: mostly the whole."""
    return cast("list[_C]", sizes.parts) if isinstance(sizes, CompactSizes) else [sizes]


def _texts(digests: bytes | bytearray) -> Iterator[str]:
    return (digests[at : at + _BYTES].hex() for at in range(0, len(digests), _BYTES))


def _some(hashes: Iterable[_S]) -> Iterator[list[_S]]:
    """Yield hashes in groups of at most `AT_ONCE`."""
    rest = iter(hashes)
    while some := list(islice(rest, AT_ONCE)):
        yield some


def _order(digests: bytes | bytearray) -> Any:
    """Return the numbers of hashes in order, equal ones as they are."""
    import numpy as np

    # Texts of 32 bytes are sorted without a copy. Those with zeros at their end are equal only if all bytes are.
    return np.argsort(np.frombuffer(digests, f"S{_BYTES}"), kind="stable").astype(np.uint32)


def _repeats(digests: bytes | bytearray, order: Any) -> Iterator[tuple[int, int]]:
    """Yield the number of each hash that was named before, with that of the last one before."""
    import numpy as np

    rows = np.frombuffer(digests, f"S{_BYTES}")
    for start in range(0, len(order) - 1, AT_ONCE):
        some = order[start : start + AT_ONCE + 1]
        here = rows[some]
        for at in np.flatnonzero(here[1:] == here[:-1]).tolist():
            yield int(some[at + 1]), int(some[at])


def _all_but(numbers: array[int], count: int) -> Any:
    import numpy as np

    found = np.ones(count, bool)
    found[np.frombuffer(numbers, np.uint32)] = False
    return found


def _chosen(digests: bytes | bytearray, sizes: array[int], kept: Any) -> tuple[bytes, array[int]]:
    import numpy as np

    chosen = array("Q")
    chosen.frombytes(np.frombuffer(sizes, np.uint64)[kept].tobytes())
    return np.frombuffer(digests, np.uint8).reshape(-1, _BYTES)[kept].tobytes(), chosen
