"""The command that shows how the stages of a build file depend on each other: graph."""

from __future__ import annotations

from pathlib import Path

import click

from datapkg.cli.arguments import PATH
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.option_types import ChoiceType

FORMS = ("text", "mermaid", "svg")


@click.command(
    cls=Command,
    examples="""
    datapkg graph
    datapkg graph ./model --format svg > stages.svg
    """,
)
@click.argument("path", type=PATH, default=".", required=False)
@click.option("--format", "form", type=ChoiceType(FORMS), default="text", help="The output format.")
@pass_session
def graph(session: Session, path: Path, form: str) -> None:
    """Show the stages of a build file and what they depend on.

    PATH is a build file, or a folder with a build.yml. Nothing is run.
    """
    from datapkg.api.graph import graph as draw

    drawn = draw(path, form)
    lines = drawn.splitlines() or ["there are no stages"]
    session.out.answer({"format": form, "graph": drawn}, lines, quiet=lines)
