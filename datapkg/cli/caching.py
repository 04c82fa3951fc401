"""Commands for what is kept on this machine: its sizes, states that gc keeps, and warm copies of tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH, REF, TEXT, ref_argument
from datapkg.cli.command import CommandGroup, Session, pass_session
from datapkg.format.texts import count_text, hash_text, size_text, time_text

if TYPE_CHECKING:
    from datapkg.api.cache import KeptState
    from datapkg.format.names import Ref
    from datapkg.store.arrow_cache import CachedTable


@click.group(
    cls=CommandGroup,
    examples="""
    datapkg cache du
    datapkg cache ls
    datapkg cache keep uciml/iris@1.2.0
    datapkg cache warm uciml/iris
    datapkg cache share /srv/datapkg --group data
    """,
)
def cache() -> None:
    """Sizes, pinned states and warm copies on this machine.

    A warm copy is an uncompressed Arrow file: several times larger than the stored table, but node.arrow(),
    node(frozen=True) and node(dtype_backend="pyarrow") map it into memory without reading it.
    """


@cache.command(
    "warm",
    examples="""
    datapkg cache warm uciml/iris
    datapkg cache warm uciml/iris/measurements
    """,
)
@ref_argument
@pass_session
def warm(session: Session, ref: Ref) -> None:
    """Make copies of the tables of a package, or of one table.

    Existing copies are kept.
    """
    from datapkg.api.cache import warm_tables

    with session.progress() as progress:
        done = warm_tables(session.home, ref, progress)
    made, total = sum(each.made for each in done), sum(each.size_bytes for each in done)
    lines = [f"  {each.path}  {count_text(each.rows, 'row')}, {size_text(each.size_bytes)}" for each in done]
    before = f", {len(done) - made:,} were before" if made < len(done) else ""
    lines.append(f"{count_text(made, 'table')} of {ref.package} made warm{before}; {size_text(total)} in the cache")
    lines.append(f"to free it: datapkg cache rm {ref.package}")
    value = {"package": ref.package, "tables": [asdict(each) for each in done], "size_bytes": total}
    session.out.answer(value, lines, quiet=[])


@cache.command("ls", examples="datapkg cache ls")
@pass_session
def list_all(session: Session) -> None:
    """List the states on this machine, why each is kept, and the warm copies.

    A state that nothing keeps is removed by datapkg gc if you ask for the space of older states. A stale copy was
    changed after it was written: it is never read, and `cache warm` replaces it.
    """
    from datapkg.api.cache import list_cache

    found = list_cache(session.home)
    out = session.out
    if out.json:
        total = sum(each.size_bytes for each in found.copies)
        copies = [_value(each) for each in found.copies]
        out.answer({"states": [asdict(each) for each in found.states], "copies": copies, "size_bytes": total}, [])
        return
    states = [
        (
            each.package,
            hash_text(each.hash),
            time_text(each.created_at or ""),
            size_text(each.bytes_logical),
            _why(each),
        )
        for each in found.states
    ]
    if states:
        out.table(("package", "state", "when", "size", "kept by"), states, right=(3,))
        out.say("")
    if not found.copies:
        out.say("no table is warm; type: datapkg cache warm USER/NAME")
        return
    rows = [
        (_name(each), f"{each.rows:,}", size_text(each.size_bytes), "" if each.whole else "stale")
        for each in found.copies
    ]
    out.table(("table", "rows", "size", ""), rows, right=(1, 2))


def _why(state: KeptState) -> str:
    names = {"build": "newest builds", "kept": "cache keep", "lock": "a lock file"}
    why = ", ".join(names.get(each, each) for each in state.kept_by)
    return why if state.is_pushed else f"{why} (never pushed)".strip()


@cache.command("du", examples="datapkg cache du")
@pass_session
def usage(session: Session) -> None:
    """Show how much space each package takes.

    LOGICAL is the size of its states if each were stored alone, UNIQUE the size of what only this package needs. The
    rest is shared by packages, or by states that were read without an install. Stores of the setting `path` are not
    counted.
    """
    from datapkg.api.cache import disk_usage

    found = disk_usage(session.home)
    out, store = session.out, found.store
    if out.json:
        out.answer({**asdict(store), "bytes_warm": found.bytes_warm, "bytes_sources": found.bytes_sources}, [])
        return
    rows = [
        (each.package, f"{each.states:,}", size_text(each.bytes_logical), size_text(each.bytes_unique))
        for each in store.packages
    ]
    out.table(("package", "states", "logical", "unique"), rows, right=(1, 2, 3))
    lines = [f"{size_text(store.bytes_stored)} in the store, of it {size_text(store.bytes_shared)} shared"]
    lines += [f"  {size_text(store.bytes_unneeded)} in no package: datapkg gc"] if store.bytes_unneeded else []
    lines += [f"  {size_text(found.bytes_warm)} in warm copies: datapkg cache rm"] if found.bytes_warm else []
    lines += [f"  {size_text(found.bytes_sources)} in downloaded sources of builds"] if found.bytes_sources else []
    out.say("", *lines)


@cache.command(
    "keep",
    examples="""
    datapkg cache keep uciml/iris@1.2.0
    datapkg cache keep uciml/iris@1.2.0 --remove
    """,
)
@ref_argument
@click.option("--remove", is_flag=True, help="Remove the pin.")
@pass_session
def keep(session: Session, ref: Ref, remove: bool) -> None:
    """Pin a state, so that datapkg gc never removes it.

    `datapkg rm` of the package still removes it.
    """
    from datapkg.api.cache import keep_state

    hash = keep_state(session.home, ref, remove=remove)
    what = "may be removed by datapkg gc again" if remove else "is kept by datapkg gc"
    value = {"package": ref.package, "hash": hash, "kept": not remove}
    session.out.answer(value, [f"{ref.package}@{hash_text(hash)} {what}"], quiet=[])


@cache.command(
    "rm",
    examples="""
    datapkg cache rm uciml/iris
    datapkg cache rm --dry-run
    datapkg cache rm
    """,
)
@click.argument("ref", type=REF, required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
@pass_session
def remove(session: Session, ref: Ref | None, dry_run: bool) -> None:
    """Remove the copies of a package, or all copies.

    No data is lost: tables are read from their objects again.
    """
    from datapkg.api.cache import remove_copies

    gone = remove_copies(session.home, ref, dry_run)
    total = sum(each.size_bytes for each in gone)
    verb = "would free" if dry_run else "freed"
    value = {"removed": [_value(each) for each in gone], "size_bytes": total, "dry_run": dry_run}
    lines = [f"  {_name(each)}  {size_text(each.size_bytes)}" for each in gone]
    nothing = f"no table of {ref} is warm" if ref else "no table is warm"
    lines.append(f"{verb} {size_text(total)} of {count_text(len(gone), 'table')}" if gone else nothing)
    session.out.answer(value, lines, quiet=[])


@cache.command(
    "share",
    examples="""
    datapkg cache share /srv/datapkg --group data
    datapkg config path /srv/datapkg
    """,
)
@click.argument("folder", type=PATH)
@click.option("--group", type=TEXT, help="The group whose members share it; by default your own.")
@pass_session
def share(session: Session, folder: Path, group: str | None) -> None:
    """Make a folder in which the users of a group share downloads.

    Each user sets it once: datapkg config path FOLDER. What one of them downloads is then read there by all, and not
    downloaded again. All members of the group can read everything in it.
    """
    from datapkg.api.cache import share_store

    done = share_store(folder, group)
    lines = [f"{done} is a shared store", f"  use it, each user  datapkg config path {done}"]
    session.out.answer({"shared": str(done)}, lines, quiet=[str(done)])


def _name(copy: CachedTable) -> str:
    return f"{copy.package}/{copy.path}" if copy.package else f"({copy.key[:12]})"


def _value(copy: CachedTable) -> dict[str, object]:
    return {
        "package": copy.package,
        "path": copy.path,
        "rows": copy.rows,
        "size_bytes": copy.size_bytes,
        "whole": copy.whole,
    }
