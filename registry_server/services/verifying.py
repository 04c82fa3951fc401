"""Verification of every object against its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from datapkg.errors import ObjectNotFound, exhausted
from datapkg.format.hashing import READ_BYTES
from registry_server.db import objects
from registry_server.services import policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry, database_problems

AT_ONCE = 1_000


@dataclass(frozen=True)
class DamagedEntry:
    """A damaged or lost object, and the packages that hold it."""

    hash: str
    packages: list[str]


@dataclass(frozen=True)
class VerifyReport:
    """The result of checking the database and all objects."""

    checked: int
    damaged: list[DamagedEntry]
    database: list[str] = field(default_factory=list)


def verify(registry: Registry, actor: Actor) -> VerifyReport:
    """Hash every object again; damaged ones stay in place, and the next push that needs them sends them again.

    If the database is damaged, no object is hashed: it may not list all of them.
    """
    policy.check_operator(actor, "registry:verify")
    if problems := database_problems(registry):
        return VerifyReport(0, [], problems)
    checked, damaged = 0, []
    for page in _pages(registry):
        checked += len(page)
        bad = [hash for hash, size in page.items() if not _is_whole(registry, hash, size)]
        bad = _note(registry, page.keys() - bad, bad)
        with registry.db.read() as connection:
            damaged += [DamagedEntry(hash, objects.holders(connection, hash)) for hash in bad]
    return VerifyReport(checked, damaged)


def _pages(registry: Registry) -> Iterator[dict[str, int]]:
    last = ""
    while True:
        with registry.db.read() as connection:
            page = objects.after(connection, last, AT_ONCE)
        if not page:
            return
        yield page
        last = max(page)


def _note(registry: Registry, whole: set[str], bad: list[str]) -> list[str]:
    """Return the damaged ones; those that were swept meanwhile are not."""
    with registry.db.read() as connection:
        mended = whole & objects.damaged(connection)
    if not mended and not bad:
        return []
    with registry.db.write() as connection:
        objects.set_whole(connection, mended)
        return [hash for hash in bad if objects.set_damaged(connection, hash, registry.now())]


def _is_whole(registry: Registry, hash: str, size: int) -> bool:
    sha256 = hashlib.sha256()
    count = 0
    try:
        with registry.objects.open(hash) as stream:
            while piece := stream.read(READ_BYTES):
                sha256.update(piece)
                count += len(piece)
    except (ObjectNotFound, OSError) as error:
        if (lack := exhausted(error, f"verifying object {hash}")) is not None:
            raise lack from error
        return False
    return count == size and sha256.hexdigest() == hash
