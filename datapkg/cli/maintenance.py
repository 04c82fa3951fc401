"""Commands that verify and remove: verify, rm, gc, delete."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH, REF, TEXT, pinned, ref_argument, registry_option
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import CorruptObject, InvalidInput
from datapkg.format.option_types import NumberType
from datapkg.format.texts import SHOWN_HASH_DIGITS, count_text, hash_text, quoted, size_text, time_text

if TYPE_CHECKING:
    from datapkg.api.results import FreedState, GcResult, RemoveResult, VerifyResult
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg verify
    datapkg verify uciml/iris
    datapkg verify --all --repair
    datapkg verify --content uciml/iris
    datapkg verify --registry /mnt/share/data
    """,
)
@click.argument("ref", type=REF, required=False)
@click.option("--all", "all_", is_flag=True, help="Verify the whole store, as without REF.")
@click.option("--repair", is_flag=True, help="Fetch what is corrupt from the registry that it came from.")
@click.option("--content", is_flag=True, help="Also read all tables and compare their values with the manifest.")
@registry_option
@pass_session
def verify(session: Session, ref: Ref | None, all_: bool, repair: bool, content: bool, registry: str | None) -> None:
    """Verify stored data against its hashes.

    Verifies one package, or all. Corrupt data is set aside and never used; --repair, or installing or building again,
    restores it. The exit code is 6 until everything is restored.

    Hashes prove that the bytes are those that were published. With --content, each table is also read, and the hash of
    its values compared with the one in the manifest, which a malicious publisher may have invented.

    With --registry, verifies the logs and all data of a registry without a server, instead of what is stored here.
    """
    from datapkg.api.verify import verify as check

    if registry is not None:
        if all_ or repair or content:
            raise InvalidInput(
                "--registry goes with none of --all, --repair and --content",
                hint=f"datapkg verify --registry {registry}",
            )
        _verify_registry(session, ref, registry)
        return

    if all_ and ref is not None:
        raise InvalidInput(f"--all is the whole store, and {ref} a part of it", hint="datapkg verify --all")
    with session.progress() as progress:
        found = check(session.home, ref, progress, content=content, repair=repair)
    session.out.answer(asdict(found), _verified_lines(found))
    if found.damaged:
        false = sum(bool(each.problem) for each in found.damaged)
        bad = [count_text(false, "table") + " with false content"] if false else []
        bad = [f"{count_text(len(found.damaged) - false, 'object')} damaged", *bad][len(found.damaged) == false :]
        raise CorruptObject(", ".join(bad), hint=_damage_hint(found, repair))
    if found.set_aside:
        raise CorruptObject(
            f"{count_text(len(found.set_aside), 'small file')} of packages damaged, and set aside",
            hint="datapkg ls, then install again what is missing",
        )


def _verify_registry(session: Session, ref: Ref | None, registry: str) -> None:
    from datapkg.api.verify import verify_registry

    with session.progress() as progress:
        found = verify_registry(session.home, registry, ref, progress)
    session.out.answer(asdict(found), _verified_lines(found))
    if found.damaged:
        raise CorruptObject(
            f"{len(found.damaged):,} damaged among the objects and logs of {registry}",
            hint="see the guide of registries without a server: docs/static-registry.md",
        )


def _damage_hint(found: VerifyResult, was_repaired: bool) -> str:
    packages = sorted({each.package for each in found.damaged if each.package and not each.problem})
    if all(each.problem for each in found.damaged):
        return "do not use them; whoever published them has to build and push them again"
    if not packages:
        return "nothing installed uses them"
    return f"datapkg install {' '.join(packages)}, or build again" if was_repaired else "datapkg verify --repair"


