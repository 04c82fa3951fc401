"""Garbage collection: expired pushes, temporary files, and the bytes of objects that nothing refers to.

A file is deleted in two steps. It moves to the trash if it is older than the grace period and no package and no open
push refers to an object in it, and is deleted another grace period later if that is still true. Both are decided in a
write transaction, of which SQLite allows one at a time: an upload that stores such an object meanwhile records it in a
later transaction, and restores the file from the trash there, or is refused if it was deleted already. A kill at any
step leaves complete files that the next sweep finds again. Before a sweep moves its first file, the database is
checked: a damaged one may have lost rows.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from tempfile import TemporaryFile
from typing import BinaryIO

from datapkg.errors import Conflict, CorruptObject
from datapkg.format.hashing import hash_stream, is_hash
from datapkg.objects.blobs.base import BlobInfo
from datapkg.objects.files import sweep_temp
from datapkg.objects.pack_file import Pack
from datapkg.objects.pack_merging import merge_packs
from registry_server.db import objects, pushes, stage_results
from registry_server.db.database import batches
from registry_server.services import direct_uploads, policy, recipes
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry, database_problems

GRACE = timedelta(hours=1)
AT_ONCE = 1_000
LOCK_PAUSE_S = 0.2
WAIT_S = 60
"""How long a command of the operator waits for the sweep of a running registry."""
# A pack is rewritten without its dead objects once they are this share of its bytes: so they never take more space than
# the others, and never more is copied than freed.
DEAD_SHARE = 0.5
logger = logging.getLogger(__name__)


@dataclass
class SweepReport:
    """What a sweep did, or with `dry_run` what it would do; sizes are in bytes.

    Files are moved to the trash by one sweep and deleted from it by a later one. `removed_objects` counts objects that
    are no longer listed, since their bytes are gone.
    """

    dry_run: bool
    expired_pushes: int = 0
    expired_results: int = 0
    unfinished_files: int = 0
    moved_files: int = 0
    moved_bytes: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    rewritten_packs: int = 0
    removed_objects: int = 0
    removed_maps: int = 0


def sweep(
    registry: Registry,
    actor: Actor,
    is_stopped: Callable[[], bool] = lambda: False,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
) -> SweepReport:
    """Delete expired pushes and results of stages, leftovers of killed uploads, and objects that nothing refers to.

    Return what was done.

    End early, between two files, once `is_stopped` returns True. Raise `Conflict` while another process sweeps, and
    `CorruptObject` for a damaged database, before a file is moved.
    """
    policy.check_operator(actor, "registry:sweep")
    with alone(registry) as lock:
        run = _Sweep(registry, lock, grace, SweepReport(dry_run))
        # The trash first, which needs no space on a full disk.
        rows = (run.pushes, run.results, run.recipes, run.files, run.packs, run.rows, run.maps)
        for step in (run.temporary, run.trash, *rows):
            for _ in step():
                if is_stopped():
                    return run.report
    return run.report


@contextmanager
def alone(registry: Registry, wait_s: float = 0) -> Iterator[BinaryIO]:
    """Inside, no other process sweeps this registry; yield the locked file.

    Raise `Conflict` if another one still does after `wait_s`.
    """
    until = time.monotonic() + wait_s
    with _opened_lock(registry) as file:
        while not _locked(file):
            if time.monotonic() >= until:
                raise Conflict(
                    f"another process sweeps, repairs, exports or imports the registry in {registry.settings.data}",
                    hint="try again when it is done",
                )
            time.sleep(LOCK_PAUSE_S)
        yield file


def _opened_lock(registry: Registry) -> BinaryIO:
    if registry.scratch:
        with suppress(FileNotFoundError):
            return open(registry.sweep_lock, "rb")
        return TemporaryFile("ab", dir=registry.scratch)  # read-only media need no lock against other sweeps
    return open(registry.sweep_lock, "ab")


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass
class _Sweep:
    """One sweep: each step yields between two files or batches."""

    registry: Registry
    lock: BinaryIO
    grace: timedelta
    report: SweepReport

    @cached_property
    def _database_is_whole(self) -> bool:
        """Check the database once, before the first file is moved or deleted; raise `CorruptObject`."""
        if problems := database_problems(self.registry):
            raise CorruptObject(
                f"the database {self.registry.settings.database} is damaged; no object was deleted: {problems[0]}",
                hint="datapkg-registry check --repair; else restore the database from a backup",
            )
        return True

    def _may_change(self) -> bool:
        return not self.report.dry_run and self._database_is_whole

    def _is_old(self, file: BlobInfo) -> bool:
        """Return whether the file has had its name for the grace period; a rename counts as a change."""
        return self.registry.now() - file.modified_at >= self.grace

    def temporary(self) -> Iterator[None]:
        """Delete what killed uploads left."""
        if not self.report.dry_run:
            settings = self.registry.settings
            self.report.unfinished_files = sweep_temp(settings.temporary, settings.push_age_s)
            for each in self._listed(direct_uploads.PREFIX):
                if self.registry.now() - each.modified_at >= timedelta(seconds=settings.push_age_s):
                    self.registry.objects.blobs.delete(each.key)
                    self.report.unfinished_files += 1
        yield

    def trash(self) -> Iterator[None]:
        """Delete old files of the trash; restore those with objects that are alive again."""
        trash = self.registry.trash
        for file, hashes in trash.files():
            if self._is_old(file):
                if self._may_change():
                    with self.registry.db.write() as connection:
                        trash.restore(objects.referenced(connection, hashes))
                        if self.registry.objects.blobs.size(file.key) is None:
                            continue
                        # Counted before the file goes, so that an upload under way notices
                        # that it has to look for its objects again.
                        self._note_deletions()
                        trash.delete(file.key)
                elif self._dead(hashes) != set(hashes):
                    continue
                self._count_deleted(file.size)
                yield
        if not self.report.dry_run:
            with self.registry.db.write():  # no upload looks for its objects meanwhile
                trash.remove_folders()

    def _note_deletions(self) -> None:
        """Count this sweep in `Registry.deletions`, once, before it deletes a file."""
        if not self.report.deleted_files:
            self.lock.write(b".")
            self.lock.flush()

    def _count_deleted(self, size: int) -> None:
        self.report.deleted_files += 1
        self.report.deleted_bytes += size

    def pushes(self) -> Iterator[None]:
        """Delete expired pushes."""
        now = self.registry.now()
        if self.report.dry_run:
            with self.registry.db.read() as connection:
                self.report.expired_pushes = pushes.count_older(connection, now)
        else:
            with self.registry.db.write() as connection:
                self.report.expired_pushes = pushes.remove_older(connection, now)
        yield

    def results(self) -> Iterator[None]:
        """Delete results of stages that were not used for long from the run caches of all packages."""
        now = self.registry.now()
        if self.report.dry_run:
            with self.registry.db.read() as connection:
                self.report.expired_results = stage_results.count_older(connection, now)
        else:
            with self.registry.db.write() as connection:
                self.report.expired_results = stage_results.remove_older(connection, now)
        yield

    def recipes(self) -> Iterator[None]:
        """Delete recipes of dead objects, and whole objects that a killed process left beside their recipe."""
        for files in self._batches("recipes/"):
            dead = self._dead(files)
            old = {hash: files[hash].size for hash in dead if self._is_old(files[hash])}
            if old and self._may_change():
                recipes.forget(self.registry, old)
            for size in old.values():
                self._count_deleted(size)
            if not self.report.dry_run:
                recipes.replace_wholes(self.registry, files.keys() - dead)
            yield

    def _batches(self, prefix: str) -> Iterator[dict[str, BlobInfo]]:
        """Yield the files of a prefix that are named by hashes, many at a time."""
        named = ((each.key.removeprefix(prefix).replace("/", "", 1), each) for each in self._listed(prefix))
        for some in batches(((hash, each) for hash, each in named if is_hash(hash)), AT_ONCE):
            yield dict(some)

    def _listed(self, prefix: str) -> Iterator[BlobInfo]:
        return self.registry.objects.blobs.list(prefix)

    def files(self) -> Iterator[None]:
        """Move dead objects that are files of their own to the trash."""
        for files in self._batches("objects/"):
            if dead := {hash: files[hash] for hash in self._dead(files) if self._is_old(files[hash])}:
                self._move(dead)
            yield

    def packs(self) -> Iterator[None]:
        """Move packs of dead objects to the trash; those that are half dead after they were rewritten."""
        self.registry.objects.look_again()
        files = {each.key: each for each in self._listed("packs/")}
        for pack in self.registry.objects.packs():
            file = files.get(self.registry.objects.key(pack.path))
            if file and self._is_old(file):
                self._sweep_pack(pack, file)
            yield
        if not self.report.dry_run:  # each push of many objects makes a pack, and packs are searched one by one
            merge_packs(self.registry.objects)

    def _sweep_pack(self, pack: Pack, file: BlobInfo) -> None:
        sizes = {digest.hex(): place.size if place else 0 for digest, place in pack.entries()}
        dead = self._dead(sizes)
        is_rewritten = len(dead) < len(sizes)
        if not dead or (is_rewritten and sum(sizes[hash] for hash in dead) < DEAD_SHARE * sum(sizes.values())):
            return
        if self._may_change():
            if not self._is_whole(file, pack):
                logger.error("pack %s is damaged and was not changed; run: datapkg-registry check", pack.path.name)
                return
            if is_rewritten:
                self.registry.objects.write_without(pack, without=dead)
        self.report.rewritten_packs += is_rewritten
        self._move(dict.fromkeys(dead, file), all_or_none=True)

    def _move(self, files: dict[str, BlobInfo], *, all_or_none: bool = False) -> None:
        """Move the files of dead objects, unless one of them is alive by now."""
        moved = set(files)
        if self._may_change():
            with self.registry.db.write() as connection:
                again = objects.referenced(connection, files)
                moved = set() if all_or_none and again else moved - again
                for file in {files[hash] for hash in moved}:
                    self.registry.trash.move(file.key)
        distinct = {files[hash] for hash in moved}
        if distinct:
            self.registry.objects.look_again()
        self.report.moved_files += len(distinct)
        self.report.moved_bytes += sum(file.size for file in distinct)

    def _dead(self, hashes: Iterable[str]) -> set[str]:
        hashes = set(hashes)
        with self.registry.db.read() as connection:
            return hashes - objects.referenced(connection, hashes, self.registry.now() if self.report.dry_run else None)

    def rows(self) -> Iterator[None]:
        """Delete the rows of objects that nothing refers to and whose bytes are gone."""
        # By hash and not by offset: rows that are deleted meanwhile would shift the pages.
        last = ""
        while True:
            with self.registry.db.read() as connection:
                page = objects.unreferenced_after(connection, last, AT_ONCE)
            if not page:
                return
            gone = self.registry.objects.missing(page)
            if gone and self._may_change():
                with self.registry.db.write() as connection:
                    gone -= objects.referenced(connection, gone)
                    objects.remove(connection, gone)
            self.report.removed_objects += len(gone)
            yield
            last = page[-1]

    def maps(self) -> Iterator[None]:
        """Delete chunk maps of dead objects, and those beyond the limit."""
        if not self.report.dry_run:
            limit = self.registry.settings.max_maps_bytes
            self.report.removed_maps = self.registry.chunk_maps.remove(lambda all: all - self._dead(all), limit)
        yield

    def _is_whole(self, file: BlobInfo, pack: Pack) -> bool:
        """Return whether the pack matches its hash: a wrong index hides objects, which would then seem unreferenced."""
        with self.registry.objects.blobs.open(file.key) as stream:
            return hash_stream(stream)[0] == pack.hash
