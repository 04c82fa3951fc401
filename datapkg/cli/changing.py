"""Commands that change packages without downloading them: append, cp, edit, merge, sync."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    PATH,
    REF,
    TEXT,
    dry_run_option,
    import_line,
    message_option,
    no_checks_option,
    pinned,
    ref_argument,
    registry_option,
    transfer_options,
    transfer_text,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.failures import EXIT_INTERRUPTED
from datapkg.format.option_types import ChoiceType
from datapkg.format.texts import count_text, first_lines, hash_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datapkg.api.results import AppendResult, EditResult, MergeResult, PushResult, SyncResult
    from datapkg.api.sync import SyncOptions
    from datapkg.api.watch import Round
    from datapkg.format.names import Ref
    from datapkg.objects.deltas import PlannedTransfer

_PATHS_SHOWN = 10


@click.command(
    cls=Command,
    examples="""
    datapkg append me/sales may.csv june.csv --to months
    datapkg append me/sales today.csv --to orders -m "today's orders"
    datapkg append me/sales ./photos --to images --replace
    """,
)
@ref_argument
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--to", type=TEXT, metavar="PATH", default="", help="The group or table to add to; by default the package itself."
)
@click.option("--replace", is_flag=True, help="Replace existing nodes.")
@message_option
@click.option("--no-push", is_flag=True, help="Keep the new state here without pushing it.")
@no_checks_option
@dry_run_option
@registry_option
@transfer_options
@pass_session
def append(
    session: Session,
    ref: Ref,
    files: tuple[Path, ...],
    to: str,
    replace: bool,
    message: str,
    no_push: bool,
    no_checks: bool,
    dry_run: bool,
    registry: str | None,
) -> None:
    """Add files to a package, or rows to a table in it.

    If PATH is a table, the rows of each FILE are appended to it. Otherwise each FILE becomes a node of the group PATH,
    named and read as in a build, and a folder becomes a group. The package is not downloaded; the new state is pushed.
    """
    from datapkg.api.append import AppendOptions
    from datapkg.api.append import append as add

    options = AppendOptions(to, replace, message, not no_push, registry, checks=not no_checks, dry_run=dry_run)
    with session.progress() as progress:
        done = add(session.home, ref, files, options, progress=progress)
    _report_notes(session, done.warnings)
    state = pinned(done.package, done.hash)
    pushed = _pushed_value(done.pushed) if done.pushed else None
    lines = [*_append_lines(done, state, dry_run), *_would_send(done.transfer)]
    session.out.answer({**asdict(done), "pushed": pushed, "dry_run": dry_run}, lines, quiet=[state])
    if no_push and not dry_run and _has_news(done):
        session.out.say("", f"  publish it  datapkg push {done.package}")
    elif done.pushed:
        session.out.say("", f"  install it  datapkg install {done.package}")


def _has_news(done: AppendResult) -> bool:
    return bool(done.added or done.replaced or done.rows)


def _would_send(transfer: PlannedTransfer | None) -> Iterator[str]:
    if transfer:
        yield f"  would send {transfer_text(transfer)}; nothing was sent"


def _append_lines(done: AppendResult, state: str, dry_run: bool) -> Iterator[str]:
    where = f"{done.package}/{done.to}" if done.to else done.package
    if not _has_news(done):
        yield f"nothing to do: {state} has all of it"
        return
    if done.rows:
        verb, then = ("would append", "would have {:,}") if dry_run else ("appended", "has {:,} now")
        yield f"{verb} {count_text(done.rows, 'row')} to {where}, which {then.format(done.rows_now)}"
    else:
        verbs = ("would add", "would replace") if dry_run else ("added", "replaced")
        parts = zip(verbs, (done.added, done.replaced), strict=True)
        yield " and ".join(f"{verb} {count_text(len(to), 'node')}" for verb, to in parts if to) + f" in {where}"
        paths = [*(f"+ {path}" for path in done.added), *(f"~ {path}" for path in done.replaced)]
        yield from first_lines(paths, _PATHS_SHOWN, indent="  ")
    yield f"  {state}"
    if done.pushed:
        yield _sent_line(done.pushed)
    yield from [_new_line(done.package, done.pushed)] * done.is_new


def _sent_line(pushed: PushResult) -> str:
    return f"  {count_text(pushed.objects_sent, 'object')}, {size_text(pushed.bytes_sent)} sent; {pushed.url}"


def _new_line(package: str, pushed: PushResult | None) -> str:
    if pushed is None or pushed.public:
        return f"  {package} is new"
    return f"  {package} is new and private; datapkg push {package} --public shows it to everybody"


@click.command(
    cls=Command,
    examples="""
    datapkg edit me/sales --remove drafts --remove old/2019
    datapkg edit me/sales --move may months/may -m "May is a month"
    """,
)
@ref_argument
@click.option("--remove", type=TEXT, metavar="PATH", multiple=True, help="A node or group to remove; may be repeated.")
@click.option(
    "--move",
    type=(TEXT, TEXT),
    metavar="OLD NEW",
    multiple=True,
    help="A node or group and its new path; may be repeated.",
)
@message_option
@click.option("--no-push", is_flag=True, help="Keep the new state here without pushing it.")
@no_checks_option
@registry_option
@transfer_options
@pass_session
def edit(
    session: Session,
    ref: Ref,
    remove: tuple[str, ...],
    move: tuple[tuple[str, str], ...],
    message: str,
    no_push: bool,
    no_checks: bool,
    registry: str | None,
) -> None:
    """Remove nodes from a package, or move them to other paths.

    Nodes are removed first, then moved in the given order. The package is not downloaded; the new state is pushed.
    Earlier states do not change. To add nodes or rows, use datapkg append.
    """
    from datapkg.api.drafts.policy import CommitOptions
    from datapkg.api.edit import edit as change

    if not (remove or move):
        raise click.UsageError("say what to change: --remove PATH or --move OLD NEW", click.get_current_context())
    with session.progress() as progress:
        options = CommitOptions(message, not no_push, registry, progress, checks=not no_checks)
        done = change(session.home, ref, remove=remove, move=move, options=options)
    _report_notes(session, done.warnings)
    state = pinned(done.package, done.hash)
    value = {**asdict(done), "pushed": _pushed_value(done.pushed) if done.pushed else None}
    session.out.answer(value, _edit_lines(done, state), quiet=[state])
    if no_push:
        session.out.say("", f"  publish it  datapkg push {done.package}")
    elif done.pushed:
        session.out.say("", f"  install it  datapkg install {done.package}")


def _edit_lines(done: EditResult, state: str) -> Iterator[str]:
    parts = [f"removed {count_text(done.nodes_removed, 'node')}"] if done.removed else []
    parts += [f"moved {count_text(len(done.moved), 'path')}"] if done.moved else []
    yield f"{', '.join(parts)} in {done.package}"
    paths = [*(f"- {path}" for path in done.removed), *(f"{old} → {new}" for old, new in done.moved.items())]
    yield from first_lines(paths, _PATHS_SHOWN, indent="  ")
    yield f"  {state}"
    if done.pushed:
        yield _sent_line(done.pushed)


@click.command(
    cls=Command,
    examples="""
    datapkg merge ann/sales bob/prices -o me/shop
    datapkg merge ann/sales bob/sales@1.2 -o me/sales --concat --on-conflict ours
    datapkg merge ann/sales/north bob/sales/south -o me/regions --on-conflict rename
    """,
)
@click.argument("refs", type=REF, nargs=-1, required=True, metavar="REF...")
@click.option("-o", "--output", type=REF, metavar="REF", required=True, help="The new package.")
@click.option(
    "--on-conflict",
    type=ChoiceType(["error", "ours", "theirs", "rename"]),
    default="error",
    show_default=True,
    help="For different nodes at one path: fail, take the first, the last, or both.",
)
@click.option("--concat", is_flag=True, help="Concatenate tables with the same path and columns.")
@message_option
@no_checks_option
@dry_run_option
@registry_option
@pass_session
def merge(
    session: Session,
    refs: tuple[Ref, ...],
    output: Ref,
    on_conflict: str,
    concat: bool,
    message: str,
    no_checks: bool,
    dry_run: bool,
    registry: str | None,
) -> None:
    """Merge packages into one.

    Each REF is a package or a group in one, installed or at a registry; only manifests are downloaded. The new package
    is stored on this machine and replaces an earlier state of that name.
    """
    from datapkg.api.merge import MergeOptions
    from datapkg.api.merge import merge as put_together

    options = MergeOptions(on_conflict, concat, message, registry, checks=not no_checks, dry_run=dry_run)
    with session.progress() as progress:
        done = put_together(session.home, refs, output, options, progress=progress)
    out = session.out
    _report_notes(session, done.warnings)
    state = pinned(done.package, done.hash)
    if done.transfer is not None:
        what = f"would fetch {transfer_text(done.transfer, to_here=True)}; nothing was downloaded"
        state = state if done.hash else done.package
        out.answer(
            {**asdict(done), "dry_run": True}, [f"would merge {state}", *_merge_lines(done), f"  {what}"], quiet=[state]
        )
        return
    out.answer({**asdict(done), "dry_run": False}, [f"merged {state}", *_merge_lines(done)], quiet=[state])
    out.say("", f"  import it   {import_line(done.package)}", f"  publish it  datapkg push {done.package}")


def _merge_lines(done: MergeResult) -> Iterator[str]:
    names = ", ".join(f"{each['package']}@{hash_text(each['hash'])}" for each in done.inputs)
    yield f"  {count_text(done.nodes, 'node')}, {size_text(done.bytes_logical)}, of {names}"
    lines = [f"put together {path}" for path in done.concatenated]
    lines += [f"renamed      {old} → {new}" for new, old in done.renamed.items()]
    lines += [f"gave way     {path}" for path in done.dropped]
    yield from first_lines(lines, _PATHS_SHOWN, indent="  ")
    if done.bytes_absent:
        yield f"  {size_text(done.bytes_absent)} of it are at a registry alone, where a push finds them"


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
    _report_notes(session, synced.warnings)
    state = pinned(synced.package, synced.hash)
    lines = [_sync_line(synced, state, folder, dry_run), *_sync_details(synced, dry_run)]
    if synced.hash and not dry_run:
        lines += [f"  it is {synced.package}@{name}" for name in (version, tag) if name]
    session.out.answer({**_value(synced), "dry_run": dry_run}, lines, quiet=[state] if synced.hash else [])


def _value(synced: SyncResult) -> dict[str, Any]:
    pushed = {"pushed": _pushed_value(synced.pushed)} if synced.pushed else {}
    return {**asdict(synced), "counts": synced.counts, "pushed": None, **pushed}


def _pushed_value(pushed: PushResult) -> dict[str, Any]:
    return {name: value for name, value in asdict(pushed).items() if name not in ("record", "warnings")}


def _report_notes(session: Session, warnings: list[str]) -> None:
    for warning in warnings:
        session.out.note(warning)


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
        yield from _would_send(synced.transfer)
    if synced.pushed:
        yield _sent_line(synced.pushed)
    if synced.kept:
        yield f"  kept {count_text(len(synced.kept), 'node')} that the folder does not have; --delete removes them"
    if synced.is_new and synced.pushed:
        yield _new_line(synced.package, synced.pushed)


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
        _report_notes(session, each.synced.warnings)
        short = f"{each.synced.package}@{hash_text(each.synced.hash)}" if each.synced.hash else ""
        line = f"{at}  {_sync_line(each.synced, short, folder, dry_run=False)}"
        out.answer(_value(each.synced), [line])
    elif each.error is not None:
        again = f"; trying again in {each.again_s:g} s" if each.again_s else "; waiting for another change"
        out.answer({"error": each.error.to_wire(), "again_s": each.again_s}, [f"{at}  {each.error}{again}"])
    out.flush()
