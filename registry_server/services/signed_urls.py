"""Addresses of objects that are read without a token: each is good for one object, and for some hours.

An address says who asked for it and when, and is signed with a key of this registry. Each read is decided as if that
user made it, so it ends early with the access of the user, with the tokens that the user had then, or with the key.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from datapkg.errors import ObjectNotFound, Refused
from datapkg.format import wire
from datapkg.objects.base import not_found
from datapkg.objects.files import write_atomic
from registry_server.db import accounts, objects
from registry_server.services import downloads, policy
from registry_server.services.policy import ANONYMOUS, Actor, PackageRequest
from registry_server.services.registry import Registry
from registry_server.settings import setting_name

KEY_FILE = "urls.key"
"""Of the data folder; without it the next address gets a new key, which ends all earlier addresses."""

CLOCK_STEP = timedelta(minutes=1)
"""How far the clock of a registry may be set back without an end to the addresses that it has just given."""
_KEY_BYTES = 32
_MAX_BUCKET_S = 7 * 24 * 3600  # buckets sign for a week at most
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNED = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9a-f]{64})\Z")
_lock = threading.Lock()


def addresses(request: PackageRequest, hashes: Sequence[str]) -> list[str]:
    """Return an address for each object: in the storage where it signs, else a path of the registry.

    Raise `ObjectNotFound` for an object that the package does not hold, `Refused` if the operator allows no addresses.
    """
    registry, seconds = request.registry, request.registry.settings.read_urls_s
    with registry.db.read() as connection:
        package = policy.readable(connection, request)
        sizes = objects.held_by(connection, package.id, hashes)
    for hash in hashes:
        if hash not in sizes:
            raise not_found(hash, f"in {request.full_name}")
    if not package.public and not seconds:
        raise Refused(
            f"this registry gives no addresses of private packages ({setting_name('read_urls_s')})",
            hint="datapkg.urls(node, registry=True, signed=False), and send the header Authorization: Bearer TOKEN",
        )
    paths = [wire.OBJECT.format(user=request.user, name=request.name, hash=hash) for hash in hashes]
    if package.public:
        return paths
    at, key = (registry.now() - _EPOCH) // timedelta(microseconds=1), _key(registry, create=True)
    return [
        downloads.storage_url(registry, hash, sizes[hash], min(seconds, _MAX_BUCKET_S))
        or f"{path}?signed={at}-{request.actor.id}-{_signature(key, request, hash, at, request.actor.id)}"
        for hash, path in zip(hashes, paths, strict=True)
    ]


def reader(registry: Registry, user: str, name: str, hash: str, signed: str) -> PackageRequest:
    """Return the request of the user who asked for an address.

    Raise the `PackageNotFound` of a missing package for one that is not signed so, `ObjectNotFound` for an old one.
    """
    unknown = PackageRequest(registry, ANONYMOUS, user, name)
    key, match = _key(registry), _SIGNED.match(signed)
    if match is None or not key:
        raise policy.not_found(unknown)
    at, id = int(match[1]), int(match[2])
    if not hmac.compare_digest(match[3], _signature(key, unknown, hash, at, id)):
        raise policy.not_found(unknown)
    since = _EPOCH + timedelta(microseconds=at)
    # One from the future was signed while the clock was ahead, and would be good for longer than the operator allows.
    if not -CLOCK_STEP <= registry.now() - since < timedelta(seconds=registry.settings.read_urls_s):
        raise ObjectNotFound("the address has expired", hint="urls = datapkg.urls(node)", hash=hash)
    with registry.db.read() as connection:
        found = accounts.user_with_token(connection, id, since)
    if found is None:
        raise policy.not_found(unknown)
    return PackageRequest(registry, Actor(found.id, found.name), user, name)


def _signature(key: bytes, request: PackageRequest, hash: str, at: int, id: int | None) -> str:
    return hmac.digest(key, f"{request.full_name}\n{hash}\n{at}\n{id}".encode(), "sha256").hex()


def _key(registry: Registry, *, create: bool = False) -> bytes:
    """Return the key, b"" if there is none yet; read each time, so that a running registry notices its deletion."""
    path: Path = registry.settings.data / KEY_FILE
    with _lock:
        with suppress(FileNotFoundError):
            if len(found := path.read_bytes()) >= _KEY_BYTES:
                return found
        key = secrets.token_bytes(_KEY_BYTES) if create else b""
        if create:
            write_atomic(path, key, registry.settings.temporary)
        return key
