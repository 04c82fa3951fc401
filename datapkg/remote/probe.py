"""Find out whether a file at an address changed: by its ETag or Last-Modified, or else by its hash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from datapkg.errors import QuotaExceeded
from datapkg.format.urls import check_url, is_in_bucket, without_credentials
from datapkg.remote.time_limits import SlowTransferGuard


@dataclass(frozen=True)
class Probed:
    """The hash of the file as it is now, None if its validator is unchanged; and that validator, "" without one."""

    hash: str | None
    validator: str


def probe(
    url: str, validator: str, *, limit_bytes: int, timeout_s: float, environ: Mapping[str, str] = MappingProxyType({})
) -> Probed:
    """Return whether the file at an address still has this validator (an ETag or Last-Modified), else its hash.

    Raise the errors of `download`, and `QuotaExceeded` for a file of more than `limit_bytes` that has to be read.
    """
    shown = without_credentials(check_url(url))
    if is_in_bucket(url):
        from datapkg.remote.bucket_source import BucketSource

        pieces, now = BucketSource(url, environ).contents(shown)
        is_same = bool(validator) and now == validator
        return Probed(None, now) if is_same else Probed(_hash(shown, map(bytes, pieces), limit_bytes), now)
    from datapkg.remote.download import WebSource

    with contextlib.closing(WebSource(url, timeout_s)) as source, source.contents(shown, validator) as (body, now):
        return Probed(None if body is None else _hash(shown, body, limit_bytes), now)


def _hash(shown: str, pieces: Iterable[bytes], limit_bytes: int) -> str:
    sha256, size, pace = hashlib.sha256(), 0, SlowTransferGuard(shown)
    for piece in pieces:
        sha256.update(piece)
        size += len(piece)
        pace.add(len(piece))
        if size > limit_bytes:
            raise QuotaExceeded(
                f"{shown} has no ETag or Last-Modified that is known, and more than {limit_bytes:,} bytes to read",
                hint=f"datapkg config max_source_bytes {2 * limit_bytes}",
            )
    return sha256.hexdigest()
