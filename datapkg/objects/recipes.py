"""Recipes: objects at rest as ranges of other objects, instead of as bytes of their own.

A recipe is a file named by the object's hash: magic, then up to `MAX_RANGES` ranges (32 bytes of sha256, 8 of offset,
8 of size, little-endian), then the sha256 of these. Bytes that no other object has are an object too, the remainder.
Recipes are flat: no range is of an object that is a recipe itself, so the hundredth version is read like the first.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from datapkg.errors import CorruptObject
from datapkg.format.chunks import Step
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.files import replacing, seal, sync_file, sync_folder, temp_path

MAGIC = b"dprecip1"
MAX_RANGES = 64
RANGE_BYTES = 48
MAX_RECIPE_BYTES = 1 << 16
"""How much of a recipe is read: 20 times the longest one, so that one with something behind it is found damaged."""
MIN_SAVED = 0.1
"""An object of which a recipe saves a smaller share stays whole."""
FIRST_SHORT_BYTES = 1 << 10
_IN_MEMORY = 1_000


class Recipes:
    """A folder of recipes, `ab/cdef…`; files appear whole or not at all."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder, self._tmp = folder, tmp
        self._files = DirectoryObjects(folder, tmp)
        self._read: OrderedDict[str, tuple[int, list[Step]]] = OrderedDict()

    def path(self, hash: str) -> Path:
        """Return the path at which the recipe of this object is or would be."""
        return self._files.path(hash)

    def find(self, hash: str) -> list[Step]:
        """Return the ranges of an object in order, `[]` without a recipe; raise `CorruptObject` for a damaged one."""
        path = self._files.text_path(hash)
        try:
            changed = os.stat(path).st_ctime_ns
            known = self._read.get(hash)
            # A recipe is replaced and never changed in place, so a new one has another change time.
            if known is None or known[0] != changed:
                known = changed, read_recipe(Path(path), hash)
        except (FileNotFoundError, NotADirectoryError):
            return []
        self._remember(hash, known)
        return known[1]

    def _remember(self, hash: str, known: tuple[int, list[Step]]) -> None:
        self._read[hash] = known
        if len(self._read) > _IN_MEMORY:
            self._read.popitem(last=False)

    def keep(self, hash: str, ranges: Sequence[Step]) -> None:
        """Write the recipe of an object; the caller has verified that it gives these bytes."""
        with replacing(self.path(hash), temp_path(self._tmp, "recipe")) as file:
            file.write(encode_recipe(ranges))
            seal(file)
            # The caller deletes the whole object next, so the recipe and its name must be on the disk before this
            # returns.
            sync_file(file)
        sync_folder(self.path(hash).parent)

    def delete(self, hash: str) -> None:
        """Delete a recipe; a missing one is not an error."""
        self._files.delete(hash)

    def __bool__(self) -> bool:
        return self.folder.is_dir()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def flat(self, steps: Sequence[Step], planned: Mapping[str, list[Step]] = {}) -> list[Step]:
        """Return the steps with ranges of objects that have a recipe replaced by ranges of what these are made of.

        `planned` are recipes by hash that a dry run would have written.
        """
        found: list[Step] = []
        for step in steps:
            ranges = (planned.get(step.source) or self.find(step.source)) if step.source else []
            found += clipped(ranges, step.offset, step.offset + step.size) if ranges else [step]
        return joined(found)


def clipped(ranges: Iterable[Step], start: int, stop: int) -> Iterator[Step]:
    """Yield the parts of ranges, one after the other, that are from `start` up to `stop` of the whole."""
    at = 0
    for source, offset, size in ranges:
        end = at + size
        if at >= stop:
            break
        if end > start:  # most ranges are outside of a short read, so these two comparisons are its main cost
            first, last = max(at, start), min(end, stop)
            yield Step(source, offset + first - at, last - first)
        at = end


def encode_recipe(ranges: Iterable[Step]) -> bytes:
    """Return the bytes of a recipe."""
    body = MAGIC + b"".join(
        bytes.fromhex(str(each.source)) + each.offset.to_bytes(8, "little") + each.size.to_bytes(8, "little")
        for each in ranges
    )
    return body + hashlib.sha256(body).digest()


def read_recipe(path: Path, hash: str) -> list[Step]:
    """Return the ranges of an object in a file; raise `CorruptObject`."""
    return decode_recipe(path.read_bytes(), hash)


def decode_recipe(data: bytes, hash: str, where: str = "") -> list[Step]:
    """Return the ranges of an object; raise `CorruptObject`, which names the object and `where` its recipe is.

    A registry sends its message to readers, who are not told in which folder it keeps its objects.
    """
    body, digest = data[:-32], data[-32:]
    count, rest = divmod(len(body) - len(MAGIC), RANGE_BYTES)
    if not body.startswith(MAGIC) or rest or not 0 < count <= MAX_RANGES or hashlib.sha256(body).digest() != digest:
        raise CorruptObject(f"the recipe of object {hash}{where} is damaged", hint="datapkg verify", hash=hash)
    return [
        Step(body[at : at + 32].hex(), *(int.from_bytes(body[at + to : at + to + 8], "little") for to in (32, 40)))
        for at in range(len(MAGIC), len(body), RANGE_BYTES)
    ]


def worthwhile(steps: Sequence[Step]) -> list[Step]:
    """Return the steps as at most `MAX_RANGES`, short ranges between new bytes as new bytes; `[]` if it saves little.

    A step without source is of the object's own bytes.
    """
    at, placed = 0, []
    for step in steps:
        placed.append(step if step.source else Step(None, at, step.size))
        at += step.size
    short = FIRST_SHORT_BYTES
    while len(placed) > MAX_RANGES:
        placed, short = _without_short(placed, short), 2 * short
    own = sum(step.size for step in placed if step.source is None)
    return placed if own <= (1 - MIN_SAVED) * at else []


def _without_short(steps: Sequence[Step], short: int) -> list[Step]:
    at, found = 0, []
    for step in steps:
        found.append(Step(None, at, step.size) if step.size < short else step)
        at += step.size
    return joined(found)


def with_remainder(ranges: Sequence[Step], remainder: str) -> list[Step]:
    """Return the ranges with those of the object's own bytes as ranges of the object that consists of these."""
    at, found = 0, []
    for step in ranges:
        found.append(step if step.source else Step(remainder, at, step.size))
        at += 0 if step.source else step.size
    return found


def joined(steps: Iterable[Step]) -> list[Step]:
    """Return the steps with those that follow on each other in the same object as one."""
    found: list[Step] = []
    for step in steps:
        if found and found[-1].source == step.source and found[-1].offset + found[-1].size == step.offset:
            found[-1] = found[-1]._replace(size=found[-1].size + step.size)
        else:
            found.append(step)
    return found
