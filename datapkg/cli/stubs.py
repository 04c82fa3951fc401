"""The command for editors and type checkers: stubs."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH, pinned
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import CheckFailed
from datapkg.format.texts import count_text

if TYPE_CHECKING:
    from datapkg.api.results import StubsResult

_LISTED = 20


@click.command(
    cls=Command,
    examples="""
    datapkg stubs
    datapkg stubs --check
    datapkg stubs --into typings
    datapkg stubs --into typings --lock --check
    """,
)
@click.option("--into", type=PATH, metavar="DIR", help="Write below DIR instead of this Python's library folder.")
@click.option("--lock", "locked", is_flag=True, help="Cover only the packages that datapkg.lock pins.")
@click.option("--check", is_flag=True, help="Write nothing; exit with code 5 if stubs are out of date.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, without writing it.")
@pass_session
def stubs(session: Session, into: Path | None, locked: bool, check: bool, dry_run: bool) -> None:
    """Write type stubs of packages, for editors and type checkers.

    Writes .pyi files of every installed package, in the state that the nearest datapkg.lock pins or else the current
    one, so that mypy, pyright and PyCharm know nodes and columns. Run it again after an install. With --lock, the stubs
    are the same on every machine: commit them, and compare them in CI with --lock --check.
    """
    from datapkg.api.stubs import write_stubs

    found = write_stubs(session.home, Path(), into, locked=locked, dry_run=check or dry_run)
    for package, error in found.failed.items():
        session.out.note(f"{package} has no stub: {error}{f'; type: {error.hint}' if error.hint else ''}")
    value = {
        "folder": str(found.folder),
        "packages": [{"package": package, "hash": hash} for package, hash in found.packages.items()],
        "written": found.written,
        "removed": found.removed,
        "failed": {package: error.to_wire() for package, error in found.failed.items()},
    }
    session.out.answer(value, _lines(found, check or dry_run))
    if not (check or dry_run):
        session.out.say(*_next_steps(found, into))
    if check and (found.written or found.removed):
        again = f"datapkg stubs{f' --into {quote(str(into))}' if into else ''}{' --lock' if locked else ''}"
        what = "what datapkg.lock pins" if locked else "what is installed"
        raise CheckFailed(f"the stubs in {found.folder} are not those of {what}", hint=again)
    if found.failed:
        raise next(iter(found.failed.values()))


def _lines(found: StubsResult, is_dry: bool) -> list[str]:
    pins = [pinned(package, hash) for package, hash in found.packages.items()]
    more = [f"  … {len(pins) - _LISTED:,} more"] if len(pins) > _LISTED else []
    would = "would be " if is_dry else ""
    changes = f"{count_text(len(found.written), 'file')} {would}written, {len(found.removed):,} {would}removed"
    lines = [f"stubs of {count_text(len(pins), 'package')} in {found.folder}: {changes}"]
    return [*lines, *(f"  {each}" for each in pins[:_LISTED]), *more]


def _next_steps(found: StubsResult, into: Path | None) -> list[str]:
    if not found.packages:
        return ["", "  get something  datapkg install USER/NAME"]
    if into is None:
        return ["", "  mypy, pyright and PyCharm find them when they look into this environment"]
    if into.name == "typings":
        return ["", "  pyright finds them; mypy looks into environments alone: datapkg stubs"]
    return ["", f'  tell pyright, in pyproject.toml: [tool.pyright] stubPath = "{into}"']
