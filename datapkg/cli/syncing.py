"""The command that makes a package at its registry what a folder is, once or whenever the folder changes: sync."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    PATH,
    TEXT,
    dry_run_option,
    message_option,
    no_checks_option,
    pinned,
    ref_argument,
    registry_option,
    transfer_options,
)
from datapkg.cli.changing import new_line, pushed_value, report_notes, sent_line, would_send
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.failures import EXIT_INTERRUPTED
from datapkg.format.texts import count_text, hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datapkg.api.results import SyncResult
    from datapkg.api.sync import SyncOptions
    from datapkg.api.watch import Round
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg sync ./sales me/sales
    datapkg sync ./sales me/sales --delete --dry-run
    datapkg sync ./sales me/sales --watch
    """,
)
@click.argument("folder", type=PATH, metavar="DIR")
@ref_argument
@click.option(
    "--to", type=TEXT, metavar="GROUP", default="", help="The group to update; by default the package itself."
)
@click.option("--delete", is_flag=True, help="Remove nodes that DIR lacks.")
@click.option("--watch", is_flag=True, help="Keep running, and sync again after each change.")
@message_option
@click.option("-t", "--tag", type=TEXT, help="Set this tag on the state, besides latest.")
@click.option("-v", "--version", type=TEXT, help="Give the state this version, which never moves.")
@dry_run_option
@click.option("--allow-empty", "--yes", is_flag=True, help="With --delete, allow an empty DIR to empty the package.")
@no_checks_option
@registry_option
@transfer_options
@pass_session
def sync(
    session: Session,
    folder: Path,
    ref: Ref,
    to: str,
    delete: bool,
    watch: bool,
    message: str,
    tag: str | None,
    version: str | None,
    dry_run: bool,
    allow_empty: bool,
    no_checks: bool,
    registry: str | None,
) -> None:
    """Update a package at its registry from a folder.

    Files of DIR are named and read as in a build. Only what differs from the registry's latest state is built and
    pushed; nothing is downloaded. Nodes that DIR lacks stay, unless you add --delete.
    """
    from datapkg.api.sync import SyncOptions
    from datapkg.api.sync import sync as make_follow

    given: dict[str, Any] = {"tag": tag, "version": version, "checks": not no_checks}
    options = SyncOptions(to, delete, allow_empty, message, dry_run, registry, **given)
    if watch and version:
        raise click.UsageError("--version names one state; it does not go with --watch", click.get_current_context())
    if watch:
        _watch(session, folder, ref, options)
        return
    with session.progress() as progress:
        synced = make_follow(session.home, folder, ref, options, progress=progress)
    report_notes(session, synced.warnings)
    state = pinned(synced.package, synced.hash)
    lines = [_sync_line(synced, state, folder, dry_run), *_sync_details(synced, dry_run)]
    if synced.hash and not dry_run:
        lines += [f"  it is {synced.package}@{name}" for name in (version, tag) if name]
    session.out.answer({**_value(synced), "dry_run": dry_run}, lines, quiet=[state] if synced.hash else [])


def _value(synced: SyncResult) -> dict[str, Any]:
    pushed = {"pushed": pushed_value(synced.pushed)} if synced.pushed else {}
    return {**asdict(synced), "counts": synced.counts, "pushed": None, **pushed}


def _sync_line(synced: SyncResult, state: str, folder: Path, dry_run: bool) -> str:
    if not synced.hash:
        return f"nothing to do: {folder} has no data, and there is no {synced.package} yet"
    if not synced:
        return f"nothing to do: {state} has all of {folder}"
    meta = ", metadata" if synced.meta else ""
    return f"{synced.counts}{meta}  {'would be ' if dry_run else ''}{state}"


def _sync_details(synced: SyncResult, dry_run: bool) -> Iterator[str]:
    if dry_run:
        yield from (f"  + {path}" for path in synced.added)
        yield from (f"  ~ {path}" for path in synced.changed)
        yield from (f"  - {path}" for path in synced.removed)
        yield from would_send(synced.transfer)
    if synced.pushed:
        yield sent_line(synced.pushed)
    if synced.kept:
        yield f"  kept {count_text(len(synced.kept), 'node')} that the folder does not have; --delete removes them"
    if synced.is_new and synced.pushed:
        yield new_line(synced.package, synced.pushed)


def _watch(session: Session, folder: Path, ref: Ref, options: SyncOptions) -> None:
    from datapkg.api.watch import watch

    if options.dry_run:
        raise click.UsageError("--dry-run does not go with --watch", click.get_current_context())
    out = session.out
    if not (out.quiet or out.json):
        out.note(f"watching {folder}; Ctrl-C ends it")
    try:
        for each in watch(session.home, folder, ref, options, progress=session.progress):
            _report_round(session, each, folder)
    except KeyboardInterrupt:
        out.note(f"stopped watching {folder}")
        click.get_current_context().exit(EXIT_INTERRUPTED)


def _report_round(session: Session, each: Round, folder: Path) -> None:
    """Print one line, or one JSON document, for the result of a round."""
    out, at = session.out, time.strftime("%H:%M:%S")
    if each.synced is not None:
        report_notes(session, each.synced.warnings)
        short = f"{each.synced.package}@{hash_text(each.synced.hash)}" if each.synced.hash else ""
        line = f"{at}  {_sync_line(each.synced, short, folder, dry_run=False)}"
        out.answer(_value(each.synced), [line])
    elif each.error is not None:
        again = f"; trying again in {each.again_s:g} s" if each.again_s else "; waiting for another change"
        out.answer({"error": each.error.to_wire(), "again_s": each.again_s}, [f"{at}  {each.error}{again}"])
    out.flush()  # each round at once, also into a pipe
