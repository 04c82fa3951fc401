"""Exports: a registry as one folder or file, and an empty registry filled from one.

An export is a home of objects and a short JSON document that names, for each table of the database, the object with its
rows. A folder has packs and recipes like the data folder, a file is laid out as a bundle with every object whole. So
every byte of an export is verified by its hash, on the way out and on the way in.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datapkg.errors import Conflict, CorruptObject, DatapkgError, InvalidInput
from datapkg.format.hashing import mismatch
from datapkg.format.texts import quoted
from datapkg.objects.base import Readable
from datapkg.objects.bundle_file import BundleObjects, BundleWriter, pieces_of
from datapkg.objects.files import naming, replacing, sync_file, temp_folder, temp_path, write_atomic
from datapkg.objects.packs import PackedObjects
from datapkg.objects.recipe_maker import check_recipe
from datapkg.objects.transfer import plan, transfer
from registry_server.db import exported_rows, objects, stage_results
from registry_server.services import policy, recipes
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry
from registry_server.services.sweep import WAIT_S, alone

FORMAT = 1
DOCUMENT = "registry.json"
FILE_SUFFIX = ".tar"


@dataclass(frozen=True)
class ExportReport:
    """What an export has, or an import read: packages, and objects with their bytes.

    `copied_objects` (and bytes) were not in the folder before; `left_out` are hashes of damaged objects. An export has
    no run caches: `run_cache_results` is how many results of stages they have, which builds fill in again.
    """

    packages: int
    objects: int
    size_bytes: int
    copied_objects: int
    copied_bytes: int
    left_out: list[str]
    run_cache_results: int = field(default=0, compare=False)


def export(registry: Registry, actor: Actor, target: Path, *, tokens: bool = True) -> ExportReport:
    """Write all of the registry to a folder, or to a new file if the name ends in `.tar`; it may run meanwhile.

    A folder that has an earlier export gets only what is new, and loses what is gone. With `tokens`, the hashes of the
    users' tokens are exported too, so that these stay valid. Raise `Conflict` for another folder or an existing file,
    and `CorruptObject` at an object that turns out to be damaged: it is left out the next time.
    """
    policy.check_operator(actor, "registry:export")
    _check_target(target)
    with alone(registry, WAIT_S), temp_folder(registry.temporary, "export") as folder:
        rows = PackedObjects(folder)
        with registry.db.read() as connection:
            tables = {name: _dump(connection, name, rows) for name in exported_rows.table_names(tokens=tokens)}
            sizes = exported_rows.sizes(connection)
            left_out = sorted(_listed(rows, tables))
            run_cache_results = stage_results.count_all(connection)
            document = {"registry_export": FORMAT, "database": exported_rows.version(connection), "tables": tables}
        data = json.dumps(document, indent=1).encode() + b"\n"
        write = _write_file if target.suffix == FILE_SUFFIX else _write_folder
        copied = write(registry, target, data, rows, sizes)
    return replace(_report(tables, sizes, copied, left_out), run_cache_results=run_cache_results)


def _report(
    tables: dict[str, Any], sizes: dict[str, int], copied: Collection[str], left_out: list[str]
) -> ExportReport:
    copied_bytes = sum(sizes[hash] for hash in copied)
    return ExportReport(
        tables["packages"]["rows"], len(sizes), sum(sizes.values()), len(copied), copied_bytes, left_out
    )


def _check_target(target: Path) -> None:
    if target.suffix == FILE_SUFFIX:
        if target.exists():
            raise Conflict(f"{target} exists", hint="give another name, or delete it first")
    elif target.exists() and not (target / DOCUMENT).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} is not empty and not an export of a registry", hint="give another folder")


def _dump(connection: Any, name: str, rows: PackedObjects) -> dict[str, Any]:
    with naming(rows.folder), tempfile.TemporaryFile(dir=rows.folder) as file:
        count = exported_rows.write(connection, name, file)
        size = file.tell()
        file.seek(0)
        return {"hash": rows.put(file), "size": size, "rows": count}


def _listed(rows: Readable, tables: dict[str, Any]) -> Iterator[str]:
    with rows.open(tables["damaged_objects"]["hash"]) as lines:
        yield from (str(row["hash"]) for row in exported_rows.parsed("damaged_objects", lines))


def _sizes_of(home: Readable) -> dict[str, int]:
    return {hash: home.size(hash) for hash in home}  # type: ignore[attr-defined]


def _write_folder(
    registry: Registry, target: Path, document: bytes, rows: PackedObjects, sizes: dict[str, int]
) -> set[str]:
    """Copy what the folder lacks, then the document, then delete what is no longer in it; return what was copied."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = PackedObjects(target)
    # Until everything is copied, an import takes the folder for an interrupted export.
    if not (target / DOCUMENT).exists():
        write_atomic(target / DOCUMENT, b'{"registry_export": null}\n', home.tmp)
    copied = home.missing(sizes)
    with _marking(registry):
        _copy(registry.objects, home, sizes)
    _copy(rows, home, _sizes_of(rows))
    write_atomic(target / DOCUMENT, document, home.tmp)
    gone = {hash for hash in home if hash not in sizes and rows.missing([hash])}
    # Recipes first: what only these are made of is not needed any more then.
    for hash in gone.intersection(home.recipes):
        home.recipes.delete(hash)
    for hash in gone - {str(step.source) for recipe in home.recipes for step in home.recipes.find(recipe)}:
        home.delete(hash)
    return copied


