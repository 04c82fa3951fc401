"""The command that publishes packages: push."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    TEXT,
    message_option,
    pinned,
    ref_argument,
    registry_option,
    registry_words,
    transfer_options,
    transfer_text,
)
from datapkg.cli.changes import change_lines
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.texts import count_text, size_text

if TYPE_CHECKING:
    from datapkg.api.push_result import PushResult
    from datapkg.cli.output import Output
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg push me/sales -m "figures of May"
    datapkg push me/sales --version 1.2.0 --tag stable
    datapkg push me/sales --dry-run
    """,
)
@ref_argument
@click.option("--public", is_flag=True, help="Make the package public; by default it is private.")
@message_option
@click.option("-t", "--tag", type=TEXT, help="Set this tag on the state, besides latest.")
@click.option("-v", "--version", type=TEXT, help="Give the state this version, which never moves.")
@click.option("--onto", type=TEXT, metavar="HASH", help="The registry's latest state, which this push replaces.")
@click.option("--force", is_flag=True, help="Push even if somebody else pushed meanwhile.")
@click.option("--yes", is_flag=True, help="Confirm that all earlier pushes become public.")
@click.option("--dry-run", is_flag=True, help="Show what would change for users and be sent, and send nothing.")
@registry_option
@transfer_options
@pass_session
def push(session: Session, ref: Ref, onto: str | None, yes: bool, dry_run: bool, **options: Any) -> None:
    """Publish a package to a registry.

    Sends the last build, or the state of REF; only data that the registry lacks is sent. The state becomes the
    registry's latest. Review a release with --dry-run: it fails where the push would fail, and lists the nodes,
    columns, types and rows that change.
    """
    from datapkg.api.push import push_package

    with session.progress() as progress:
        pushed = push_package(
            session.home, ref, parent=onto, confirm=yes, dry_run=dry_run, progress=progress, **options
        )
    _report_push(session.out, pushed, dry_run, options["registry"])


def _report_push(out: Output, pushed: PushResult, dry_run: bool, registry: str | None) -> None:
    for warning in pushed.warnings:
        out.note(warning)
    lines = [*push_lines(pushed), *(["", *change_lines(pushed.changes)] if dry_run else [])]
    out.answer({**asdict(pushed), "dry_run": dry_run}, lines, quiet=[pinned(pushed.package, pushed.hash)])
    if not dry_run:
        report_pushed(out, pushed, registry)


def push_lines(pushed: PushResult) -> list[str]:
    """Return what was pushed, or would be, and where it is."""
    return [_push_line(pushed, pinned(pushed.package, pushed.hash)), f"  {pushed.url}"]


def report_pushed(out: Output, pushed: PushResult, registry: str | None = None) -> None:
    """Print what can be done with a package that was pushed, to the registry that was named."""
    named = registry_words(registry)
    out.say("", f"  install it  datapkg install {pushed.package}{named}", *_readers(pushed, named))


def _push_line(pushed: PushResult, state: str) -> str:
    amount = f"{count_text(pushed.objects_sent, 'object')}, {size_text(pushed.bytes_sent)}"
    if pushed.transfer:
        return f"would push {state}: {transfer_text(pushed.transfer)}; nothing was sent"
    if pushed.changed:
        return f"pushed {state}: {amount}"
    return f"the registry is at {state} already" + (f"; sent what it lacked: {amount}" if pushed.objects_sent else "")


def _readers(pushed: PushResult, named: str) -> list[str]:
    may_share = pushed.role == "owner" and not pushed.public
    return [] if not may_share else [f"  share it    datapkg access add {pushed.package} USER{named}   (it is private)"]
