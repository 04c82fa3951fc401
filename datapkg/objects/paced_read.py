"""Read a range of an object in pieces, at the pace of whoever takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from datapkg.errors import ObjectNotFound
from datapkg.objects.packs import PackedObjects


def pieces(home: PackedObjects, hash: str, start: int, stop: int, piece_bytes: Callable[[], int]) -> Iterator[bytes]:
    """Yield an object's bytes from `start` up to `stop`; `piece_bytes` is asked for the largest size of each piece.

    The places are looked up once and files stay open, without a buffer, since a reader may pause for minutes. Less is
    yielded if a file was cut off. Raise `ObjectNotFound`, `CorruptObject`.
    """
    at, failed_at = start, -1
    while at < stop:
        with home.unbuffered(home.places(hash, at, stop)) as stream:
            try:
                while piece := stream.read(min(piece_bytes(), stop - at)):
                    at += len(piece)
                    yield piece
                return
            except ObjectNotFound:
                # A pack was replaced since its place was looked up; twice at one position, the object is gone.
                if at == failed_at:
                    raise
                failed_at = at
                home.look_again()
