"""The local store: one folder of immutable objects and small pointers to them."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

from datapkg.errors import UPGRADE_HINT, DamagedFile, NewerFormat
from datapkg.objects.files import private_folder, sweep_temp, write_atomic
from datapkg.store.refs import Refs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.format.names import Ref
    from datapkg.objects.base import Readable
    from datapkg.store.arrow_cache import ArrowCache
    from datapkg.store.index import Index
    from datapkg.store.links import Links
    from datapkg.store.read_through import ReadThrough
    from datapkg.store.verified import VerifiedObjects
    from datapkg.store.verified_content import VerifiedContent

FORMAT = "1"


class Store:
    """A store in a folder; `index` is a cache and may lie anywhere, and so may `links` where the store is only read."""

    def __init__(self, folder: Path, index: Index, links: Path | None = None) -> None:
        self.folder = Path(folder)
        self.links_folder = links or self.folder / "links"
        self.tmp = self.folder / "tmp"
        self.refs = Refs(self.folder / "packages", self.tmp)
        self._index = index
        self._opened: dict[str, VerifiedObjects] = {}
        self._copies: ArrowCache | None = None
        self._claims: VerifiedContent | None = None
        self._writers = 0
        self._check_format()

    @property
    def index_path(self) -> Path:
        """The path of the cache of verified files."""
        return self._index.path

    @property
    def objects(self) -> VerifiedObjects:
        """All objects; what they need is loaded here, since most imports of a package do without."""
        if found := self._opened.get("objects"):
            return found
        from datapkg.store.verified import VerifiedObjects

        return self._opened.setdefault("objects", VerifiedObjects(self.folder, self._index))

    def through(self, theirs: Callable[[], Readable], origin: str) -> ReadThrough:
        """The objects here, and behind them those of `origin`, who are asked only for what is not here; it is kept."""
        from datapkg.store.partial_objects import PartialObjects
        from datapkg.store.read_through import ReadThrough

        return ReadThrough(self.objects, theirs, PartialObjects(self.folder / "partial", origin))

    def forget_parts(self) -> None:
        """Delete partial files of objects that are now complete; open readers keep working."""
        from datapkg.store.partial_objects import sweep

        sweep(self.folder / "partial", self.objects.packed.missing)

    @property
    def links(self) -> Links:
        """Read-only paths of objects."""
        from datapkg.store.links import Links

        return Links(self.links_folder, self.objects)

    @property
    def copies(self) -> ArrowCache:
        """Copies of tables that are quicker to read, in the cache folder."""
        if found := self._copies:
            return found
        from datapkg.store.arrow_cache import ArrowCache

        self._copies = ArrowCache(self._index.path.parent / "warm", self._index)
        return self._copies

    @property
    def claims(self) -> VerifiedContent:
        """Which tables are known to hold the content that their manifests state."""
        if found := self._claims:
            return found
        from datapkg.store.verified_content import VerifiedContent

        self._claims = VerifiedContent(self._index)
        return self._claims

    def _check_format(self) -> None:
        found = self._format()
        if found is not None and found.isascii() and found.isdigit() and found != FORMAT:
            raise NewerFormat(
                f"the store {self.folder} has format {found[:20]!r}; this datapkg reads {FORMAT}",
                hint=f"{UPGRADE_HINT}; or set DATAPKG_HOME to another folder",
            )

    def _format(self) -> str | None:
        """Return the format that the store says it has; None where it says nothing.

        What is not a number is damage: every store of this kind has format 1, so `prepare` writes it anew.
        """
        try:
            return (self.folder / "format").read_text(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def prepare(self) -> None:
        """Make the folder ready to be written, private to its owner; delete what killed processes left."""
        if self._format() != FORMAT:
            private_folder(self.folder)
            write_atomic(self.folder / "format", FORMAT.encode() + b"\n", self.tmp)
        sweep_temp(self.tmp)

    @property
    def work_lock(self) -> Path:
        """The lock that everybody shares who writes to the store."""
        return self.folder / "work.lock"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Inside, the store may be written, and what is counted as present is not deleted by others; may be nested.

        Space that could not be freed when a package was removed is freed first.
        """
        from datapkg.store import gc, writer_lock

        if not self._writers:
            self.prepare()
            if gc.has_removed(self):
                gc.free(self, wait=False)
        with writer_lock.shared(self.work_lock):
            self._writers += 1
            self.objects.is_renewing = True
            try:
                yield
            finally:
                self._writers -= 1
                self.objects.is_renewing = self._writers > 0

    def save(self, manifest: Manifest) -> str:
        """Keep a manifest, whose objects must be here already (or are left out on purpose); return its hash."""
        from datapkg.store.manifests import keep_chunks

        self._index.put_many({f"manifest:{manifest.hash}": b"read"})
        keep_chunks(self._index, manifest)
        if self.has(manifest.hash):  # a long one is not written, and synced, for nothing
            return manifest.hash
        return self.objects.put_bytes(manifest.data, manifest.hash)

    def manifest(self, hash: str) -> Manifest:
        """Return the manifest with this hash, checked; raise `ObjectNotFound`, `CorruptObject`."""
        from datapkg.store.manifests import read_manifest

        return read_manifest(self.objects, self._index, hash)

    def open_manifest(self, hash: str) -> Manifest:
        """Return the same, to be asked for nodes: a long one is not parsed each time."""
        from datapkg.store.manifests import open_manifest

        return open_manifest(self.objects, self._index, hash)

    def holds(self, hash: str) -> bool:
        """Return whether the bytes with this hash are here, as far as names tell.

        Quick for objects in files of their own, such as manifests: every import that follows a lock calls this.
        """
        loose = self.folder / "objects" / hash[:2] / hash[2:]
        return loose.exists() or not self.objects.packed.missing([hash])

    def has(self, hash: str) -> bool:
        """Return whether the manifest with this hash is here and undamaged."""
        return not self.objects.missing([hash])

    def absent(self, manifest: Manifest, path: str = "") -> dict[str, int]:
        """Objects of a package (below a path) that are not here or damaged: hash to size in bytes."""
        wanted = manifest.objects(path)
        return {hash: wanted[hash] for hash in self.objects.missing(wanted)}

    def here(self, ref: Ref, hash: str) -> str:
        """Return the hash that a package's pointer names, or the newest of its log that is here, if that one is not: a
        digit of it may be damaged.
        """
        if self.holds(hash):
            return hash
        made = (each.hash for each in self.refs.log(ref) if each.event != "push")
        newest = next(filter(self.holds, made), None)
        if newest is None:
            return hash
        used = f"{newest[:12]}…, the newest of its log that is, is used; type: datapkg install {ref.package}"
        warnings.warn(f"the state {hash[:12]}… of {ref.package} is not here; {used}", DamagedFile, stacklevel=3)
        return newest
