"""The commands that copy packages: cp under another name, mirror into another registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import (
    REF,
    TEXT,
    dry_run_option,
    message_option,
    pinned,
    ref_argument,
    registry_option,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.texts import count_text, size_text

if TYPE_CHECKING:
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg cp me/sales alice/sales
    datapkg cp uciml/iris@1.0.0 me/iris -m "to be extended"
    """,
)
@ref_argument
@click.argument("into", type=REF)
@message_option
@registry_option
@pass_session
def cp(session: Session, ref: Ref, into: Ref, message: str, registry: str | None) -> None:
    """Copy a package under another name.

    REF is a package here or at a registry; only its manifest is downloaded. The copy INTO is stored on this machine and
    replaces an earlier state of that name. Pushing it sends no data that the registry already has and you can read. To
    rename a package, copy it, push the copy, and delete the old one.
    """
    from datapkg.api.copy import copy

    with session.progress() as progress:
        done = copy(session.home, ref, into, message=message, registry=registry, progress=progress)
    state = pinned(done.package, done.hash)
    absent = f", {size_text(done.bytes_absent)} of it at its registry alone" if done.bytes_absent else ""
    lines = [f"copied {ref} to {state}", f"  {size_text(done.bytes_logical)}{absent}"]
    lines.append(f"  publish it  datapkg push {done.package}")
    session.out.answer(asdict(done), lines, quiet=[state])


@click.command(
    cls=Command,
    examples="""
    datapkg mirror https://data.example.org /mnt/backup/data
    datapkg mirror work s3://bucket/prefix me/sales
    datapkg mirror work /mnt/backup/data --dry-run
    """,
)
@click.argument("source", type=TEXT)
@click.argument("target", type=TEXT)
@click.argument("refs", type=REF, nargs=-1)
@dry_run_option
@pass_session
def mirror(session: Session, source: str, target: str, refs: tuple[Ref, ...], dry_run: bool) -> None:
    """Copy packages from a registry into a folder or bucket.

    SOURCE and TARGET are addresses or names of the settings. Without REFS, all packages but private ones are
    copied, with all states, tags and versions. TARGET is a registry without a server; the next time, only what is new
    is copied. Everything is verified on the way. A package that has changes at TARGET only is not copied; the others
    are. Everybody who can read TARGET can read all packages in it, so private ones are copied only if REFS names them.
    """
    from datapkg.api.mirror import mirror as copy

    with session.progress() as progress:
        done = copy(session.home, source, target, refs, dry_run=dry_run, progress=progress)
    if done.left_out:
        session.out.note(f"left out, since they are private: {', '.join(done.left_out)}; name those to be copied too")
    if done.private:
        session.out.note(f"all who can read {done.target} can read what was private: {', '.join(done.private)}")
    amount = count_text(done.objects, "object") + ("" if dry_run else f", {size_text(done.bytes_sent)}")
    new = f"{count_text(done.packages, 'package')} with {count_text(done.entries, 'new change')}"
    copied = f"{'would copy' if dry_run else 'copied'} {new} from {done.source} to {done.target}: {amount}"
    lines = [copied if done.packages else "nothing is new"]
    values = {key: value for key, value in vars(done).items() if key != "failed"}
    session.out.answer(values, lines if done.packages or not done.failed else [], quiet=[])
    session.out.raise_failures(list(done.failed.items()))
