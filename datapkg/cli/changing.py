"""Commands that change packages without downloading them: append, edit, merge."""

from __future__ import annotations

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
    registry_words,
    transfer_options,
    transfer_text,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.option_types import ChoiceType
from datapkg.format.texts import count_text, first_lines, hash_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datapkg.api.push_result import PushResult
    from datapkg.api.results import AppendResult, EditResult, MergeResult
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
    report_notes(session, done.warnings)
    state = pinned(done.package, done.hash)
    pushed = pushed_value(done.pushed) if done.pushed else None
    lines = [*_append_lines(done, state, dry_run), *would_send(done.transfer)]
    session.out.answer({**asdict(done), "pushed": pushed, "dry_run": dry_run}, lines, quiet=[state])
    if no_push and not dry_run and _has_news(done):
        session.out.say("", f"  publish it  datapkg push {done.package}")
    elif done.pushed:
        session.out.say("", f"  install it  datapkg install {done.package}{registry_words(registry)}")


def _has_news(done: AppendResult) -> bool:
    return bool(done.added or done.replaced or done.rows)


def would_send(transfer: PlannedTransfer | None) -> Iterator[str]:
    """Yield the line of a dry run about its transfer."""
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
        yield sent_line(done.pushed)
    yield from [new_line(done.package, done.pushed)] * done.is_new


def sent_line(pushed: PushResult) -> str:
    """Return the line about what a push sent."""
    return f"  {count_text(pushed.objects_sent, 'object')}, {size_text(pushed.bytes_sent)} sent; {pushed.url}"


def new_line(package: str, pushed: PushResult | None) -> str:
    """Return the line about a package that was made."""
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
        raise click.UsageError("name what to change: --remove PATH or --move OLD NEW", click.get_current_context())
    with session.progress() as progress:
        options = CommitOptions(message, not no_push, registry, progress, checks=not no_checks)
        done = change(session.home, ref, remove=remove, move=move, options=options)
    report_notes(session, done.warnings)
    state = pinned(done.package, done.hash)
    value = {**asdict(done), "pushed": pushed_value(done.pushed) if done.pushed else None}
    session.out.answer(value, _edit_lines(done, state), quiet=[state])
    if no_push:
        session.out.say("", f"  publish it  datapkg push {done.package}")
    elif done.pushed:
        session.out.say("", f"  install it  datapkg install {done.package}{registry_words(registry)}")


def _edit_lines(done: EditResult, state: str) -> Iterator[str]:
    parts = [f"removed {count_text(done.nodes_removed, 'node')}"] if done.removed else []
    parts += [f"moved {count_text(len(done.moved), 'path')}"] if done.moved else []
    yield f"{', '.join(parts)} in {done.package}"
    paths = [*(f"- {path}" for path in done.removed), *(f"{old} → {new}" for old, new in done.moved.items())]
    yield from first_lines(paths, _PATHS_SHOWN, indent="  ")
    yield f"  {state}"
    if done.pushed:
        yield sent_line(done.pushed)


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
    report_notes(session, done.warnings)
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


def pushed_value(pushed: PushResult) -> dict[str, Any]:
    """Return a push for `--json`."""
    return {name: value for name, value in asdict(pushed).items() if name not in ("record", "warnings")}


def report_notes(session: Session, warnings: list[str]) -> None:
    """Print warnings as notes."""
    for warning in warnings:
        session.out.note(warning)
