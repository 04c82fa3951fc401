"""Commands that check and remove: verify, rm, delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import REF, pinned, ref_argument, registry_option
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.texts import count_text, hash_text
from datapkg.errors import CorruptObject, InvalidInput

if TYPE_CHECKING:
    from datapkg.api.results import Verified
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg verify
    datapkg verify uciml/iris
    datapkg verify --content uciml/iris
    """,
)
@click.argument("ref", type=REF, required=False)
@click.option("--content", is_flag=True, help="Read all tables too, and compare their values with the manifest.")
@pass_session
def verify(session: Session, ref: Ref | None, content: bool) -> None:
    """Hash everything again and name what is damaged.

    Of one package, or of all. What is damaged is set aside and never used; installing or building again brings it
    back. Ends with exit code 6 if anything is.

    Hashes prove that the bytes are those that were published. With --content, each table is read and the hash of its
    values is compared with the one that its manifest states, which the publisher may have made up.
    """
    from datapkg.api.maintenance import verify as check

    with session.progress() as progress:
        found = check(session.home, ref, progress, content=content)
    session.out.answer(asdict(found), _verified_lines(found))
    if found.damaged:
        packages = sorted({each.package for each in found.damaged if each.package})
        false = sum(bool(each.problem) for each in found.damaged)
        bad = [count_text(false, "table") + " with false content"] if false else []
        bad = [f"{count_text(len(found.damaged) - false, 'object')} damaged", *bad][len(found.damaged) == false :]
        raise CorruptObject(
            ", ".join(bad),
            hint=(f"datapkg install {' '.join(packages)}" if packages else "nothing installed uses them")
            if len(found.damaged) > false
            else "do not use them; whoever published them has to build and push them again",
        )
    if found.set_aside:
        raise CorruptObject(
            f"{count_text(len(found.set_aside), 'small file')} of packages damaged, and set aside",
            hint="datapkg ls, then datapkg install what is not there any more",
        )


def _verified_lines(found: Verified) -> list[str]:
    checked = f"{count_text(found.checked, 'object')} checked, {len(found.damaged):,} damaged"
    if found.tables:
        checked += f", content of {count_text(found.tables, 'table')} checked"
    absent = f", {found.absent:,} left out on purpose" if found.absent else ""
    damaged = [
        f"  {each.package}{'/' + each.path if each.path else ''}  {each.problem or hash_text(each.hash)}"
        for each in found.damaged
    ]
    return [checked + absent, *damaged, *(f"  {each}" for each in found.set_aside)]


@click.command(
    cls=Command,
    examples="""
    datapkg rm uciml/iris
    datapkg rm uciml/iris --dry-run
    """,
)
@ref_argument
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and forget nothing.")
@pass_session
def rm(session: Session, ref: Ref, dry_run: bool) -> None:
    """Forget a package on this machine.

    What other packages share with it stays, and so does all that the registry has.
    """
    from datapkg.api.listing import list_packages
    from datapkg.api.maintenance import remove

    if ref.path or ref.state:
        raise InvalidInput(f"{ref} names more than a package", hint=f"datapkg rm {ref.package}")
    if dry_run:
        is_here = any(each.package == ref.package for each in list_packages(session.home))
        said = f"would remove {ref.package}" if is_here else f"{ref.package} is not here"
    else:
        is_here = remove(session.home, ref)
        said = f"removed {ref.package}" if is_here else f"{ref.package} was not here"
    value = {"package": ref.package, "removed": is_here and not dry_run, "dry_run": dry_run}
    session.out.answer(value, [said], quiet=[])


@click.command(
    cls=Command,
    examples="""
    datapkg delete me/sales
    datapkg delete me/sales --yes --json
    datapkg delete me/sales --dry-run
    """,
)
@ref_argument
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@registry_option
@pass_session
def delete(session: Session, ref: Ref, yes: bool, dry_run: bool, registry: str | None) -> None:
    """Delete a package at its registry.

    With all its states, tags and versions. What is installed on machines stays there.
    """
    from datapkg.api.history import log
    from datapkg.api.maintenance import delete as remove

    if ref.path or ref.state:
        raise InvalidInput(f"{ref} names more than a package", hint=f"datapkg delete {ref.package}")
    value = {"package": ref.package, "deleted": not dry_run, "dry_run": dry_run}
    if dry_run:
        pushes = log(session.home, ref, remote=True, registry=registry)
        states = sorted({each["hash"] for each in pushes})
        lines = [f"would delete {ref.package} with {count_text(len(states), 'state')}"]
        lines += [f"  {pinned(ref.package, each)}" for each in states]
        session.out.answer({**value, "states": [{"hash": each} for each in states]}, lines)
        return
    if not yes:
        _ask_to_delete(session, ref)
    remove(session.home, ref, registry=registry)
    session.out.answer(value, [f"deleted {ref.package} at its registry"], quiet=[])


def _ask_to_delete(session: Session, ref: Ref) -> None:
    if not session.out.can_ask:
        raise InvalidInput("deleting is for good and needs --yes here", hint=f"datapkg delete {ref} --yes")
    answer = session.out.ask(f"This deletes {ref.package} at its registry, for everybody. Type its name to go on")
    if answer != ref.package:
        raise InvalidInput(f"{ref.package} was not deleted: its name was not typed")
