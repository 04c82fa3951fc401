"""The commands of a project's requirements and lock: init, add, remove, update, outdated, lock."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import PATH, REF, TEXT, registry_option, transfer_options
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import CheckFailed, InvalidInput, InvalidLock
from datapkg.format.names import Ref
from datapkg.format.texts import aligned, count_text, hash_text

if TYPE_CHECKING:
    from datapkg.api.lock_results import LockResult, OutdatedPin, PinChange
    from datapkg.format.lockfile import Pin

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would change, and write and install nothing.")
no_install_option = click.option("--no-install", is_flag=True, help="Write the files only; download no data.")
group_option = click.option("--group", type=TEXT, metavar="NAME", help="The group of datapkg.yml, such as dev.")


@click.command(cls=Command, examples="datapkg init\ndatapkg init ./analysis\ndatapkg init --git-hooks")
@click.argument("folder", type=PATH, metavar="[DIR]", required=False)
@click.option("--git-hooks", is_flag=True, help="Let git checkout and git merge install what a branch pins.")
@pass_session
def init(session: Session, folder: Path | None, git_hooks: bool) -> None:
    """Create a project with an empty datapkg.yml.

    The file lists the packages that a project needs. It is written to DIR, by default the working directory; an
    existing file is not changed. With --git-hooks, the hooks post-checkout and post-merge of the repository also run
    `datapkg install --frozen` in DIR, so that its data follows the branch. Existing hooks keep what they do.
    """
    if git_hooks:
        _install_hooks(session, folder or Path())
        return
    from datapkg.api.lock import start_project

    written = start_project(folder or Path())
    session.out.answer({"file": str(written)}, [f"wrote {written}"])
    session.out.say("", "  require a package  datapkg add USER/NAME")


def _install_hooks(session: Session, folder: Path) -> None:
    from datapkg.api.git_hooks import install_hooks
    from datapkg.api.lock import start_project
    from datapkg.format.lockfile import REQUIREMENTS

    if not (folder / REQUIREMENTS).exists():
        start_project(folder)
    hooks = install_hooks(folder)
    value = {"hooks": [{"file": str(each.file), "change": each.change} for each in hooks]}
    session.out.answer(value, [f"{each.change} {each.file}" for each in hooks])
    session.out.say("", "  name the folders in datapkg.yml, such as  checkout: {data/raw: user/name/raw}")


@click.command(
    cls=Command,
    examples="""
    datapkg add uciml/iris@1.2.0
    datapkg add "me/sales@~=1.2" uciml/wine
    datapkg add --group dev me/fixtures
    """,
)
@click.argument("refs", type=REF, nargs=-1, required=True, metavar="REF...")
@group_option
@no_install_option
@dry_run_option
@registry_option
@transfer_options
@pass_session
def add(
    session: Session, refs: tuple[Ref, ...], group: str | None, no_install: bool, dry_run: bool, registry: str | None
) -> None:
    """Add packages to a project, pin and install them.

    REF is written into the nearest datapkg.yml, which is created in the working directory if there is none; it replaces
    the requirement of the same package. Its state is pinned in datapkg.lock. Nothing is written if a REF cannot be
    resolved.
    """
    from datapkg.api.requirements import AddOptions, add_requirements

    options = AddOptions(group or "", registry, not no_install, dry_run)
    with session.progress() as progress:
        done = add_requirements(session.home, Path.cwd(), refs, options, progress)
    _report(session, done)


@click.command(cls=Command, examples="datapkg remove uciml/iris\ndatapkg remove --group dev me/fixtures")
@click.argument("packages", type=REF, nargs=-1, required=True, metavar="NAME...")
@group_option
@dry_run_option
@pass_session
def remove(session: Session, packages: tuple[Ref, ...], group: str | None, dry_run: bool) -> None:
    """Remove packages from the requirements of a project.

    NAME is USER/NAME. It is removed from the nearest datapkg.yml and its datapkg.lock, from all groups or only the one
    given. Nothing is uninstalled: `datapkg rm` does that, and leaves the project's files as they are.
    """
    from datapkg.api.requirements import remove_requirements

    done = remove_requirements(session.home, Path.cwd(), packages, group, dry_run=dry_run)
    _report(session, done)
    if not dry_run:
        current = session.home.store.refs.current
        names = dict.fromkeys(each.package for each in packages if current(each))
        session.out.say("", *(f"  uninstall it  datapkg rm {package}" for package in names))


@click.command(cls=Command, examples="datapkg update\ndatapkg update uciml/iris\ndatapkg update --dry-run")
@click.argument("packages", type=REF, nargs=-1, metavar="[NAME...]")
@no_install_option
@dry_run_option
@registry_option
@transfer_options
@pass_session
def update(session: Session, packages: tuple[Ref, ...], no_install: bool, dry_run: bool, registry: str | None) -> None:
    """Update a project's pins to the newest allowed states.

    Resolves all requirements of the nearest datapkg.yml again, or those of the packages named, writes datapkg.lock and
    installs the new states of packages that are installed. The requirements stay as they are.
    """
    from datapkg.api.requirements import AddOptions, update_requirements

    options = AddOptions("", registry, not no_install, dry_run)
    with session.progress() as progress:
        done = update_requirements(session.home, Path.cwd(), packages, options, progress)
    _report(session, done)


@click.command(cls=Command, examples="datapkg outdated\ndatapkg outdated --check --json")
@click.option("--check", is_flag=True, help="Exit with code 5 if anything is outdated.")
@registry_option
@pass_session
def outdated(session: Session, check: bool, registry: str | None) -> None:
    """List pins that are not the latest state at their registry.

    For each: what is pinned, what its requirement in datapkg.yml allows now (`datapkg update` takes that), and the
    latest state there is.
    """
    from datapkg.api.requirements import outdated_requirements

    with session.progress() as progress:
        found = outdated_requirements(session.home, Path.cwd(), registry=registry, progress=progress)
    rows = [("requirement", "pinned", "allowed", "latest"), *map(_outdated_row, found)]
    lines = aligned(rows) if found else ["every pin is the latest state"]
    session.out.answer({"outdated": [asdict(each) for each in found]}, lines, quiet=[each.package for each in found])
    if any(each.pinned.hash != each.allowed.hash for each in found):
        session.out.say("", "  take what is allowed  datapkg update")
    if check and found:
        raise CheckFailed(f"{count_text(len(found), 'pin')} outdated", hint=_renewing_line(found))


def _renewing_line(found: Sequence[OutdatedPin]) -> str:
    """Return the command that takes newer states: an update, or where requirements allow none, another requirement."""
    if any(each.pinned.hash != each.allowed.hash for each in found):
        return "datapkg update"
    first = found[0]
    state = first.latest.version or f"sha256:{first.latest.hash}"
    group = f" --group {first.group}" if first.group else ""
    return f"datapkg add {quote(f'{Ref.parse(first.requirement).at(None)}@{state}')}{group}"


def _outdated_row(each: OutdatedPin) -> tuple[str, ...]:
    name = f"{each.requirement} ({each.group})" if each.group else each.requirement
    states = (each.pinned, each.allowed, each.latest)
    return name, *(state.version or hash_text(state.hash) for state in states)


@click.command(
    cls=Command,
    examples="""
    datapkg lock
    datapkg lock --check
    datapkg lock --update --dry-run
    datapkg lock --registry https://old.example.org=https://new.example.org
    datapkg lock --observed train.py --epochs 3
    """,
    context_settings={"allow_interspersed_args": False},  # options after SCRIPT are the script's
)
@click.option("--update", is_flag=True, help="Resolve all requirements again, not only changed ones.")
@click.option("--check", is_flag=True, help="Write nothing; fail if the lock does not fit datapkg.yml.")
@click.option("--observed", is_flag=True, help="Run SCRIPT, and pin the packages and nodes that it uses.")
@click.argument("words", type=click.UNPROCESSED, nargs=-1, metavar="[SCRIPT [ARGS]...]")
@dry_run_option
@click.option(
    "--registry",
    type=TEXT,
    metavar="R|OLD=NEW",
    help="A registry's address or folder, or its name in the settings. OLD=NEW: one that has moved.",
)
@pass_session
def lock(
    session: Session,
    update: bool,
    check: bool,
    observed: bool,
    words: tuple[str, ...],
    dry_run: bool,
    registry: str | None,
) -> None:
    """Pin the packages of a project to exact states.

    Writes the full hash for each line of the nearest datapkg.yml to the datapkg.lock beside it. Commit both files:
    `datapkg install` then gives everybody the same bytes, and `import` follows the lock. Merge conflicts in the lock
    are resolved: pins on which both branches agree stay. With --observed, SCRIPT is run by this Python, and what it
    imports or loads is written into both files, with the nodes that it reads and the states that it used.
    """
    if observed or words:
        _lock_observed(session, words, is_alone=observed and not (update or check or registry), dry_run=dry_run)
        return
    from datapkg.api.requirements import check_lock

    if check:
        if update or dry_run:
            raise InvalidInput(
                "--check writes nothing; it does not go with --update or --dry-run", hint="datapkg lock --check"
            )
        checked = check_lock(session.home, Path.cwd(), registry=registry)
        fit = "fits" if len(checked.pins) == 1 else "fit"
        fits = f"{checked.path}: {count_text(len(checked.pins), 'pin')} {fit} datapkg.yml"
        session.out.answer(_value(checked), [fits], quiet=[])
        return
    done = _locked(session, update, registry, dry_run)
    for warning in done.warnings:
        session.out.note(warning)
    lines = [f"{done.path}: {count_text(len(done.pins), 'package')}"] if not dry_run else []
    lines += [f"  {_pin_text(pin)}  {hash_text(pin.hash)}" for pin in done.pins] if not dry_run else []
    lines += _change_lines(done) if dry_run or update else []
    session.out.answer(_value(done), lines, quiet=[])
    if not dry_run:
        session.out.say("", "  install it  datapkg install")


def _locked(session: Session, update: bool, registry: str | None, dry_run: bool) -> LockResult:
    from datapkg.api.lock import write_lock
    from datapkg.api.lock_registry import move_registry

    if registry is not None and "=" in registry:
        if update:
            raise InvalidInput("--registry OLD=NEW changes addresses only; it does not go with --update")
        return move_registry(session.home, Path.cwd(), registry, dry_run=dry_run)
    options: dict[str, Any] = {"renew": None if update else (), "registry": registry, "dry_run": dry_run}
    with session.progress() as progress:
        return write_lock(session.home, Path.cwd(), progress=progress, **options)


def _lock_observed(session: Session, words: Sequence[str], *, is_alone: bool, dry_run: bool) -> None:
    """Run a script and lock what it used; its output is not that of `--json`, so it goes to standard error then."""
    from datapkg.api.observed_script import lock_script

    if not words or not is_alone:
        what = "--observed takes a script, and goes with no other option than --dry-run"
        raise InvalidInput(what, hint=f"datapkg lock --observed {join(words) or 'SCRIPT'}")
    stdout = sys.stderr if session.out.json else None
    done = lock_script(session.home, Path(words[0]), words[1:], dry_run=dry_run, stdout=stdout)
    if not done.pins and not done.warnings:
        session.out.note(f"{words[0]} used no package, so nothing is pinned")
    for warning in done.warnings:
        session.out.note(warning)
    session.out.answer(_value(done), _change_lines(done), quiet=[])


def _report(session: Session, done: LockResult) -> None:
    """Print what changed in a lock and what was installed after it; exit with the code of the first failure."""
    from datapkg.cli.installing import install_lines

    for warning in done.warnings:
        session.out.note(warning)
    installed = [each.installed for each in done.installed if each.installed is not None]
    lines = [*_change_lines(done), *(line for each in installed for line in install_lines(each))]
    session.out.answer(_value(done) | {"installed": [asdict(each) for each in installed]}, lines, quiet=[])
    session.out.raise_failures([(each.ref, each.error) for each in done.installed if each.error is not None])
    if done.changes and not done.dry_run and (folders := _checkout_folders(done)):
        session.out.say("", f"  update {', '.join(folders)}  datapkg install")


def _checkout_folders(done: LockResult) -> list[str]:
    """Return the checkout folders beside a lock; only an install of the project writes them, and reports mistakes."""
    from datapkg.format.checkout import parse_checkout
    from datapkg.format.lockfile import REQUIREMENTS

    path = done.path.parent / REQUIREMENTS
    try:
        return [each.folder for each in parse_checkout(path.read_bytes(), str(path))]
    except InvalidLock:
        return []


def _value(done: LockResult) -> dict[str, Any]:
    changes = [
        {"package": each.package, "old": _state_value(each.old), "new": _state_value(each.new)} for each in done.changes
    ]
    packages = [asdict(pin) for pin in done.pins]
    return {
        "lock": str(done.path),
        "packages": packages,
        "changes": changes,
        "warnings": done.warnings,
        "dry_run": done.dry_run,
    }


def _state_value(pin: Pin | None) -> dict[str, str | None] | None:
    return {"hash": pin.hash, "version": pin.version} if pin else None


def _pin_text(pin: Pin) -> str:
    return f"{pin.requirement} ({pin.group})" if pin.group else pin.requirement


def _change_lines(done: LockResult) -> list[str]:
    would = "would be " if done.dry_run else ""
    if not done.changes:
        return [f"{done.path}: no pin {'would change' if done.dry_run else 'changed'}"]
    return [f"{done.path} {would}written:", *aligned([("  " + each.package, *_change(each)) for each in done.changes])]


def _change(each: PinChange) -> tuple[str, str]:
    if each.old is None:
        return "added", _state(each.new)
    if each.new is None:
        return "removed", _state(each.old)
    return "changed", f"{_state(each.old)} -> {_state(each.new)}"


def _state(pin: Pin | None) -> str:
    assert pin is not None
    return f"{pin.version} ({hash_text(pin.hash)})" if pin.version else hash_text(pin.hash)
