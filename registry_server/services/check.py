"""The check of a registry: the database against itself, against the objects, and against the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

from datapkg.errors import DatapkgError, ObjectNotFound, Unreachable, exhausted
from datapkg.format.hashing import hash_stream
from datapkg.objects.files import may_be_whole
from registry_server.db import objects, schema
from registry_server.db.database import batches
from registry_server.services import derived_rows, policy, set_aside, wheels
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry, database_problems
from registry_server.services.sweep import WAIT_S, alone

AT_ONCE = 1_000


@dataclass(frozen=True)
class DamagedEntry:
    """A damaged object, the packages that hold it, and what is wrong.

    `reason` is "missing", "size", "bytes", or "listed size" for an intact object whose row has another size.
    """

    hash: str
    packages: list[str]
    reason: str


@dataclass
class CheckReport:
    """The result of a check: objects that were looked at, and what is wrong after repairs, if these were asked for.

    `database` lists damage of the database file, `rows` rows that differ from the manifests, `repaired` what was wrong
    and is right again. `unused_objects` (and their bytes) are those to which nothing refers; a sweep deletes them.
    """

    checked: int = 0
    damaged: list[DamagedEntry] = field(default_factory=list)
    database: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    unused_objects: int = 0
    unused_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.damaged or self.database or self.rows)


def check(registry: Registry, actor: Actor, *, quick: bool = False, repair: bool = False) -> CheckReport:
    """Compare the database with the objects; `quick` compares sizes and reads no bytes.

    Damaged objects are marked, so that they are not served and the next push that needs them sends them again. With
    `repair`, their files are set aside, intact copies are used instead, and rows are made anew from the manifests.
    If the database is damaged and stays so, nothing else is checked: it may not list all objects. Raise `Conflict` for
    a repair while another process sweeps.
    """
    policy.check_operator(actor, "registry:check")
    with alone(registry, WAIT_S) if repair else nullcontext():
        return _check(registry, quick=quick, repair=repair)


def _check(registry: Registry, *, quick: bool, repair: bool) -> CheckReport:
    report = CheckReport()
    report.database = database_problems(registry)
    if report.database and repair:
        with registry.db.write() as connection:
            schema.repair(connection)
            objects.list_unlisted(connection, registry.objects, registry.now())
        report.database, before = database_problems(registry), report.database
        report.repaired += [each for each in before if each not in report.database]
    if not report.database:
        _check_objects(registry, report, quick=quick, repair=repair)
        derived_rows.check(registry, report.rows, report.repaired if repair else None)
        _count_unused(registry, report)
    return report


def _check_objects(registry: Registry, report: CheckReport, *, quick: bool, repair: bool) -> None:
    for page in _pages(registry):
        report.checked += len(page)
        bad = {hash: what for hash, size in page.items() if (what := _problem(registry, hash, size, quick))}
        if repair:
            for hash in set_aside.repair(registry, bad):
                report.repaired.append(f"object {hash}: {bad.pop(hash)}")
            for hash in wheels.restore(registry, bad):
                report.repaired.append(f"object {hash}: {bad.pop(hash)}")
            bad = {hash: _problem(registry, hash, page[hash], quick) for hash in bad}
        # A right size does not prove that an object is whole.
        noted = _note(registry, set() if quick else page.keys() - bad, bad)
        with registry.db.read() as connection:
            report.damaged += [DamagedEntry(hash, objects.holders(connection, hash), bad[hash]) for hash in noted]


def _pages(registry: Registry) -> Iterator[dict[str, int]]:
    last = ""
    while True:
        with registry.db.read() as connection:
            page = objects.after(connection, last, AT_ONCE)
        if not page:
            return
        yield page
        last = max(page)


def _note(registry: Registry, whole: set[str], bad: dict[str, str]) -> list[str]:
    """Mark objects as damaged or whole; return the damaged ones, without those that were swept meanwhile."""
    with registry.db.read() as connection:
        # Read first: mostly there is nothing to note, and a write transaction waits for all others.
        mended = whole & objects.damaged(connection)
    if not mended and not bad:
        return []
    with registry.db.write() as connection:
        objects.set_whole(connection, mended)
        return [hash for hash in bad if objects.set_damaged(connection, hash, registry.now())]


def _problem(registry: Registry, hash: str, size: int, quick: bool) -> str:
    """Return what is wrong with an object, or ""."""
    try:
        if quick:
            return "" if registry.objects.size(hash) == size else "size"
        with registry.objects.open(hash) as stream:
            found, count = hash_stream(stream)
    except ObjectNotFound:
        return "missing"
    except Unreachable:  # a storage that does not answer is no sign of damage
        raise
    except (DatapkgError, OSError) as error:
        if (lack := exhausted(error, f"checking object {hash}")) is not None:
            raise lack from error
        if may_be_whole(error):
            raise
        return "bytes"
    if found != hash:
        return "bytes" if count == size else "size"
    return "" if count == size else "listed size"


def _count_unused(registry: Registry, report: CheckReport) -> None:
    for hashes in batches(registry.objects, AT_ONCE):
        with registry.db.read() as connection:
            unused = set(hashes) - objects.referenced(connection, hashes)
        report.unused_objects += len(unused)
        for hash in unused:
            try:
                report.unused_bytes += registry.objects.size(hash)
            except DatapkgError:  # swept meanwhile
                continue
