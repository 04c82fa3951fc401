"""The command that runs checks: check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH_OR_ADDRESS
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import CheckFailed
from datapkg.format.texts import count_text

if TYPE_CHECKING:
    from datapkg.api.results import CheckResults

_OUTCOMES = ("ok", "warned", "failed")


@click.command(
    cls=Command,
    examples="""
    datapkg check
    datapkg check ./sales/build.yml
    datapkg check ./sales --json
    """,
)
@click.argument("path", type=PATH_OR_ADDRESS, default=Path(), metavar="[PATH]")
@click.option("--allow-outside", is_flag=True, help="Allow the build file to name files outside its folder.")
@click.option("--allow-code", is_flag=True, help="Allow the build file of a repository to run code here.")
@click.option("--force", is_flag=True, help="Ignore caches: read every source again.")
@pass_session
def check(session: Session, path: Path | str, allow_outside: bool, allow_code: bool, force: bool) -> None:
    """Run the checks of a build file without building a package.

    PATH is a build file, a folder with one (by default the working directory) or a repository. The exit code is 5 if a
    check fails.
    """
    from datapkg.api.check import BuildOptions
    from datapkg.api.check import check as try_checks

    options = BuildOptions(allow_outside=allow_outside, allow_code=allow_code, force=force)
    with session.progress() as progress:
        found = try_checks(session.home, path, options, progress=progress)
    for warning in found.warnings:
        session.out.note(warning)
    counts = {each: found.count(each) for each in _OUTCOMES}
    session.out.answer({"checks": found.results, **counts}, _lines(found, counts))
    if counts["failed"]:
        counted = f"{counts['failed']:,} of {count_text(len(found.results), 'check')} failed"
        raise CheckFailed(counted, hint="correct the data or the check; `severity: warn` lets it pass with a warning")


def _lines(found: CheckResults, counts: dict[str, int]) -> list[str]:
    lines = []
    for each in found.results:
        lines.append(f"{each['outcome']:<6}  {each['path']}  {each['check']}")
        lines += [f"        {line}" for line in each["lines"]]
    counted = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count or outcome == "ok")
    return [*lines, f"{count_text(len(found.results), 'check')}: {counted}"]
