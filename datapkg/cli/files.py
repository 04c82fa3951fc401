"""Commands that write ordinary files: export, cat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import PATH, REF, ref_argument, registry_option, remote_option, report_pin, report_state
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.option_types import ChoiceType
from datapkg.format.texts import count_text, size_text

if TYPE_CHECKING:
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg export uciml/iris ./iris
    datapkg export uciml/iris/measurements measurements.csv
    datapkg export uciml/iris ./iris --with-build-file
    datapkg export me/pictures ./pictures --link hardlink
    """,
)
@ref_argument
@click.argument("dest", type=PATH)
@click.option("--force", is_flag=True, help="Replace existing files, including your edits.")
@click.option("--format", type=ChoiceType(["csv", "parquet"]), help="The format of tables.")
@click.option(
    "--link",
    type=ChoiceType(["auto", "reflink", "hardlink", "symlink", "copy"]),
    default="auto",
    help="How files share space with the store; auto: reflink if the file system supports it, else copy.",
)
@click.option("--with-build-file", is_flag=True, help="Add a build.yml that builds the same package.")
@pass_session
def export(
    session: Session, ref: Ref, dest: Path, force: bool, format: str | None, link: str, with_build_file: bool
) -> None:
    """Write a package as ordinary files with their original names.

    REF is an installed package or a node in it. Tables from csv or tsv files become text again if a build of that
    text gives equal values; other tables become Parquet. Nothing is written outside DEST. A second export to a folder
    replaces what changed, removes what the package no longer has, and refuses to overwrite your edits.
    """
    from datapkg.api.export import export as write

    report_pin(session, ref)
    with session.progress() as progress:
        done = write(
            session.home,
            ref,
            dest,
            force=force,
            format=format,
            with_build_file=with_build_file,
            link=link,
            progress=progress,
        )
    for note in done.notes:
        session.out.note(note)
    value = {
        "package": ref.package,
        "files": [str(each) for each in done.files],
        "size": done.size_bytes,
        "notes": done.notes,
        "unchanged": done.unchanged,
        "removed": [str(each) for each in done.removed],
    }
    amount = f"{count_text(len(done.files), 'file')}, {size_text(done.size_bytes)}"
    amount += f"; {done.unchanged:,} unchanged" if done.unchanged else ""
    amount += f"; {len(done.removed):,} removed" if done.removed else ""
    session.out.answer(value, [f"wrote {dest}: {amount}"], quiet=[])


@click.command(
    cls=Command,
    examples="""
    datapkg cat uciml/iris/README
    datapkg cat uciml/iris/measurements | head
    datapkg cat me/pictures/cat.jpg > cat.jpg
    """,
)
@click.argument("ref", type=REF, metavar="REF/PATH")
@remote_option
@registry_option
@pass_session
def cat(session: Session, ref: Ref, remote: bool, registry: str | None) -> None:
    """Print one file or table of a package, installed or not.

    A file is printed byte by byte; a table as CSV, or with --json as an array with one object per row. Binary files
    are not printed on a terminal.
    """
    from datapkg.api.cat import cat as read

    def tell(url: str) -> None:
        report_state(session, ref, url, remote)

    if not remote:
        report_pin(session, ref)
    how: dict[str, Any] = {"remote": remote, "registry": registry, "tell": tell}
    read(session.home, ref, session.out.raw, as_json=session.out.json, **how)
