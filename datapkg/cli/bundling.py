"""The command that writes packages into one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH, REF, pinned, report_pin
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.texts import count_text, size_text

if TYPE_CHECKING:
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg bundle uciml/iris -o iris.dpkg
    datapkg bundle uciml/iris@1.0.0 me/sales@stable -o packages.dpkg
    datapkg install packages.dpkg
    """,
)
@click.argument("refs", type=REF, nargs=-1, metavar="[REF]...")
@click.option("-o", "--output", "path", type=PATH, required=True, metavar="FILE", help="The file to write: iris.dpkg.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@pass_session
def bundle(session: Session, refs: tuple[Ref, ...], path: Path, force: bool) -> None:
    """Write packages into one file, for machines without a network.

    REF is an installed package, or a node in it; without REF, the states that the nearest datapkg.lock pins are
    written. `datapkg install FILE` reads the file on the other machine, and verifies all of it.
    """
    from datapkg.api.bundle import write_bundle

    for ref in refs:
        report_pin(session, ref)
    with session.progress() as progress:
        done = write_bundle(session.home, refs, path, force=force, progress=progress)
    amount = f"{count_text(len(done.packages), 'package')}, {size_text(done.size_bytes)}"
    lines = [f"wrote {path}: {amount}"]
    lines += [f"  {pinned(each['package'], each['hash'])}" for each in done.packages]
    lines.append(f"  install it  datapkg install {path}")
    session.out.answer(asdict(done), lines, quiet=[])
