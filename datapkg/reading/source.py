"""One state of a package to read from: its manifest, parsed when it is first needed, and its store."""

from __future__ import annotations

from contextlib import contextmanager

from datapkg.errors import (
    CorruptObject,
    IntegrityError,
    InvalidInput,
    InvalidManifest,
    NewerFormat,
    ObjectNotFound,
    Refused,
    Unreachable,
)
from datapkg.format.manifest.missing import no_node
from datapkg.format.names import Ref, State, attribute_name
from datapkg.objects.progress import Progress, silent
from datapkg.reading.observers import is_observed, note_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from datapkg.format.manifest.parsed import ArrayNode, FileNode, Kind, Manifest, TableNode
    from datapkg.format.manifest.parsed import Node as Entry
    from datapkg.home import Home
    from datapkg.objects.base import Readable
    from datapkg.store.partial_objects import PartialObject
    from datapkg.store.read_through import ReadThrough
    from datapkg.store.store import Store


class Children:
    """The direct children of a group: names in order, their kinds, and the names that share each attribute.

    Each is computed when it is first needed, since a group may be long.
    """

    __slots__ = ("_attributes", "_kinds", "_manifest", "_names", "_path")

    def __init__(self, manifest: Manifest, path: str) -> None:
        self._manifest = manifest
        self._path = path
        self._kinds: dict[str, Kind] | None = None
        self._names: list[str] | None = None
        self._attributes: dict[str, list[str]] | None = None

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each child, by name."""
        kinds = self._kinds
        if kinds is None:
            kinds = self._kinds = self._manifest.children(self._path)
        return kinds

    @property
    def names(self) -> list[str]:
        """The names in order."""
        names = self._names
        if names is None:
            names = self._names = list(self.kinds)
        return names

    @property
    def attributes(self) -> dict[str, list[str]]:
        """For each attribute, the names that share it; normally one."""
        attributes = self._attributes
        if attributes is None:
            attributes = {}
            for name in self.kinds:
                attributes.setdefault(attribute_name(name), []).append(name)
            self._attributes = attributes
        return attributes

    def named(self, attribute: str) -> list[str]:
        """Return the names that share this attribute; faster than `attributes` in a long group."""
        if self._attributes is None and (found := self._manifest.named(self._path, attribute)) is not None:
            return found
        return self.attributes.get(attribute, [])


class Remote:
    """The registry that missing objects are fetched from: a given one, else the one that the state came from."""

    def __init__(self, home: Home, registry: str | None = None) -> None:
        self.home = home
        self.registry = registry

    def origin(self, ref: Ref) -> str:
        """Return the address of the registry, "" if none is known, or none may be asked."""
        from datapkg.origins import registry_of

        try:
            return registry_of(self.home, ref, self.registry)
        except (InvalidInput, Refused):
            return ""

    def objects(self, ref: Ref) -> Readable:
        """Return the objects of a state; raise `InvalidInput` if no registry is known, and the errors of a registry."""
        from datapkg.origins import objects_of

        return objects_of(self.home, ref, self.registry)


Parts = tuple[tuple[str, int, int], ...]
"""Path, number and number of parts of each cut that a source is the result of; () for a whole package."""

# One object in this process for each folder with the same shared stores behind it, since a store keeps files open.
_stores: dict[tuple[Path, ...], Store] = {}


def open_store(folder: Path, index: Path, links: Path, shared: Sequence[Path]) -> Store:
    """Return the store in a folder, the one that this process has open if it has."""
    if (store := _stores.get((folder, *shared))) is None:
        from datapkg.store.index import Index
        from datapkg.store.store import Store

        store = Store(folder, Index(index), links, shared)
    return store


class Source:
    """One state of a package in a store; immutable to its users.

    Results are cached without a lock: two threads may do the same work twice, but no fork inherits a held lock.
    """

    def __init__(
        self, store: Store, ref: Ref, hash: str, remote: Remote | None = None, home: Home | None = None
    ) -> None:
        """Objects that are not on this machine are fetched from `remote`; with None, nothing is fetched.

        `home` has the settings with which errors look up other states; by default those of this process.
        """
        self.store = _stores.setdefault((store.folder, *store.shared), store)
        self.hash = hash
        self.remote = remote
        self.home = remote.home if remote else home
        self._through: ReadThrough | None = None
        self.ref = Ref(ref.user, ref.name, state=State("hash", hash))
        self.parts: Parts = ()
        self._manifest: Manifest | None = None
        self._children: dict[str, Children] = {}

    def shard(self, path: str, part: int, of: int) -> Source:
        """Return a source of one part of what is at a path; it has no other nodes. Raise `InvalidInput`."""
        from datapkg.format.manifest.shards import sharded

        found = Source(self.store, self.ref, self.hash, self.remote, self.home)
        found._manifest = sharded(self.manifest, path, part, of)
        found.parts = (*self.parts, (path, part, of))
        return found

    def ref_of(self, path: str) -> Ref:
        """Return the exact reference of a node: package, path and hash of the state."""
        return Ref(self.ref.user, self.ref.name, path, self.ref.state)

    def note_read(self, path: str) -> None:
        """Report to observers that a node is read; every way to its bytes calls this."""
        if is_observed():
            note_read(self.ref_of(path))

    @property
    def manifest(self) -> Manifest:
        """The manifest; raise `ObjectNotFound` or `CorruptObject` with the line to type."""
        manifest = self._manifest
        if manifest is None:
            with self.explained(""):
                manifest = self._manifest = self.store.open_manifest(self.hash)
        return manifest

    def entry(self, path: str) -> Entry | None:
        """Return the manifest's entry of a node; None for the package, and for a group that is only implied."""
        return self.manifest.get(path) if path else None

    def children(self, path: str) -> Children:
        """Return the direct children of the group at this path."""
        children = self._children.get(path)
        if children is None:
            manifest = self.manifest
            if not manifest.kind(path):
                raise no_node(manifest, path)
            children = self._children[path] = Children(manifest, path)
        return children

    def kind(self, path: str) -> str:
        """Return the kind of node at a path: package, group, table, file or array; "" if there is none."""
        return self.manifest.kind(path) if path else "package"

    @property
    def is_lazy(self) -> bool:
        """Whether missing objects are fetched when they are read."""
        return self.remote is not None

    @property
    def through(self) -> ReadThrough:
        """The objects of this machine and, behind them, those of the registry; only of a lazy source."""
        remote = self.remote
        assert remote is not None
        if self._through is None:
            self._through = self.store.through(lambda: remote.objects(self.ref), remote.origin(self.ref))
        return self._through

    def bring(self, *entries: Entry, progress: Progress = silent) -> int:
        """Fetch the missing objects of these nodes, as far as they can be fetched; return how many were fetched."""
        if not self.is_lazy:
            return 0
        with self.explained(*((entries[0].path,) if len(entries) == 1 else ("", f"a part of {self.ref.package}"))):
            return self._bring({hash: size for each in entries for hash, size in each.objects()}, entries, progress)

    def bring_objects(self, entry: Entry, sizes: Mapping[str, int]) -> None:
        """Fetch those objects of a node (hash to size in bytes) that are missing; only of a lazy source."""
        self._bring(sizes, (entry,))

    def _bring(self, sizes: Mapping[str, int], entries: Iterable[Entry], progress: Progress = silent) -> int:
        """Fetch objects; of changed nodes only what other states that are here do not have."""
        from datapkg.format.chunks import LONG_BYTES

        absent = self.store.objects.absent(sizes)
        if long := {hash: sizes[hash] for hash in absent if sizes[hash] >= LONG_BYTES}:
            from datapkg.store.delta_fetch import receive_changed
            from datapkg.store.earlier_objects import replaced_by_nodes

            receive_changed(self.through, long, replaced_by_nodes(self.store, self.ref, self.hash, entries))
        self.through.bring(sizes, progress)
        return len(absent)

    def claim_problem(self, entry: TableNode) -> str:
        """Return how a table's objects differ from what the manifest states of their values; "" if they do not.

        A table that was neither written nor verified on this machine is fetched whole, and read once.
        """
        claims = self.store.claims
        if claims.is_verified(entry):
            return ""
        self.bring(entry)
        with self.explained(entry.path):
            return claims.problem(entry, self.store.objects)

    def part(self, hash: str, size: int) -> PartialObject | None:
        """Return the partial file of an object; None if the object is complete, or nothing may be fetched."""
        if not self.is_lazy or self.through.has(hash):
            return None
        return self.through.parts.part(hash, size)

    def give_up(self, entry: TableNode) -> None:
        """Discard the partial files of a table that turned out to be corrupt."""
        for hash, size in entry.objects() if self.is_lazy else ():
            self.through.parts.drop(hash, size)

    def path(self, entry: TableNode | FileNode | ArrayNode) -> Path:
        """Return a read-only path of a node's bytes: a file, or the folder of a table of several objects."""
        from datapkg.format.hashing import hash_bytes

        self.note_read(entry.path)
        self.bring(entry)
        with self.explained(entry.path):
            # A part of a table has other files than the table.
            name = hash_bytes(f"{self.hash} {self.parts}".encode()) if self.parts else self.hash
            return self.store.links.path(name, entry)

    def open(self, path: str, hash: str, *, whole: bool = False) -> BinaryIO:
        """Return a seekable stream of a node's object, which the caller closes; `whole` if all of it will be read.

        Of a big object that has to be fetched, only the ranges that are read are fetched; see `store.read_through` on
        how these are verified.
        """
        self.note_read(path)
        with self.explained(path):
            if not self.is_lazy:
                return self.store.objects.open(hash)
            entry = self.entry(path)
            size = dict(entry.objects())[hash] if entry else 0
            if whole and entry:
                self.bring_objects(entry, {hash: size})
            return self.through.stream(hash, size, lambda: self.explained(path))

    @contextmanager
    def explained(self, path: str, what: str = "") -> Iterator[None]:
        """Inside, errors for missing or corrupt objects name the node, or `what` else, and the line to type."""
        what = what or (f"{self.ref.package}/{path}" if path else f"the manifest of {self.ref.package}")
        exact = f"{self.ref.package}@sha256:{self.hash[:16]}"
        try:
            yield
        except ObjectNotFound as error:
            line = f"datapkg install {exact}" if what.startswith("the manifest") else self.fetch_line(path)
            message = (
                f"{what}: object sha256:{str(error.detail.get('hash'))[:12]}… is not on this machine; type: {line}"
            )
            raise ObjectNotFound(message, hint=line, **error.detail) from error
        except Unreachable as error:
            line = self.fetch_line(path)
            message = f"{what} is not on this machine, and cannot be fetched now: {error.message}; later type: {line}"
            raise Unreachable(message, hint=line, **error.detail) from error
        except NewerFormat as error:
            raise NewerFormat(f"{what}: {error.message}", hint=error.hint, **error.detail) from error
        except (IntegrityError, InvalidManifest) as error:
            line = "datapkg verify"
            message = f"{what}: {error}; type: {line}, then: datapkg install {exact}"
            raise CorruptObject(message, hint=line, **error.detail) from error

    def fetch_line(self, path: str) -> str:
        """Return the command that fetches a node."""
        from shlex import quote

        return f"datapkg fetch {quote(str(Ref(self.ref.user, self.ref.name, path, State('hash', self.hash[:16]))))}"
