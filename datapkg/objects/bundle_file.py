"""A bundle: objects in one file, to be carried to a machine without a network.

It is an uncompressed tar file, which any tar lists and unpacks: `bundle.json` (see `format.bundle`), then each object
once as `objects/HASH`, manifests first, then the others in the order of the manifests. All headers are plain and equal
but for name and size, so that the same contents give the same bytes, and nothing in a header is longer than 512 bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, BinaryIO

from datapkg.errors import CorruptObject, InvalidInput
from datapkg.format.bundle import MAX_CONTENTS_BYTES
from datapkg.format.hashing import READ_BYTES, mismatch
from datapkg.objects.base import Readable, not_found
from datapkg.objects.pack_file import OpenFiles, PackLocation, open_place, read_place

CONTENTS = "bundle.json"
_BLOCK_BYTES = 512
_HEADERS_READ_BYTES = 64 << 10
_NAME = re.compile(r"objects/([0-9a-f]{64})\Z")


class BundleWriter:
    """Write a bundle into an open file: the contents, then the objects in order, then the end."""

    def __init__(self, file: IO[bytes], contents: bytes) -> None:
        self._file = file
        self._header(CONTENTS, len(contents))
        self._file.write(contents)
        self._pad(len(contents))

    def add(self, hash: str, size: int, pieces: Iterable[bytes]) -> None:
        """Append an object; raise `HashMismatch` if the pieces are not its bytes."""
        self._header(f"objects/{hash}", size)
        sha256, written = hashlib.sha256(), 0
        for piece in pieces:
            sha256.update(piece)
            written += self._file.write(piece)
        if sha256.hexdigest() != hash or written != size:
            raise mismatch(hash, sha256.hexdigest())
        self._pad(size)

    def finish(self) -> None:
        """Write the end of the file."""
        self._file.write(bytes(2 * _BLOCK_BYTES))

    def _header(self, name: str, size: int) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o444
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))  # sizes above 8 GiB fit in the same header

    def _pad(self, size: int) -> None:
        self._file.write(bytes(-size % _BLOCK_BYTES))


class BundleObjects(Readable):
    """The objects of a bundle, found by one pass over its headers; their bytes are not verified yet.

    Raise `InvalidInput` for a file that is not a bundle, `CorruptObject` for one that is cut short or has other members
    than a bundle has. Nothing is unpacked: a name in the file is never a path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        with open(path, "rb", buffering=_HEADERS_READ_BYTES) as file:
            self.contents = self._scan(file, os.fstat(file.fileno()).st_size)

    def _scan(self, file: BinaryIO, end: int) -> bytes:
        contents = b""
        while block := self._block(file):
            name, size = self._member(block, is_first=not contents)
            at = file.tell()
            # A seek beyond the end succeeds silently: a cut member would only show as a missing end.
            if at + size > end:
                raise self.corrupt(f"{name} ends {at + size - end:,} bytes after the end of the file")
            if not contents:
                if size > MAX_CONTENTS_BYTES:
                    raise self.corrupt(f"{name} states {size:,} bytes; at most {MAX_CONTENTS_BYTES:,} are allowed")
                contents = file.read(size)
            elif self._places.setdefault(name, (at, size)) != (at, size):
                raise self.corrupt(f"object {name} is in it twice")
            file.seek(at + size + -size % _BLOCK_BYTES)
        return contents

    def _block(self, file: BinaryIO) -> bytes:
        """Return the next header, empty at the end that is written last."""
        at = file.tell()
        block = file.read(_BLOCK_BYTES)
        if len(block) < _BLOCK_BYTES:
            if at == 0:
                raise self._not_a_bundle()
            raise self.corrupt("it is cut short: its end is missing")
        return block if any(block) else b""

    def _member(self, block: bytes, *, is_first: bool) -> tuple[str, int]:
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._not_a_bundle() if is_first else self.corrupt(f"a header cannot be read ({error})") from error
        match = _NAME.match(header.name)
        if is_first and header.name == CONTENTS:
            name = CONTENTS
        elif match and not is_first:
            name = match[1]
        else:
            raise self._not_a_bundle() if is_first else self.corrupt(f"it has a member named {header.name[:100]!r}")
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise self.corrupt(f"{name} is not an ordinary file")
        return name, header.size

    def _not_a_bundle(self) -> InvalidInput:
        return InvalidInput(f"{self.path} is not a bundle", hint="datapkg bundle user/name -o FILE.dpkg")

    def corrupt(self, what: str) -> CorruptObject:
        """Return the error for a bundle that is not what it should be."""
        return CorruptObject(f"the bundle {self.path} is damaged: {what}; nothing was installed", hint="copy it again")

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def _place(self, hash: str) -> PackLocation:
        if hash not in self._places:
            raise not_found(hash, f"in {self.path}")
        return PackLocation(self.path, *self._places[hash], pack="bundle")

    def missing(self, hashes: Iterable[str]) -> set[str]:
        return {hash for hash in hashes if hash not in self._places}

    def size(self, hash: str) -> int:
        return self._place(hash).size

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return open_place(self._place(hash), start, stop)

    def read(self, hash: str) -> bytes:
        return read_place(self._place(hash))

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        with closing(OpenFiles()) as files:
            for hash in hashes:
                yield hash, files.read(self._place(hash))


def pieces_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a stream piece by piece."""
    while piece := stream.read(READ_BYTES):
        yield piece
