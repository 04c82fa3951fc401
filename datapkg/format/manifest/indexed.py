"""Look up nodes in the bytes of a long manifest with the help of an index."""

from __future__ import annotations

from bisect import bisect_left
from mmap import mmap

from datapkg.format.manifest.index import HEAD_BYTES, KINDS, MAGIC, Counts, GroupRecord, attribute_key, group_key
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Kind
from datapkg.format.names import attribute_name

_NUMBER_BYTES = 8


class IndexedManifest(MappedManifest):
    """A manifest and its index, which may both be mapped into memory."""

    def __init__(self, data: bytes | mmap, hash: str, index: bytes | mmap) -> None:
        """Raise `ValueError` if the index does not belong to this manifest."""
        view = memoryview(index)
        head = HEAD_BYTES + _NUMBER_BYTES * len(Counts._fields)
        if len(view) < head or view[:HEAD_BYTES] != MAGIC + bytes.fromhex(hash):
            raise ValueError("it has another form, or belongs to another manifest")
        counts = self._counts = Counts(*view[HEAD_BYTES:head].cast("Q"))
        group_bytes = _NUMBER_BYTES * len(GroupRecord._fields)
        widths = [(counts.lines + 1) * 8, counts.groups * group_bytes, counts.attributes * 8, counts.attributes * 4]
        widths += [counts.tables * 4, counts.names, counts.kinds]
        if head + sum(widths) != len(view) or counts.data != len(data):
            raise ValueError("it is cut short")
        parts = []
        for width in widths:
            parts.append(view[head : head + width])
            head += width
        offsets, self._groups, self._attributes = (part.cast("Q") for part in parts[:3])
        self._places, self._tables = (part.cast("I") for part in parts[3:5])
        self._names, self._kinds = parts[5:]
        super().__init__(data, hash, offsets)

    def size(self, path: str = "") -> int:
        """Return the bytes of the objects below a path, each counted once."""
        record = self._run(path).record
        return record.size if record else super().size(path)

    def children(self, path: str = "") -> dict[str, Kind]:
        """Return the kind of each child of a group, by name, in order."""
        record = self._run(path).record
        if record is None or record.names == record.names_end:
            return super().children(path)
        names = str(self._names[record.names : record.names_end - 1], "utf-8").split("\0")
        letters = str(self._kinds[record.kinds : record.kinds + len(names)], "ascii")
        return dict(zip(names, map(KINDS.__getitem__, letters), strict=True))

    def named(self, path: str, attribute: str) -> list[str] | None:
        """Return the names in a group that an attribute means; None if the index does not cover the group."""
        run = self._run(path)
        if not run.record or run.record.names == run.record.names_end:
            return None
        key, found = attribute_key(path, attribute), set()
        at = bisect_left(self._attributes, key)
        while at < len(self._attributes) and self._attributes[at] == key:
            parts = self.key(self._places[at])
            name = parts[run.depth] if len(parts) > run.depth else ""
            if "/".join(parts[: run.depth]) == path and attribute_name(name) == attribute:
                found.add(name)
            at += 1
        if attribute_name(attribute) == attribute and self.kind(f"{path}/{attribute}" if path else attribute):
            found.add(attribute)
        return sorted(found)

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        return ["/".join(self.key(at)) for at in self._tables]

    def _record(self, start: int, depth: int) -> GroupRecord | None:
        key, width = group_key(start, depth), len(GroupRecord._fields)
        at = bisect_left(range(self._counts.groups), key, key=lambda number: self._groups[number * width])
        if at < self._counts.groups and self._groups[at * width] == key:
            return GroupRecord(*self._groups[at * width : (at + 1) * width])
        return None
