"""Commands that look after the objects and the database of a registry."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

import click

from datapkg.errors import CorruptObject
from datapkg.format.option_types import NumberType
from datapkg.format.texts import count_text, size_text
from registry_server.cli.command import PROGRAM, with_registry


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; print what would be deleted.")
@click.option(
    "--grace",
    type=NumberType(0, 1_000_000, example=1.5),
    default=1.0,
    show_default=True,
    metavar="HOURS",
    help="How long an unused file is kept before it moves to the trash, and how long there.",
)
@partial(with_registry, writes=lambda options: not options["dry_run"])
def sweep(registry: Any, dry_run: bool, grace: float, as_json: bool) -> None:
    """Delete expired pushes, and objects that nothing refers to.

    This works while the registry runs, and during pushes: an unused file moves to the trash first, and a later sweep
    deletes it from there if nothing refers to it by then. A running registry does this every hour by itself
    (DATAPKG_REGISTRY_SWEEP_EVERY_S).

    \b
    Examples:
      datapkg-registry sweep --data ./registry --dry-run
      datapkg-registry sweep --data ./registry --grace 0    # twice, to free the space now
    """
    from registry_server.services import policy, sweep

    done = sweep.sweep(registry, policy.THE_OPERATOR, grace=timedelta(hours=grace), dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    would = "would be " if dry_run else ""
    click.echo(
        f"{count_text(done.moved_files, 'unused file')} {would}moved to the trash ({size_text(done.moved_bytes)}), "
        f"{count_text(done.deleted_files, 'file')} {would}deleted from it ({size_text(done.deleted_bytes)})."
    )
    click.echo(
        f"Expired pushes {would}deleted: {done.expired_pushes:,}; unused results of stages {would}deleted: "
        f"{done.expired_results:,}; packs {would}rewritten: {done.rewritten_packs:,}; unfinished uploads deleted: "
        f"{done.unfinished_files:,}."
    )


@click.command()
@click.option("--quick", is_flag=True, help="Compare sizes only; do not read the objects.")
@click.option("--content", is_flag=True, help="Also check tables whose content was never verified.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@partial(with_registry, writes=lambda options: options["repair"])
def check(registry: Any, quick: bool, content: bool, repair: bool, as_json: bool) -> int:
    """Check the database, every object, and derived rows.

    Derived rows are those that come from manifests. This works while the registry runs. Damaged objects are not
    deleted. They are no longer served, and the next push of a package that holds them sends them again. The exit
    code is 6 if anything is damaged. Of a registry that can only be read, nothing is marked.

    With --repair, damaged files are moved to the folder quarantine/, intact copies of an object are used instead, and
    indexes and derived rows of the database are made anew.

    With --content, the tables that were published unchecked are checked as well, in child processes with limits.
    Tables whose values differ from their manifests are listed; the exit code is 6 then, too.

    \b
    Examples:
      datapkg-registry check --data ./registry
      datapkg-registry check --data ./registry --quick
      datapkg-registry check --data ./registry --repair
    """
    from registry_server.services import check, checking, policy

    found = check.check(registry, policy.THE_OPERATOR, quick=quick, repair=repair)
    tables = checking.recheck(registry, policy.THE_OPERATOR) if content and not found.database else None
    false = tables.false if tables else []
    if as_json:
        click.echo(json.dumps(asdict(found) | ({"tables": asdict(tables)} if tables else {})))
    else:
        for table in false:
            click.echo(f"false content: {table.path} of {table.package}@sha256:{table.state[:16]}: {table.reason}")
        if tables:
            click.echo(f"{count_text(tables.tables, 'table')} checked, {tables.unchecked:,} could not be checked.")
        _print_found(registry, found)
    return 0 if found.is_clean and not false else CorruptObject.exit_code


def _print_found(registry: Any, found: Any) -> None:
    for line in found.repaired:
        click.echo(f"repaired: {line}")
    for problem in found.database:
        click.echo(f"damaged: the database {registry.settings.database}: {problem}; restore it from a backup")
    for each in found.damaged:
        click.echo(f"damaged: {each.hash} ({each.reason}) of {', '.join(each.packages) or 'no package'}")
    if found.damaged and not registry.scratch:
        click.echo("The next push of a package that has a damaged object sends it again.")
    for line in found.rows:
        click.echo(f"wrong in the database: {line}; repair it with: {PROGRAM} check --repair")
    unused = f"{count_text(found.unused_objects, 'unused object')} ({size_text(found.unused_bytes)})"
    click.echo(f"{count_text(found.checked, 'object')} checked, {len(found.damaged):,} damaged; {unused}.")
