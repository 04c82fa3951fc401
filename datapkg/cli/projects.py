"""The command that starts a project: init."""

from __future__ import annotations

from pathlib import Path

import click

from datapkg.cli.arguments import PATH
from datapkg.cli.command import Command, Session, pass_session


@click.command(cls=Command, examples="datapkg init\ndatapkg init ./analysis")
@click.argument("folder", type=PATH, metavar="[DIR]", required=False)
@pass_session
def init(session: Session, folder: Path | None) -> None:
    """Create a project with an empty datapkg.yml.

    The file lists the packages that a project needs. It is written to DIR, by default the working directory; an
    existing file is not changed.
    """
    from datapkg.api.lock import start_project

    written = start_project(folder or Path())
    session.out.answer({"file": str(written)}, [f"wrote {written}"])
    session.out.say("", "  name packages in it, such as  - uciml/iris@1.2.0", "  then pin them  datapkg lock")
