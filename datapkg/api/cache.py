"""What is kept on this machine: its sizes, states and why they stay, and warm copies of tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datapkg.api.results import WarmResult
from datapkg.errors import DatapkgError, InvalidInput, NodeNotFound, Refused
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.reading.missing.earlier_states import explained
from datapkg.reading.source import Source
from datapkg.resolve import find_installed
from datapkg.store.arrow_cache import CachedTable
from datapkg.store.format_version import OLDEST_WRITTEN
from datapkg.store.inventory import Usage, usage_of
from datapkg.store.roots import StoredState as StoredState
from datapkg.store.roots import all_states
from datapkg.store.sharing import make_shared
from datapkg.store.store import Store


def warm_tables(home: Home, ref: Ref, progress: Progress = silent) -> list[WarmResult]:
    """Create warm copies of the tables of a package, or of those below the node of the ref; return them in order.

    Existing copies are kept. Raise `InvalidInput` if there is no table.
    """
    # They load pyarrow, which a listing does not need.
    from datapkg.reading.tables import arrow_cache, arrow_cache_writer
    from datapkg.reading.tables.stored_table import StoredTable

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


@dataclass(frozen=True)
class KeptState:
    """A state on this machine with its bytes; `kept_by` are the roots that keep it from `gc`, none for an older one."""

    package: str
    hash: str
    created_at: str | None
    bytes_logical: int
    is_pushed: bool
    kept_by: list[str]


@dataclass(frozen=True)
class CacheListing:
    """The states on this machine, and the warm copies of tables; both ordered by package."""

    states: list[KeptState]
    copies: list[CachedTable]


def list_cache(home: Home) -> CacheListing:
    """Return the states on this machine, the newest of each package first, and the warm copies."""
    store = home.store
    states = sorted(all_states(store).values(), key=lambda each: -each.at)
    absent = store.objects.absent(each.hash for each in states)
    listed = [
        _kept_state(store, package, each) for each in states if each.hash not in absent for package in each.packages
    ]
    return CacheListing(sorted(listed, key=lambda each: each.package), store.copies.list())


def _kept_state(store: Store, package: str, state: StoredState) -> KeptState:
    try:
        size = store.open_manifest(state.hash).size()
    except DatapkgError:  # `verify` reports it
        size = 0
    at = datetime.fromtimestamp(state.at, UTC).isoformat(timespec="seconds") if state.at else None
    return KeptState(package, state.hash, at, size, state.is_pushed, sorted(state.roots - {"log"}))


def disk_usage(home: Home) -> DiskUsage:
    """Return what the packages on this machine take, the copies of tables, and the downloaded sources of builds."""
    sources = (path.lstat().st_size for path in (home.cache / "sources").rglob("*") if path.is_file())
    warm = sum(each.size_bytes for each in home.store.copies.list())
    return DiskUsage(usage_of(home.store), warm, sum(sources))


@dataclass(frozen=True)
class DiskUsage:
    """What packages take, and the bytes of warm copies and of downloaded sources."""

    store: Usage
    bytes_warm: int
    bytes_sources: int


def keep_state(home: Home, ref: Ref, *, remove: bool = False) -> str:
    """Pin the state of a ref for `gc`, or with `remove` take the pin away; return its hash.

    Raise `PackageNotInstalled`; `Refused` for a state of a read-only store, which `gc` never changes.
    """
    if ref.path:
        raise InvalidInput(
            f"{ref} names a part of a state, which is kept as a whole",
            hint=f"datapkg cache keep {ref.at(None).package}",
        )
    found = find_installed(home, ref)
    if found.store is not home.store:
        raise Refused(f"{ref} is in the read-only store {found.store.folder}, where nothing is removed")
    with home.store.writing():
        refs = home.store.refs
        refs.unkeep(ref, found.hash) if remove else refs.keep(ref, found.hash)
    return found.hash


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
    from datapkg.reading.tables import arrow_cache

    try:
        found = find_installed(home, ref)
        return {arrow_cache.key(table) for table in _tables(Source(found.store, ref, found.hash), ref)}
    # The package is here, so the path is misspelt; of a removed package, copies are found by name.
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
