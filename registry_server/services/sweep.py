"""Garbage collection: expired pushes, temporary files, and the bytes of objects that nothing refers to.

A file is deleted in two steps. It moves to the trash if it is older than `GRACE` and no package and no open push
refers to an object in it, and is deleted another `GRACE` later if that is still true. Both are decided in a write
transaction, of which SQLite allows one at a time: an upload that stores such an object meanwhile records it in a later
transaction, and restores the file from the trash there. A kill at any step leaves complete files that the next sweep
finds again. Before a sweep moves its first file, the database is checked: a damaged one may have lost rows.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from pathlib import Path

from datapkg.errors import CorruptObject
from datapkg.objects.files import sweep_temp
from datapkg.objects.pack_file import Pack
from registry_server.db import objects, pushes
from registry_server.db.database import batches
from registry_server.services import policy, recipes
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry, database_problems

GRACE = timedelta(hours=1)
AT_ONCE = 1_000
# A pack is rewritten without its dead objects once they are this share of its bytes: so they never take more space than
# the others, and never more is copied than freed.
DEAD_SHARE = 0.5
Check = Callable[[], None]
logger = logging.getLogger(__name__)


def sweep(registry: Registry, actor: Actor, is_stopped: Callable[[], bool] = lambda: False) -> None:
    """Delete expired pushes, leftovers of killed uploads, and objects that nothing refers to.

    Do nothing while another process sweeps; end early, between two files, once `is_stopped` returns True.
    """
    policy.check_operator(actor, "registry:sweep")
    with _only_one(registry) as is_mine:
        if not is_mine:
            return
        sweep_temp(registry.settings.temporary, registry.settings.push_age_s)
        check = cache(partial(_check_database, registry))
        # The trash first, which needs no space on a full disk.
        for step in (_empty_trash, _forget_pushes, _sweep_recipes, _sweep_files, _sweep_packs, _forget_objects):
            for _ in step(registry, check):
                if is_stopped():
                    return


def _check_database(registry: Registry) -> None:
    if problems := database_problems(registry):
        raise CorruptObject(
            f"the database {registry.settings.database} is damaged; no object was deleted: {problems[0]}",
            hint="restore it from a backup",
        )


@contextmanager
def _only_one(registry: Registry) -> Iterator[bool]:
    with open(registry.settings.data / "sweep.lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _is_old(registry: Registry, path: Path) -> bool:
    """Return whether the file has had its name for `GRACE`; a rename counts as a change."""
    with contextlib.suppress(FileNotFoundError):
        return registry.now().timestamp() - os.stat(path).st_ctime >= GRACE.total_seconds()
    return False


def _empty_trash(registry: Registry, check: Check) -> Iterator[None]:
    for path, hashes in registry.trash.files():
        if _is_old(registry, path):
            check()
            with registry.db.write() as connection:
                registry.trash.restore(objects.referenced(connection, hashes))
                path.unlink(missing_ok=True)
            yield
    with registry.db.write():  # no upload looks for its objects meanwhile
        registry.trash.remove_folders()


def _forget_pushes(registry: Registry, check: Check) -> Iterator[None]:
    with registry.db.write() as connection:
        pushes.remove_older(connection, registry.now())
    yield


def _sweep_recipes(registry: Registry, check: Check) -> Iterator[None]:
    for hashes in batches(registry.objects.recipes, AT_ONCE):
        dead = set(_dead(registry, hashes))
        if old := [hash for hash in dead if _is_old(registry, registry.objects.recipes.path(hash))]:
            check()
            recipes.forget(registry, old)
        recipes.replace_wholes(registry, set(hashes) - dead)
        yield


def _sweep_files(registry: Registry, check: Check) -> Iterator[None]:
    loose = registry.objects.loose
    for hashes in batches(loose, AT_ONCE):
        dead = [hash for hash in _dead(registry, hashes) if _is_old(registry, loose.path(hash))]
        if dead:
            check()
            with registry.db.write() as connection:
                for hash in set(dead) - objects.referenced(connection, dead):
                    registry.trash.move(loose.path(hash))
        yield


def _dead(registry: Registry, hashes: Iterable[str]) -> list[str]:
    hashes = list(hashes)
    with registry.db.read() as connection:
        alive = objects.referenced(connection, hashes)
    return [hash for hash in hashes if hash not in alive]


def _sweep_packs(registry: Registry, check: Check) -> Iterator[None]:
    for pack in registry.objects.packs():
        if _is_old(registry, pack.path):
            _sweep_pack(registry, check, pack)
        yield


def _sweep_pack(registry: Registry, check: Check, pack: Pack) -> None:
    sizes = {digest.hex(): place.size if place else 0 for digest, place in pack.entries()}
    dead = set(_dead(registry, sizes))
    if not dead or (len(dead) < len(sizes) and sum(sizes[hash] for hash in dead) < DEAD_SHARE * sum(sizes.values())):
        return
    check()
    if not _is_whole(pack):
        logger.error("pack %s is damaged and was not changed; run: datapkg-registry verify", pack.path.name)
        return
    if len(dead) < len(sizes):
        registry.objects.write_without(pack, without=dead)
    with registry.db.write() as connection:
        if not objects.referenced(connection, dead):
            registry.trash.move(pack.path)


def _is_whole(pack: Pack) -> bool:
    """Return whether the pack matches its hash: a wrong index hides objects, which would then seem unreferenced."""
    with open(pack.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pack.hash


def _forget_objects(registry: Registry, check: Check) -> Iterator[None]:
    """Delete the rows of objects that nothing refers to and whose bytes are gone."""
    last = ""
    while True:
        with registry.db.read() as connection:
            page = objects.unreferenced_after(connection, last, AT_ONCE)
        if not page:
            return
        if gone := registry.objects.missing(page):
            check()
            with registry.db.write() as connection:
                objects.remove(connection, gone - objects.referenced(connection, gone))
        yield
        last = page[-1]
