"""Warm copies of tables, which are read without decoding: create, list and remove them."""

from __future__ import annotations

from pathlib import Path

from datapkg.api.results import WarmResult
from datapkg.errors import DatapkgError, InvalidInput, NodeNotFound
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.reading.missing.earlier_states import explained
from datapkg.reading.source import Source
from datapkg.reading.tables import arrow_cache, arrow_cache_writer
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.resolve import find_installed
from datapkg.store.arrow_cache import CachedTable
from datapkg.store.format_version import OLDEST_WRITTEN
from datapkg.store.sharing import make_shared


def warm_tables(home: Home, ref: Ref, progress: Progress = silent) -> list[WarmResult]:
    """Create warm copies of the tables of a package, or of those below the node of the ref; return them in order.

    Existing copies are kept. Raise `InvalidInput` if there is no table.
    """
    found = find_installed(home, ref)
    source = Source(found.store, ref, found.hash)
    with explained(found, home):
        tables = _tables(source, ref)
    if not tables:
        raise InvalidInput(f"{ref} has no table to keep warm", hint=f"datapkg show {ref.package}")
    done = []
    for number, table in enumerate(tables):
        progress("warming", number, len(tables))
        made = arrow_cache_writer.write(StoredTable(source, table))
        path = found.store.copies.find(arrow_cache.key(table))
        size = path.stat().st_size if path else 0
        done.append(WarmResult(ref.package, table.path, table.rows, size, made))
    progress("warming", len(tables), len(tables))
    return done


def list_copies(home: Home) -> list[CachedTable]:
    """Return the warm copies on this machine, ordered by package and path."""
    return home.store.copies.list()


def remove_copies(home: Home, ref: Ref | None = None, dry_run: bool = False) -> list[CachedTable]:
    """Remove the warm copies of what the ref names, or all; return those that were (or would be) removed.

    A copy serves every package that has the same table, so it is removed for all of them.
    """
    copies = home.store.copies
    keys = _keys(home, ref) if ref else set()
    gone = [each for each in copies.list() if ref is None or each.key in keys or _is_below(each, ref)]
    if not dry_run:
        for each in gone:
            copies.remove(each.key)
    return gone


def _tables(source: Source, ref: Ref) -> list[TableNode]:
    return [node for node in source.manifest.below(ref.path) if isinstance(node, TableNode)]


def _keys(home: Home, ref: Ref) -> set[str]:
    """Return the keys of the tables that a ref names; none if it is no longer installed."""
    try:
        found = find_installed(home, ref)
        return {arrow_cache.key(table) for table in _tables(Source(found.store, ref, found.hash), ref)}
    except NodeNotFound:
        raise
    except DatapkgError:
        return set()


def _is_below(copy: CachedTable, ref: Ref) -> bool:
    """Return whether a copy belongs to this package, or to a node below the ref, in any state."""
    return (
        ref.state is None
        and copy.package == ref.package
        and f"{copy.path}/".startswith(f"{ref.path}/" * bool(ref.path))
    )


def share_store(folder: Path, group: str | None = None) -> Path:
    """Make a shared store (see `store.sharing.make_shared`); return its absolute path."""
    folder = Path(folder).expanduser().absolute()
    make_shared(folder, group, str(OLDEST_WRITTEN))
    return folder
