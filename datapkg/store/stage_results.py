"""Results of stages on this machine: what a stage gave for the same inputs, command, params and code.

What a run imported is known only after it, so a result is found in two steps: by a key of all that is known before, and
then by the hashes of the code that the run used. The outputs are a manifest in the store, which `gc` keeps.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from datapkg.format.canonical import encode, prepare
from datapkg.format.hashing import hash_bytes, is_hash
from datapkg.format.manifest.parsed import Node
from datapkg.objects.files import write_atomic

FORMAT = 1
MAX_BYTES = 16 << 20
FOLDER = "stages"
IDLE_S = 30 * 24 * 3600
"""What no build has used for so long is given up by `gc`."""
RENEWED_S = 3600


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result: the nodes of the outputs and the hash of their manifest, the code that gave it (path to hash), seconds.

    The nodes are those of the manifest, which need not be read to reuse a result. `known` is what the key was computed
    from, to explain why a stage runs again. `package` is the one whose run cache it was taken from, and `by` the user
    who added it there; "" for what ran on this machine.
    """

    format: int
    stage: str
    manifest: str
    nodes: list[Node]
    code: dict[str, str]
    seconds: float
    at: str
    known: dict[str, str]
    package: str = ""
    by: str = ""

    def objects(self) -> Iterator[str]:
        """Yield the hashes of the manifest and of what it names."""
        yield self.manifest
        yield from (hash for node in self.nodes for hash, _ in node.objects())


class StageResults:
    """A folder with a file for each result: `KEY/HASH OF THE CODE.json`."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self._folder, self._tmp = folder, tmp

    def find(self, key: str, hash_of: Callable[[str], str | None], package: str = "") -> StageResult | None:
        """Return the newest result for a key whose code is as `hash_of` says now; None if there is none.

        What was taken from a run cache is a result for its package alone, and only where none was made here: the time
        of another is what a registry states.
        """
        folder = self._folder / key
        try:
            paths = [folder / name for name in os.listdir(folder) if name.endswith(".json")]
        except FileNotFoundError:
            return None
        found = [
            (result, path)
            for path in paths
            if (result := read_result(path))
            and result.package in ("", package)
            and all(hash_of(code) == hash for code, hash in result.code.items())
        ]
        if not found:
            return None
        result, path = max(found, key=lambda each: (not each[0].package, each[0].at))
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > RENEWED_S:
                os.utime(path)  # by which `gc` knows that it is used
        return result

    def keep(self, key: str, result: StageResult) -> None:
        """Keep a result, in place of an earlier one of the same code."""
        path = self._path(key, result)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, msgspec.json.encode(result), self._tmp)

    def may_share(self, result: StageResult) -> bool:
        """Return whether a result is one that ran on this machine and is kept."""
        kept = None if result.package else read_result(self._path(key_of(result.known), result))
        return kept is not None and kept.manifest == result.manifest

    def _path(self, key: str, result: StageResult) -> Path:
        value = {"code": dict(result.code), "package": result.package} if result.package else dict(result.code)
        return self._folder / key / f"{hash_bytes(encode(prepare(value)))[:32]}.json"


def read_result(path: Path) -> StageResult | None:
    """Return the result in a file; None if it is damaged or of a newer format."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=StageResult)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.format == FORMAT and is_hash(found.manifest) else None


def key_of(known: Mapping[str, str]) -> str:
    """Return the key of all that determines a result and is known before the run."""
    return hash_bytes(encode(prepare({"format": FORMAT, **known})))


def used_since(folder: Path, limit: float) -> Iterator[StageResult]:
    """Yield the results below the folder of a store that a build has used after a time, in seconds since 1970."""
    for path in folder.joinpath(FOLDER).glob("*/*.json"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= limit and (result := read_result(path)):
                yield result


def idle(folder: Path, limit: float) -> Iterator[Path]:
    """Yield the files of the other results."""
    for path in folder.joinpath(FOLDER).glob("*/*.json"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < limit:
                yield path