def _verified_lines(found: VerifyResult) -> list[str]:
    checked = f"{count_text(found.checked, 'object')} checked, {len(found.damaged):,} damaged"
    if found.tables:
        checked += f", content of {count_text(found.tables, 'table')} checked"
    if found.repaired:
        checked += f", {found.repaired:,} repaired"
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
    datapkg rm --now
    """,
)
@click.argument("ref", type=REF, required=False)
@click.option("--now", is_flag=True, help="Free all space now; no other datapkg process may be running.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
@pass_session
def rm(session: Session, ref: Ref | None, now: bool, dry_run: bool) -> None:
    """Uninstall a package and free its space.

    Data that other packages share stays, and so does everything at the registry. While another process builds or
    installs, recently used data stays too, and the next command that writes frees it. With --now it is freed at once;
    without REF, --now frees what earlier removals left.
    """
    from datapkg.api.maintenance import free_left, remove

    if ref is None and (dry_run or not now):
        raise InvalidInput("name the package to remove; datapkg ls lists those here", hint="datapkg rm USER/NAME")
    done = remove(session.home, ref, now=now, dry_run=dry_run) if ref else free_left(session.home)
    value = {**asdict(done), "removed": ref is not None and not dry_run, "dry_run": dry_run}
    session.out.answer(value, _removed_lines(done, dry_run), quiet=[])


def _removed_lines(done: RemoveResult, dry_run: bool) -> list[str]:
    freed = f"{'frees' if dry_run else 'freed'} {size_text(done.bytes_freed)}"
    what = f"{'would remove' if dry_run else 'removed'} {done.package}; {freed}" if done.package else freed
    lines = [what]
    if done.bytes_shared:
        lines.append(f"  {size_text(done.bytes_shared)} stay: other packages use them")
    if done.bytes_left:
        lines += _left_lines(done.bytes_left, done.frees_at, "rm")
    if done.problem:
        lines.append(f"  nothing was freed: {done.problem}; mend it  datapkg verify")
    if done.still_in:
        lines.append(f"  {done.package} is still found in the read-only store {done.still_in}")
    return lines


def _left_lines(bytes_left: int, frees_at: str | None, command: str) -> list[str]:
    end = f"until {time_text(frees_at)} UTC" if frees_at else "until it ends"
    return [
        f"  {size_text(bytes_left)} stay {end}: another datapkg process may use them",
        f"  with none at work, free them  datapkg {command} --now",
    ]


@click.command(
    cls=Command,
    examples="""
    datapkg gc --dry-run
    datapkg gc --keep 3 --older-than 90d
    datapkg gc --max-size 20GB --yes
    datapkg gc --registry /mnt/share/data
    datapkg gc --store /srv/datapkg --older-than 90d
    """,
)
@click.option(
    "--keep", type=NumberType(0, 1_000_000, example=3), metavar="N", help="Keep the N newest states of a package."
)
@click.option("--older-than", type=TEXT, metavar="AGE", help="Remove older states: 12h, 90d, 8w, 6m, 1y.")
@click.option("--max-size", type=TEXT, metavar="SIZE", help="Remove the oldest states down to this size: 20GB.")
@click.option("--now", is_flag=True, help="Free all space now; no other datapkg process may be running.")
@click.option("--yes", is_flag=True, help="Free the space without confirmation.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
@click.option("--store", type=PATH, metavar="FOLDER", help="Free space in a shared store of `path`.")
@registry_option
@pass_session
def gc(
    session: Session,
    keep: int | None,
    older_than: str | None,
    max_size: str | None,
    now: bool,
    yes: bool,
    dry_run: bool,
    store: Path | None,
    registry: str | None,
) -> None:
    """Free space: unneeded data and, if asked, older states.

    Without --keep, --older-than and --max-size, all states stay; only data that no state needs and leftovers of killed
    processes are removed. Always kept are the current state of a package, its two newest builds, states that lock files
    pin, and those of `datapkg cache keep`. --max-size removes only states that were pushed or installed, so that they
    can be installed again. Data that arrived within a day stays, so that an interrupted install can continue, unless
    --now. Large objects of older states are kept as their differences from newer ones, and read like all others.

    With --registry, frees space in a registry without a server: leftovers of pushes and deleted packages. They move to
    its trash after a day, and are deleted a day later. With --now they are deleted at once; nobody may push then.

    With --store, frees space in a shared store: what none of its users has installed, and with --older-than or
    --max-size also what they have not installed or fetched for longest.
    """
    if registry is not None:
        _check_goes_with_registry(store, keep, older_than, max_size)
        _free_registry(session, registry, now, dry_run)
        return
    from datapkg.api.gc import free_shared, free_space
    from datapkg.format.selection import parse_size
    from datapkg.store.gc import Policy

    free = partial(free_space, session.home) if store is None else partial(free_shared, session.home, store)
    policy = Policy(keep, _age_s(older_than) if older_than else None, parse_size(max_size) if max_size else None, now)
    if not yes:
        planned = free(policy, dry_run=True)
        if dry_run:
            session.out.answer(asdict(planned), _gc_lines(planned))
            return
        if planned.objects or planned.bytes_leftover:
            _ask_to_free(session, planned)
    done = free(policy, dry_run=dry_run)
    session.out.answer(asdict(done), _gc_lines(done), quiet=[])


def _check_goes_with_registry(store: Path | None, keep: int | None, older_than: str | None, size: str | None) -> None:
    if store is not None:
        raise InvalidInput("name either --store or --registry", hint="datapkg gc --help")
    if keep is not None or older_than or size:
        raise InvalidInput("--registry keeps all states: it goes with none of --keep, --older-than and --max-size")


def _free_registry(session: Session, registry: str, now: bool, dry_run: bool) -> None:
    from datapkg.api.gc import free_registry

    done = free_registry(session.home, registry, now=now, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    lines = [f"{verb} {count_text(done.files, 'file')}, {size_text(done.bytes_freed)}, at {done.registry}"]
    if done.files_waiting:
        lines.append(f"  {count_text(done.files_waiting, 'file')}, {size_text(done.bytes_waiting)}, wait in the trash")
    if done.restored:
        lines.append(f"  {count_text(done.restored, 'file')} came back out of the trash: a push needs them")
    session.out.answer(asdict(done), lines, quiet=[])


def _age_s(text: str) -> int:
    """Return the seconds of `12h`, `90d`, `8w`, `6m` (of 30 days) or `1y`."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*([hdwmy])\s*", text.lower())
    if match is None:
        raise InvalidInput(f"{quoted(text)} is not an age: write 12h, 90d, 8w, 6m or 1y", hint="--older-than 90d")
    return int(match[1]) * {"h": 3600, "d": 86_400, "w": 7 * 86_400, "m": 30 * 86_400, "y": 365 * 86_400}[match[2]]


