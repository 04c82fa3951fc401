"""The command that converts the pipelines of other tools: import-from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from datapkg.cli.arguments import PATH
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.option_types import ChoiceType
from datapkg.format.texts import count_text

FORMATS = ("dvc", "polyaxon", "gradient")
_SHOWN = 200


@click.command(
    "import-from",
    cls=Command,
    examples="""
    datapkg import-from dvc my-project
    datapkg import-from polyaxon polyaxonfile.yml -o sweep.yml
    datapkg import-from gradient workflow.yaml --force
    """,
)
@click.argument("format", type=ChoiceType(FORMATS))
@click.argument("source", type=PATH)
@click.option("-o", "--output", type=PATH, metavar="FILE", help="The build file to write; by default build.yml.")
@click.option("--force", is_flag=True, help="Overwrite the build file if it exists.")
@pass_session
def import_from(session: Session, format: str, source: Path, output: Path | None, force: bool) -> None:
    """Write the build file for a pipeline of another tool.

    SOURCE is the repository of DVC, or a file of Polyaxon or Gradient. Nothing in it runs. Each key that has no
    counterpart in a build file is reported with its file and line. Data that only DVC's cache has is copied to its
    path.
    """
    from datapkg.api.import_from import import_from as convert

    done = convert(format, source, output, overwrite=force)
    for each in done.unmapped[:_SHOWN]:
        session.out.note(f"not mapped: {each}")
    if len(done.unmapped) > _SHOWN:
        session.out.note(f"and {len(done.unmapped) - _SHOWN:,} more keys; --json has all of them")
    for shown in done.missing[:_SHOWN]:
        session.out.note(f"the data of {shown} are not on this machine; get them: dvc pull {shown}")
    lines = [f"wrote {done.path}: {count_text(done.nodes, 'node')}, {count_text(done.stages, 'stage')}"]
    if done.restored:
        lines.append(f"  copied {count_text(len(done.restored), 'file or folder')} from DVC's cache")
    answer = asdict(done) | {"path": str(done.path)}
    session.out.answer(answer, lines)
    session.out.say("", f"  look at it, then:  datapkg build USER/NAME {done.path}")
