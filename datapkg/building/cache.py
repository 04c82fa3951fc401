"""The build cache, kept in the index: hashes of sources, results of transforms, and memos of large text files.

A source counts as unchanged while its stat equals the one recorded when it was hashed. A result is found by the
source's hash, the transform with its kwargs, and the versions of all libraries involved. The cache is optional: without
it a build takes longer and returns the same result.

A result is shared between packages only if this build alone determined it. A result that reused blocks of an earlier
state is stored for its own node only; otherwise two packages of the same file would get different hashes on two
machines.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from datapkg.building.readers import TRANSFORMS
from datapkg.building.record import versions
from datapkg.building.spec.model import NodeSpec
from datapkg.building.spec.options import BuildOptions
from datapkg.format.manifest.parsed import Block, Node
from datapkg.store.index import TICK_NS, Index, stamp
from datapkg.store.verified_content import VerifiedContent

# Increase when the same source would produce a different result although no library version changed.
FORMAT = 2


_SOURCE = struct.Struct("<5qq32s")
"""Size, times, inode and device of a file as `stamp` gives them, when they were taken, and the file's hash."""
# New hashes that are kept in memory; of a million files, all of them until the end would take too much.
_SAVED_AT_ONCE = 20_000


class TransformResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a transform: nodes with relative paths ("" is the source's own), without metadata or file names."""

    nodes: list[Node]
    warnings: list[str] = []
    writer: dict[str, Any] = {}


class _StoredBlocks(msgspec.Struct, frozen=True):
    mark: bytes
    blocks: list[tuple[bytes, Block]]


class BuildCache:
    """The cache of one build of one package; `save` writes what was added. Thread-safe."""

    def __init__(self, index: Index | None = None, package: str = "", *, forced: bool = False) -> None:
        self._index, self.package, self.forced = index, package, forced
        self._sources: dict[str, bytes] = {}  # as `_SOURCE` packs them: there may be a million
        self._same: dict[str, bool] = {}
        self._new_sources: dict[str, tuple[Any, int, str]] = {}
        self._found: dict[str, bytes] = {}
        self._new: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.claims = VerifiedContent(index)

    def look_below(self, folders: Iterable[Path | str]) -> None:
        """Load the recorded stats and hashes of the files below these folders."""
        if self._index is not None:
            for folder in folders:
                for path, found, at, hash in self._index.sources(os.path.abspath(folder)):
                    with contextlib.suppress(struct.error, ValueError):  # a damaged row
                        self._sources[path] = _SOURCE.pack(*found, at, bytes.fromhex(hash))

    def hash_of(self, path: str | os.PathLike[str]) -> tuple[str, int] | None:
        """Return hash and size of a source whose stat is unchanged since it was hashed; None for any other source."""
        text = str(path)
        before = self._sources.get(text if text in self._sources else (text := os.path.abspath(text)))
        if before is None or self.forced:
            return None
        *then, at, digest = _SOURCE.unpack(before)
        if text not in self._same:  # it is asked several times in a build, which sees one state of the file
            self._same[text] = _is_same(text, tuple(then), at)
        return (digest.hex(), then[0]) if self._same[text] else None

    def may_be_equal(self, path: Path, size: int) -> bool:
        """Return whether a source with this path and size was hashed before; if so, hashing may save parsing."""
        before = self._sources.get(os.path.abspath(path))
        return before is not None and _SOURCE.unpack(before)[0] == size and not self.forced

    def record_hash(self, path: str | os.PathLike[str], status: os.stat_result, at: int, hash: str) -> None:
        """Record the hash of a source; `status` was taken after the time `at` (in ns)."""
        text = os.path.abspath(path)
        try:
            text.encode()
        # A path that is not valid UTF-8 cannot be stored in SQLite.
        except UnicodeEncodeError:
            return
        with self._lock:
            self._new_sources[text] = (stamp(status), at, hash)
            if len(self._new_sources) >= _SAVED_AT_ONCE:
                self._save_sources()

    def look_for(self, wanted: Iterable[tuple[NodeSpec, str, str]]) -> None:
        """Load the results of sources, each given by its node, hash and file name, in one query."""
        self._look_up([key for spec, hash, name in wanted for key in self._keys(spec, hash, name)])

    def result(self, spec: NodeSpec, hash: str, name: str) -> TransformResult | None:
        """Return the cached result for a source with this hash, read as this node is; None if there is none."""
        keys = self._keys(spec, hash, name)
        self._look_up([key for key in keys if key not in self._found])
        for key in keys:
            if data := self._found[key]:
                try:
                    return msgspec.json.decode(data, type=TransformResult)
                except msgspec.MsgspecError:
                    continue
        return None

    def _look_up(self, keys: list[str]) -> None:
        found = self._index.get_many(keys) if self._index and keys and not self.forced else {}
        with self._lock:
            self._found.update((key, found.get(key, b"")) for key in keys)

    def _one(self, key: str) -> bytes | None:
        return self._index.get_many([key]).get(key) if self._index and not self.forced else None

    def put_result(self, spec: NodeSpec, hash: str, name: str, result: TransformResult, *, own: bool) -> None:
        """Cache a result: for all packages if `own`, else for this node only, since it depends on earlier states."""
        scoped, general = self._keys(spec, hash, name)
        with self._lock:
            self._new[general if own else scoped] = msgspec.json.encode(result)

    def _keys(self, spec: NodeSpec, hash: str, name: str) -> tuple[str, str]:
        # The suffix of the file too, by which it is decompressed.
        digest = _digest([FORMAT, hash, name.lower().rpartition(".")[2], *_reading(spec)])
        return f"result:{self.package}/{spec.path}:{digest}", f"result::{digest}"

    def memo(self, spec: NodeSpec) -> bytes | None:
        """Return the memo of the text file that this node was built from."""
        return self._one(self._memo_key(spec))

    def keep_memo(self, spec: NodeSpec, data: bytes) -> None:
        """Cache the memo of the text file that this node was built from."""
        with self._lock:
            self._new[self._memo_key(spec)] = data

    def _memo_key(self, spec: NodeSpec) -> str:
        return f"memo:{self.package}/{spec.path}:{_digest([FORMAT, *_reading(spec)])}"

    def stored(self, content: str) -> dict[bytes, Block]:
        """Return the blocks of a table of this content, by its schema's mark joined with each block's digests."""
        data = self._one(f"blocks:{FORMAT}:{content}")
        try:
            kept = msgspec.msgpack.decode(data, type=_StoredBlocks) if data else None
        except msgspec.MsgspecError:
            return {}
        return {kept.mark + digests: block for digests, block in kept.blocks} if kept else {}

    def keep_stored(self, content: str, mark: bytes, digests: Sequence[bytes], blocks: Sequence[Block]) -> None:
        """Cache the blocks of a table of this content."""
        kept = _StoredBlocks(mark, list(zip(digests, blocks, strict=True)))
        with self._lock:
            self._new[f"blocks:{FORMAT}:{content}"] = msgspec.msgpack.encode(kept)

    def portable(self, spec: NodeSpec, contents: Iterable[str]) -> dict[str, bytes]:
        """Return the entries that help to read a source of this node again: its memo, and the blocks of tables."""
        keys = [self._memo_key(spec), *(f"blocks:{FORMAT}:{content}" for content in contents)]
        return dict(self._index.get_many(keys)) if self._index and not self.forced else {}

    def add(self, entries: Mapping[str, bytes]) -> None:
        """Cache entries that a `TaskCache` has added elsewhere."""
        with self._lock:
            self._new.update(entries)

    def keep_place(self, path: Path, options: BuildOptions) -> None:
        """Record the path and the options that the package was built from, for `status`."""
        value = [os.path.abspath(path), options.build_file, options.allow_outside, options.gitignore]
        if self._index is not None:
            self._index.put_many({f"place:{self.package}": json.dumps(value).encode()})

    def place(self) -> tuple[Path, BuildOptions] | None:
        """Return the path and the options of the package's last build on this machine; None if they are unknown."""
        data = self._one(f"place:{self.package}")
        try:
            # Entries written before `gitignore` existed have three values.
            path, build_file, allow_outside, gitignore = [*json.loads(data), True][:4] if data else (None, 1, 0, 1)
            ways: dict[str, Any] = {"allow_outside": bool(allow_outside), "gitignore": bool(gitignore)}
            return (Path(path), BuildOptions(build_file=bool(build_file), **ways)) if path else None
        except (ValueError, TypeError):
            return None

    def keep_repository(self, address: str) -> None:
        """Record the address of the repository that the package was built from, for `status`."""
        if self._index is not None:
            self._index.put_many({f"repository:{self.package}": address.encode()})

    def repository(self) -> str:
        """Return the address of the repository of the package's last build on this machine; "" if it is unknown."""
        return (self._one(f"repository:{self.package}") or b"").decode("utf-8", "replace")

    def save(self) -> None:
        """Write everything that was added during this build to the index."""
        if self._index is None:
            return
        self._save_sources()
        if self._new:
            self._index.put_many(self._new)

    def _save_sources(self) -> None:
        if self._index is not None and self._new_sources:
            self._index.remember_sources((path, *each) for path, each in self._new_sources.items())
        self._new_sources = {}


class TaskCache(BuildCache):
    """The cache of one source that is read elsewhere; it has `given` entries, and collects new ones."""

    def __init__(self, package: str, given: Mapping[str, bytes]) -> None:
        super().__init__(None, package)
        self._given = given

    def _one(self, key: str) -> bytes | None:
        return self._given.get(key)

    @property
    def added(self) -> dict[str, bytes]:
        """The entries that were added."""
        return self._new


def _is_same(path: str, then: tuple[int, ...], at: int) -> bool:
    try:
        now = stamp(os.stat(path))
    except OSError:
        return False
    # A file that was hashed within a clock tick of its last write may have changed again with the same stat.
    return then == now and then[2] + TICK_NS < at


def now_ns() -> int:
    """Return the time to give to `BuildCache.record_hash`."""
    return time.time_ns()


def _reading(spec: NodeSpec) -> list[Any]:
    """Return everything besides the source's bytes that determines a result.

    Kwargs are included as Python `repr`: the order of a mapping may name columns, and JSON would turn all keys into
    text.
    """
    provider = TRANSFORMS[spec.transform].provider
    return [spec.transform, provider, repr(spec.kwargs), versions()]


def _digest(value: Any) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, default=repr).encode("utf-8", "backslashreplace")
    ).hexdigest()
