"""The command that copies a package under another name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import (
    REF,
    message_option,
    pinned,
    ref_argument,
    registry_option,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.texts import size_text

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