def _ask_to_free(session: Session, planned: GcResult) -> None:
    if not session.out.json:
        session.out.answer({}, _gc_lines(planned))
    if not session.out.can_ask:
        raise InvalidInput("nothing was removed: that needs --yes here", hint="add --yes, or --dry-run to only look")
    if session.out.ask(f"Free {size_text(planned.bytes_freed)}? [y/N]").lower() not in ("y", "yes"):
        raise InvalidInput("nothing was removed")


def _gc_lines(done: GcResult) -> list[str]:
    what = [count_text(len(done.states), "older state")] if done.states else []
    what += [count_text(done.objects, "object")] if done.objects else []
    what += [f"{size_text(done.bytes_leftover)} of leftovers"] if done.bytes_leftover else []
    lines = [f"  {_state_text(each)}  {_origin_text(each)}" for each in done.states]
    verb, frees = ("would remove", "frees") if done.dry_run else ("removed", "freed")
    size = f"{frees} {size_text(done.bytes_freed)} of {size_text(done.bytes_stored + done.bytes_leftover)}"
    if done.bytes_compacted:
        what.append(f"{size_text(done.bytes_compacted)} that older states share with newer ones")
    lines.append(f"{verb} {', '.join(what)}; {size}" if what else "nothing to free")
    if done.bytes_recent:
        lines.append(f"  {size_text(done.bytes_recent)} stay for a day: an interrupted install may go on with them")
        lines.append("  free them too  datapkg gc --now")
    if done.bytes_left:
        lines += _left_lines(done.bytes_left, done.frees_at, "gc")
    return lines


def _state_text(state: FreedState) -> str:
    hash = state.hash[:SHOWN_HASH_DIGITS]
    return pinned(state.package, hash) if state.package else f"sha256:{hash}"  # of a shared store


def _origin_text(state: FreedState) -> str:
    at = time_text(state.created_at)[:10] if state.created_at else ""
    return f"{at}  " + ("can be installed again" if state.is_pushed else "never pushed: it is gone for good")


@click.command(
    cls=Command,
    examples="""
    datapkg delete me/sales
    datapkg delete me/sales --yes --json
    datapkg delete me/sales --dry-run
    """,
)
@ref_argument
@click.option("--yes", is_flag=True, help="Delete without confirmation.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, without deleting it.")
@registry_option
@pass_session
def delete(session: Session, ref: Ref, yes: bool, dry_run: bool, registry: str | None) -> None:
    """Delete a package from its registry.

    Deletes all states, tags and versions. Installed copies stay on their machines.
    """
    from datapkg.api.log import log
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
