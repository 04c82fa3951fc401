"""Commands that install packages: install, fetch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    PATH,
    REF,
    REF_OR_BUNDLE,
    TEXT,
    F,
    dry_run_option,
    import_line,
    pinned,
    registry_option,
    transfer_options,
    transfer_text,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import InvalidInput
from datapkg.format.manifest.shards import parse_part
from datapkg.format.names import Ref, State, check_tag, check_version
from datapkg.format.selection import Selection, parse_size
from datapkg.format.texts import listed, size_text

if TYPE_CHECKING:
    from datapkg.api.checkout import CheckoutResult
    from datapkg.api.install_result import InstallResult, PackageOutcome
    from datapkg.objects.progress import Progress

SHOWN_EDITS = 5

_SELECTION_OPTIONS = (
    click.option(
        "--include", type=TEXT, multiple=True, metavar="GLOB", help="Only nodes that match, such as raw/**/*.jpg."
    ),
    click.option("--exclude", type=TEXT, multiple=True, metavar="GLOB", help="Skip nodes that match."),
    click.option("--max-size", type=TEXT, metavar="SIZE", help="Skip nodes larger than this: 500, 10MB, 1.5GiB."),
    click.option(
        "--part", type=TEXT, metavar="K/N", help="Only part K of N, counted from 0, such as 0/4: for N workers."
    ),
)


def selection_options(function: F) -> F:
    """Add the options that select nodes; the command passes them on to `selected`."""
    for add in reversed(_SELECTION_OPTIONS):  # the help lists the option that is added last first
        function = add(function)
    return function


@click.command(
    cls=Command,
    examples="""
    datapkg install uciml/iris
    datapkg install uciml/iris@1.2.0 me/sales@stable
    datapkg install "uciml/iris@{2026-05-01}"
    datapkg install me/pictures/raw --include "**/*.jpg" --max-size 10MB
    datapkg install packages.dpkg
    """,
)
@click.argument("refs", type=REF_OR_BUNDLE, nargs=-1, metavar="[REF|FILE.dpkg]...")
@click.option("-x", "--hash", type=TEXT, help="The state with this hash; a unique beginning is enough.")
@click.option("-t", "--tag", type=TEXT, help="The state with this tag.")
@click.option("-v", "--version", type=TEXT, help="The state with this version.")
@click.option("--meta-only", is_flag=True, help="Install only metadata: names, columns and sizes.")
@selection_options
@click.option("-r", "--requirements", type=PATH, metavar="FILE", help="Install the packages that this file lists.")
@click.option("--frozen", is_flag=True, help="Install exactly datapkg.lock; fail if datapkg.yml has changed.")
@click.option(
    "--group", "groups", type=TEXT, multiple=True, metavar="NAME", help="Install this group of datapkg.yml too."
)
@click.option(
    "--no-group", "no_groups", type=TEXT, multiple=True, metavar="NAME", help="Leave this group out, such as dev."
)
@click.option("--replace", is_flag=True, help="Replace a package that came from another registry.")
@dry_run_option
@registry_option
@transfer_options
@pass_session
def install(
    session: Session,
    refs: tuple[Ref | Path, ...],
    hash: str | None,
    tag: str | None,
    version: str | None,
    requirements: Path | None,
    frozen: bool,
    groups: tuple[str, ...],
    no_groups: tuple[str, ...],
    replace: bool,
    dry_run: bool,
    registry: str | None,
    **selecting: Any,
) -> None:
    """Install packages from a registry, or the packages of a project.

    REF is USER/NAME for the latest state, or USER/NAME@ followed by a version, a tag or sha256:HASH. Without REF, the
    packages of the nearest datapkg.yml are installed as its datapkg.lock pins them, with those of its group dev, and
    its checkout folders are updated. FILE.dpkg is a bundle: all of its packages are installed, without a network.
    """
    selection = selected(**selecting)
    project = {"requirements": requirements, "frozen": frozen, "groups": groups, "no_groups": no_groups}
    options: dict[str, Any] = {"registry": registry, "replace": replace}
    if bundles := [each for each in refs if isinstance(each, Path)]:
        others = (hash, tag, version, dry_run, selection.is_partial, *project.values())
        _check_bundles(bundles, is_alone=len(bundles) == len(refs) and not any(others))
        _install_bundles(session, bundles, options)
        return
    options["dry_run"] = dry_run
    wanted = _with_state([each for each in refs if isinstance(each, Ref)], hash, tag, version)
    _check_usage(wanted, selection, project)
    if wanted:
        _install_named(session, wanted, {"selection": selection, **options})
    else:
        _install_project(session, project, options)


def _install_named(session: Session, wanted: Sequence[Ref], options: dict[str, Any]) -> None:
    """Install the named packages; the user is asked before one comes from a registry that is not in the settings."""
    from datapkg.api.install import install_packages

    with session.progress() as progress:
        outcomes = install_packages(session.home, wanted, progress=progress, **options)
    report_installed(session, [_confirmed(session, *pair, options) for pair in zip(wanted, outcomes, strict=True)])


def _install_project(session: Session, project: dict[str, Any], options: dict[str, Any]) -> None:
    """Install the packages of the nearest project, then update its checkout folders."""
    from datapkg.api.lock import install_locked

    with session.progress() as progress:
        outcomes = install_locked(session.home, Path.cwd(), progress=progress, **project, **options)
        checkouts = _checkouts(session, project["requirements"], outcomes, progress, dry_run=options["dry_run"])
    report_installed(session, outcomes, checkouts)


def _checkouts(
    session: Session, requirements: Path | None, outcomes: list[PackageOutcome], progress: Progress, *, dry_run: bool
) -> list[CheckoutResult]:
    """Update the checkout folders of the project whose packages were installed, where that did not fail."""
    from datapkg.api.checkout import checkout_folders
    from datapkg.format.lockfile import REQUIREMENTS

    # Only datapkg.yml lists checkout folders; another file of requirements is just a list of packages.
    if any(each.error for each in outcomes) or (requirements and requirements.name != REQUIREMENTS):
        return []
    return checkout_folders(session.home, Path.cwd(), requirements, dry_run=dry_run, progress=progress)


def _check_bundles(bundles: Sequence[Path], *, is_alone: bool) -> None:
    """Raise `InvalidInput` for a list of packages in place of a bundle, and for bundles with other arguments."""
    if listing := next((each for each in bundles if each.suffix in (".yml", ".yaml")), None):
        what = f"{listing} is not a bundle; -r installs the packages that a file lists"
        raise InvalidInput(what, hint=f"datapkg install -r {quote(str(listing))}")
    if not is_alone:
        what = "a bundle is installed whole and by itself, with no options but --registry and --replace"
        raise InvalidInput(what, hint=f"datapkg install {bundles[0]}")


def _install_bundles(session: Session, paths: Sequence[Path], options: dict[str, Any]) -> None:
    from datapkg.api.bundle import install_bundle
    from datapkg.api.install_result import PackageOutcome

    with session.progress() as progress:
        done = [each for path in paths for each in install_bundle(session.home, path, progress=progress, **options)]
    report_installed(session, [PackageOutcome(each.package, installed=each) for each in done])


def _with_state(refs: Sequence[Ref], hash: str | None, tag: str | None, version: str | None) -> list[Ref]:
    """Return the refs; -x, -t or -v sets the state of the only one."""
    states = [
        *([State.parse(f"sha256:{hash.removeprefix('sha256:')}")] if hash is not None else []),
        *([State("tag", check_tag(tag))] if tag is not None else []),
        *([State("version", check_version(version))] if version is not None else []),
    ]
    if not states:
        return list(refs)
    if len(states) > 1 or len(refs) != 1 or refs[0].state is not None:
        raise InvalidInput(
            "-x, -t and -v go with exactly one package without a state, one of them at a time",
            hint="datapkg install user/name@1.2.0 other/name@stable",
        )
    return [refs[0].at(states[0])]


def selected(
    *, include: Sequence[str], exclude: Sequence[str], max_size: str | None, part: str | None, meta_only: bool = False
) -> Selection:
    """Return the selection of nodes from the options of a command."""
    if meta_only and (include or exclude or max_size is not None or part is not None):
        what = "--meta-only leaves all data at the registry; it goes with no other option that selects data"
        raise InvalidInput(what, hint="datapkg install user/name --meta-only")
    size = parse_size(max_size) if max_size is not None else None
    numbers = parse_part(part) if part is not None else None
    return Selection(tuple(include), tuple(exclude), size, meta_only, numbers)


def _check_usage(wanted: list[Ref], selection: Selection, project: dict[str, Any]) -> None:
    if wanted and any(project.values()):
        requirements = project["requirements"]
        raise InvalidInput(
            "-r, --frozen, --group and --no-group install what a project asks for; they do not go with REF",
            hint=f"datapkg install -r {quote(str(requirements))}"
            if requirements is not None and requirements.exists()
            else f"datapkg install {' '.join(map(str, wanted))}",
        )
    if selection.is_partial and not wanted:
        what = "--meta-only, --include, --exclude, --max-size and --part go with REF"
        raise InvalidInput(what, hint="datapkg install --meta-only user/name")


def _confirmed(session: Session, ref: Ref, outcome: PackageOutcome, options: dict[str, Any]) -> PackageOutcome:
    """Return the outcome; if the registry is unknown and the user at the terminal accepts it, that of a second try."""
    from datapkg.api.install import install_packages
    from datapkg.errors import Refused

    registry = outcome.error.detail.get("registry") if isinstance(outcome.error, Refused) else None
    if registry is None or not session.out.can_ask:
        return outcome
    answer = session.out.ask(f"{registry} is not in your settings. Install {ref} from it? [y/N]")
    if answer.lower() not in ("y", "yes"):
        return outcome
    with session.progress() as progress:
        again = options | {"registry": registry}
        return install_packages(session.home, [ref], progress=progress, **again)[0]


def report_installed(
    session: Session, outcomes: list[PackageOutcome], checkouts: Sequence[CheckoutResult] = ()
) -> None:
    """Print what was or would be installed, then every failure; exit with the code of the first."""
    out = session.out
    done = [each.installed for each in outcomes if each.installed is not None]
    if done and all(each.transfer for each in done):
        lines = [f"would install {pinned(each.package, each.hash)}: {_would(each)}" for each in done]
        states = [pinned(each.package, each.hash) for each in done]
        lines += [_planned_line(each) for each in checkouts if not each.error]
        planned: dict[str, Any] = {"planned": [asdict(each) for each in done], "dry_run": True}
        planned |= {"checkout": [_checkout_value(each) for each in checkouts]} if checkouts else {}
        out.answer(planned, lines, quiet=states)
        failed = [(each.ref, each.error) for each in outcomes if each.error is not None]
        out.raise_failures([*failed, *((each.folder, each.error) for each in checkouts if each.error is not None)])
        return
    lines = [line for each in done for line in install_lines(each)]
    lines += [_checkout_line(each) for each in checkouts if not each.error]
    value: dict[str, Any] = {"installed": [asdict(each) for each in done]}
    value |= {"checkout": [_checkout_value(each) for each in checkouts]} if checkouts else {}
    out.answer(value, lines, quiet=[pinned(each.package, each.hash) for each in done])
    for note in [*(each.note for each in done if each.note), *(note for each in checkouts for note in each.notes)]:
        out.note(note)
    if importable := [each for each in done if not each.overruled_by]:
        out.say("", *(f"  import it  {import_line(each.package)}" for each in importable))
    failed = [(each.ref, each.error) for each in outcomes if each.error is not None]
    out.raise_failures([*failed, *((each.folder, each.error) for each in checkouts if each.error is not None)])


def _checkout_value(each: CheckoutResult) -> dict[str, Any]:
    return {**vars(each), "error": each.error.to_wire() if each.error else None}


def _planned_line(each: CheckoutResult) -> str:
    edited = f"; edited since the last install: {listed(each.edited, SHOWN_EDITS)}" if each.edited else ""
    return f"would update {each.folder} to {each.ref}{edited}"


def _checkout_line(each: CheckoutResult) -> str:
    counts = [(each.written, "written"), (each.unchanged, "unchanged"), (each.removed, "removed")]
    listed = ", ".join(f"{number:,} {what}" for number, what in counts if number) or "empty"
    return f"{each.folder} is {each.ref.partition('@')[0]}: {listed}"


def _would(planned: InstallResult) -> str:
    assert planned.transfer
    return f"{transfer_text(planned.transfer, to_here=True)}; nothing was downloaded"


def install_lines(done: InstallResult) -> list[str]:
    """Return the lines that report an installed package: its state, and how much was downloaded."""
    return [f"installed {pinned(done.package, done.hash)}", f"  {_amount(done)}"]


def _amount(done: InstallResult) -> str:
    received = f"{size_text(done.bytes_received)} received" if done.objects_received else "its data was here"
    amount = f"{size_text(done.bytes_logical)}, {received}" if done.bytes_logical else "metadata only"
    left = f"; {size_text(done.bytes_left)} not downloaded" if done.bytes_left else ""
    return f"{amount}{left}"


@click.command(
    cls=Command,
    examples="""
    datapkg fetch me/pictures/raw/cat.jpg
    datapkg fetch me/pictures --include "raw/**/*.jpg"
    datapkg fetch me/pictures
    datapkg fetch --installed
    """,
)
@click.argument("refs", type=REF, nargs=-1, metavar="REF...")
@click.option("--installed", is_flag=True, help="Fetch what wheels pin in this Python environment.")
@selection_options
@dry_run_option
@registry_option
@transfer_options
@pass_session
def fetch(
    session: Session,
    refs: tuple[Ref, ...],
    installed: bool,
    dry_run: bool,
    registry: str | None,
    **selecting: Any,
) -> None:
    """Download missing data of an installed package.

    REF is a package that was installed only in part, or a node in it. The installed state stays the same; downloaded
    data is verified by its hash.

    --installed fetches all packages that wheels (datapkg-USER-NAME) pin in this Python environment, each in the state
    and from the registry that its wheel names.
    """
    from datapkg.api.fetch_pins import fetch_pins
    from datapkg.api.install import fetch_packages

    if bool(refs) == installed:
        raise click.UsageError("name packages, or all that wheels pin: --installed", click.get_current_context())
    selection = selected(**selecting)
    options: dict[str, Any] = {"registry": registry, "dry_run": dry_run}
    with session.progress() as progress:
        if installed:
            outcomes = fetch_pins(session.home, selection, progress=progress, **options)
        else:
            outcomes = fetch_packages(session.home, refs, selection, progress=progress, **options)
    if installed and not outcomes:
        session.out.note(f"no wheel pins a package in the environment {sys.prefix}")
    done = [(each.ref, each.installed) for each in outcomes if each.installed is not None]
    values = [{"ref": ref, **asdict(each)} for ref, each in done]
    lines = [f"{ref}: would fetch {_would(each)}" if each.transfer else f"{ref}: {_amount(each)}" for ref, each in done]
    session.out.answer({"planned": values, "dry_run": True} if dry_run else {"fetched": values}, lines, quiet=[])
    session.out.raise_failures([(each.ref, each.error) for each in outcomes if each.error is not None])
