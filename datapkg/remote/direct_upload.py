"""Send an object to where a registry keeps its objects, past the registry, in parts that it reads back and verifies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from datapkg.errors import Conflict, HashMismatch, NotFound, Unreachable
from datapkg.format import push_wire
from datapkg.format.urls import without_credentials
from datapkg.remote.session import TRIES, RegistrySession, SizedBody, pause_s
from datapkg.remote.transport import redirect_target, translated

PIECE_BYTES = 1 << 20
_HEADERS = {"Content-Type": "application/octet-stream", "x-ms-blob-type": "BlockBlob"}
"""Azure demands the last; it means nothing to other stores."""
_HINT = "ask the administrator of the registry whether you can reach where it keeps its objects"


def is_sent_directly(session: RegistrySession, path: str, stream: BinaryIO, size: int) -> bool:
    """Send the rest of a seekable stream, `size` bytes; return False where the registry has to be sent the bytes.

    Parts that arrived before, in this push or in one that broke off, are not sent again. Addresses that have expired,
    and a store that fails, are asked anew; if that does not help, nothing is raised. Raise what the registry raises for
    an object that it does not take, such as `QuotaExceeded`.
    """
    start, failures, times = stream.tell(), 0, Counter[int]()
    params = {"size": size}
    try:
        while parts := session.reply(push_wire.DirectUpload, "POST", path, params=params).parts:
            try:
                for part in parts:
                    times[part.start] += 1
                    if times[part.start] > TRIES:  # it takes them, and does not have them
                        return False
                    _send(session, part, stream, start, size)
                    failures = 0
            except Unreachable:
                session.patience.command.check(session.url)
                if (failures := failures + 1) >= TRIES:
                    return False
                time.sleep(pause_s(failures, None))
        session.reply(push_wire.Stored, "PUT", path, params=params, work=2 * size)
    except (Conflict, HashMismatch, NotFound, Unreachable):
        session.patience.command.check(session.url)
        return False
    return True


def _send(session: RegistrySession, part: push_wire.DirectPart, stream: BinaryIO, start: int, size: int) -> None:
    if not 0 <= part.start < part.stop <= size:
        raise Unreachable(f"{session.url} asked for bytes {part.start:,} to {part.stop:,} of {size:,}")
    stream.seek(start + part.start)
    url = redirect_target(session.url, part.url)
    where = without_credentials(url).partition("?")[0]
    body = SizedBody(session, _pieces(stream, part.stop - part.start), part.stop - part.start)
    with (
        translated(where, "PUT", hint=_HINT, again_hint=_HINT),
        # The token goes to the registry's own origin alone.
        session.transport.answer(
            "PUT", url, follow=False, timeout=session.patience.timeouts(1, len(body)), data=body, headers=_HEADERS
        ) as answer,
    ):
        if not answer.ok:
            raise Unreachable(f"{where} refused a part of an object: {answer.status_code}")


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (piece := stream.read(min(PIECE_BYTES, size))):
        size -= len(piece)
        yield piece