def _write_file(
    registry: Registry, target: Path, document: bytes, rows: PackedObjects, sizes: dict[str, int]
) -> set[str]:
    with replacing(target, temp_path(target.absolute().parent, f".{target.name[:100]}")) as file:
        _write_bundle(registry, BundleWriter(file, document), rows, sizes)
        sync_file(file)
    return set(sizes)


def _write_bundle(registry: Registry, bundle: BundleWriter, rows: PackedObjects, sizes: dict[str, int]) -> None:
    for home, wanted in ((rows, _sizes_of(rows)), (registry.objects, sizes)):
        for hash, size in wanted.items():
            with _marking(registry, hash), home.open(hash) as stream:
                bundle.add(hash, size, pieces_of(stream))
    bundle.finish()


@contextmanager
def _marking(registry: Registry, hash: str = "") -> Iterator[None]:
    """Mark the object at which reading fails as damaged, so that the next export leaves it out."""
    try:
        yield
    except DatapkgError as error:
        bad = hash or str(error.detail.get("hash") or error.detail.get("expected") or "")
        if not bad:
            raise
        with registry.db.write() as connection:
            objects.set_damaged(connection, bad, registry.now())
        raise CorruptObject(
            f"object {bad} of the registry is damaged; the export is not complete",
            hint="datapkg-registry check --repair; or export again, which leaves the object out",
            hash=bad,
        ) from error


def _copy(source: Readable, target: PackedObjects, sizes: dict[str, int]) -> None:
    """Copy objects that the target lacks; those that the source keeps as recipes become recipes there too."""
    made = {}
    if isinstance(source, PackedObjects):
        made = {hash: source.recipes.find(hash) for hash in target.missing(sizes.keys() & set(source.recipes))}
    # What recipes are made of first: each recipe is checked against it.
    transfer(source, target, plan({hash: size for hash, size in sizes.items() if hash not in made}, target))
    for hash, ranges in made.items():
        check_recipe(target, hash, ranges)
        target.recipes.keep(hash, ranges)


def load(registry: Registry, actor: Actor, source: Path) -> ExportReport:
    """Fill an empty registry from an export; nothing is listed in its database before everything is verified.

    Raise `InvalidInput` for a registry that has users, or for what is not an export; `CorruptObject` for a damaged one.
    Started again after an interruption, it copies only what is missing.
    """
    policy.check_operator(actor, "registry:import")
    home, document = _opened(source)
    with _naming_what_is_malformed(source), alone(registry, WAIT_S):
        tables = document["tables"]
        with registry.db.read() as connection:
            exported_rows.check_empty(connection)
        rows = exported_rows.parsed("objects", _lines(home, tables["objects"]["hash"]))
        sizes = {str(row["hash"]): int(str(row["size"])) for row in rows}
        damaged = set(_listed(home, tables))
        if lost := home.missing(sizes.keys() - damaged):
            raise _incomplete(source, f"{len(lost):,} objects are missing, {min(lost)} among them")
        sizes = {hash: size for hash, size in sizes.items() if hash not in damaged}
        copied = registry.objects.missing(sizes)
        _copy(home, registry.new_writer(), sizes)
        registry.objects.look_again()
        _load_rows(registry, home, document, source)
    return _report(tables, sizes, copied, sorted(damaged))


def _load_rows(registry: Registry, home: Readable, document: dict[str, Any], source: Path) -> None:
    with registry.db.write() as connection:
        exported_rows.check_empty(connection)
        exported_rows.prepare(connection, document["database"])
        for name, table in document["tables"].items():
            count = exported_rows.read(connection, name, _lines(home, table["hash"]))
            if count != table["rows"]:
                raise _incomplete(source, f"the table {name} has {count:,} rows, not {table['rows']:,}")
        exported_rows.finish(connection)
        recipes.note_all(registry, connection)


def _opened(source: Path) -> tuple[Any, dict[str, Any]]:
    """Return the objects of an export and its document, checked."""
    if source.is_dir():
        home: Readable = PackedObjects(source)
        data = (source / DOCUMENT).read_bytes() if (source / DOCUMENT).is_file() else b""
    elif source.is_file():
        home = BundleObjects(source)
        data = home.contents
    else:
        raise InvalidInput(f"{quoted(source)} does not exist", hint="give the folder or file of an export")
    try:
        document = json.loads(data)
        version = document["registry_export"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidInput(
            f"{quoted(source)} is not an export of a registry", hint="datapkg-registry export FOLDER"
        ) from None
    if version is None:
        raise InvalidInput(f"the export {quoted(source)} was interrupted", hint="export again to the same folder")
    if version != FORMAT:
        raise InvalidInput(
            f"the export has format {version!r}, which a newer datapkg-registry wrote", hint="upgrade datapkg-registry"
        )
    return home, document


def _lines(home: Readable, hash: str) -> Iterator[bytes]:
    """Yield the lines of an object; raise `HashMismatch` after the last if they are not its bytes."""
    sha256 = hashlib.sha256()
    with home.open(hash) as stream:
        for line in stream:
            sha256.update(line)
            yield line
    if sha256.hexdigest() != hash:
        raise mismatch(hash, sha256.hexdigest())


@contextmanager
def _naming_what_is_malformed(source: Path) -> Iterator[None]:
    """Inside, what no export has in its document or rows is an error of the export."""
    try:
        yield
    except DatapkgError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _incomplete(source, f"it has a malformed table or row ({type(error).__name__}: {error})") from error


def _incomplete(source: Path, what: str) -> CorruptObject:
    return CorruptObject(f"the export {source} is damaged: {what}; nothing was imported", hint="export again")
