"""What is stored of a state on this machine: whether all of it is, and the bytes of a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datapkg.errors import ObjectNotFound
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.reading.source import Source
from datapkg.resolve import ResolvedState

PIECE_BYTES = 1 << 20


def check_present(found: ResolvedState, manifest: Manifest, ref: Ref) -> None:
    """Raise `ObjectNotFound` if an object of what a ref names is absent or damaged."""
    absent = found.store.absent(manifest, ref.path)
    if absent:
        raise ObjectNotFound(
            f"{ref} is not wholly on this machine (objects absent or damaged: {len(absent)}); nothing was written",
            hint=f"datapkg install {Ref(ref.user, ref.name, ref.path)}@sha256:{found.hash}",
        )


def stored_bytes(source: Source, node: Any) -> Iterator[bytes]:
    """Yield the bytes of a node's objects, piece by piece."""
    for hash, _ in node.objects():
        with source.open(node.path, hash, whole=True) as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece
