"""Unions and differences of objects, a few or very many of them: hash to size in bytes, as `object_sizes` keeps it."""

from __future__ import annotations

from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain

from datapkg.errors import InvalidManifest
from datapkg.format.object_sizes import MANY, CompactSizes, ObjectSizes, SizesCollector, lacking, parts_of


def joined(*parts: Mapping[str, int]) -> Mapping[str, int]:
    """Return all objects of several mappings, each once; raise `InvalidManifest` for one of many with two sizes."""
    filled = [part for whole in parts for part in parts_of(whole) if part]
    if len(filled) == 1:
        return filled[0]
    longest = max(filled, key=len, default={})
    few = [part for part in filled if part is not longest]
    if isinstance(longest, ObjectSizes) and sum(map(len, few)) < MANY:
        return _WithFew({hash: size for part in few for hash, size in part.items()}, longest)
    collector = SizesCollector()
    for part in filled:
        collector.add_all(part)
    return collector.collected()


def merged(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    """Return all objects of both; what both have has its size in the first."""
    return joined(one, without(other, one))


def within(sizes: Mapping[str, int], *others: Collection[str]) -> Mapping[str, int]:
    """Return those objects that are in any of the others."""
    return _among(sizes, others, is_in=True)


def named(sizes: Mapping[str, int], hashes: Iterable[str]) -> Mapping[str, int]:
    """Return those objects whose hashes an iterator yields."""
    if isinstance(sizes, ObjectSizes):
        return sizes.among([hashes])
    found = SizesCollector()
    for hash in hashes:
        if (size := sizes.get(hash)) is not None:
            found.add([hash], [size])
    return found.collected()


def without(sizes: Mapping[str, int], *others: Collection[str]) -> Mapping[str, int]:
    """Return those objects that are in none of the others."""
    return _among(sizes, others, is_in=False)


def _among(sizes: Mapping[str, int], others: Sequence[Collection[str]], *, is_in: bool) -> Mapping[str, int]:
    if isinstance(sizes, _WithFew):
        return joined(*(_among(part, others, is_in=is_in) for part in parts_of(sizes)))
    others = [other for other in others if other]
    if not (sizes and others):
        return {} if is_in else sizes
    if isinstance(sizes, ObjectSizes):
        return sizes.among(others, is_in=is_in)
    return {hash: size for hash, size in sizes.items() if any(hash in other for other in others) == is_in}


class Numbered:
    """The numbers that objects have by their place in a mapping, which does not change meanwhile."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._numbers = {} if isinstance(sizes, ObjectSizes) else {hash: at for at, hash in enumerate(sizes)}

    def of(self, named: Collection[str]) -> Iterator[int]:
        """Yield the numbers of those that are named too, in any order."""
        if isinstance(self._sizes, ObjectSizes):
            return self._sizes.numbers(named)
        return (at for hash in named if (at := self._numbers.get(hash)) is not None)


class _WithFew(CompactSizes):
    """A few objects, then very many, without a copy of these."""

    def __init__(self, few: dict[str, int], many: ObjectSizes) -> None:
        """Raise `InvalidManifest` if an object of the few has another size among the many."""
        for hash, size in few.items():
            if many.get(hash, size) != size:
                raise InvalidManifest(f"object {hash} has two different sizes")
        self._few = {hash: size for hash, size in few.items() if hash not in many}
        self._many = many

    @property
    def parts(self) -> list[Mapping[str, int]]:
        """Return the few and the many."""
        return [self._few, self._many]

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
