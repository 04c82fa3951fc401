"""Commands for the names of pushed states: tag, version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import TEXT, ref_argument, registry_option
from datapkg.cli.command import CommandGroup, Session, pass_session
from datapkg.format.names import Ref, State, check_new_version
from datapkg.format.texts import hash_text, time_text

if TYPE_CHECKING:
    from datapkg.api.history import Kind

state_option = click.option(
    "--state",
    type=TEXT,
    metavar="HASH",
    help="The pushed state to name, even if a newer one was built here.",
)


@click.group(
    cls=CommandGroup,
    examples="""
    datapkg tag add me/sales@1.2.0 stable
    datapkg tag ls me/sales
    datapkg tag rm me/sales stable
    """,
)
def tag() -> None:
    """Manage tags: names of states that can be moved.

    Tags are stored at the registry. Every push moves the tag `latest`.
    """


@tag.command("add", examples="datapkg tag add me/sales@1.2.0 stable")
@ref_argument
@click.argument("tag", type=TEXT)
@state_option
@registry_option
@pass_session
def add_tag(session: Session, ref: Ref, tag: str, state: str | None, registry: str | None) -> None:
    """Create or move a tag to the state of REF, by default the latest.

    Fails if REF has no state and the latest build on this machine was not pushed.
    """
    from datapkg.api.history import set_tag
    from datapkg.api.states import in_state
    from datapkg.format.names import check_tag

    check_tag(tag, f"datapkg version add {ref} {tag}")
    exact = _named(session, in_state(ref, state), "tag", tag, registry)
    _report_name(session, set_tag(session.home, exact, tag, registry=registry))


@tag.command("rm", examples="datapkg tag rm me/sales stable")
@ref_argument
@click.argument("tag", type=TEXT)
@registry_option
@pass_session
def remove_tag(session: Session, ref: Ref, tag: str, registry: str | None) -> None:
    """Remove a tag, but not its state."""
    from datapkg.api.history import remove_tag as remove

    remove(session.home, ref, tag, registry=registry)
    session.out.answer({"package": ref.package, "removed": tag}, [f"removed {ref.package}@{tag}"], quiet=[])


@tag.command("ls", examples="datapkg tag ls me/sales")
@ref_argument
@registry_option
@pass_session
def list_tags(session: Session, ref: Ref, registry: str | None) -> None:
    """List the tags of a package."""
    from datapkg.api.history import tags

    _print_names(session, ref, "tag", tags(session.home, ref, registry=registry))


@click.group(
    cls=CommandGroup,
    examples="""
    datapkg version add me/sales 1.2.0
    datapkg version ls me/sales
    datapkg version yank me/sales@1.2.0 -m "prices in cents"
    """,
    absent=dict.fromkeys(
        ("rm", "remove", "delete"),
        (
            "a version never moves and is never removed, so that it means the same to everybody; if it is yanked, "
            "ranges no longer mean it",
            "datapkg version yank USER/NAME@1.2.0",
        ),
    ),
)
def version() -> None:
    """Manage versions: names of states that never move.

    Versions are stored at the registry and ordered by PEP 440: 1.2.0rc1 comes before 1.2.0.
    """


@version.command("add", examples="datapkg version add me/sales@sha256:1f3a9c 1.2.0")
@ref_argument
@click.argument("version", type=TEXT)
@state_option
@registry_option
@pass_session
def add_version(session: Session, ref: Ref, version: str, state: str | None, registry: str | None) -> None:
    """Give the state of REF, by default the latest, a version.

    Fails if REF has no state and the latest build on this machine was not pushed.
    """
    from datapkg.api.history import add_version as add
    from datapkg.api.states import in_state

    exact = _named(
        session,
        in_state(ref, state),
        "version",
        check_new_version(version, f"datapkg tag add {ref} {version}"),
        registry,
    )
    _report_name(session, add(session.home, exact, version, registry=registry))


def _named(session: Session, ref: Ref, kind: Kind, name: str, registry: str | None) -> Ref:
    """Return the ref with the full hash of its state, which is printed before it gets a name."""
    from datapkg.api.history import state_to_name

    found = state_to_name(session.home, ref, kind, name, registry)
    by = f", pushed {time_text(found['created_at'])} by {found['author']}" if found["created_at"] else ""
    message = f": {found['message']}" if found["message"] else ""
    session.out.say(f"{hash_text(found['hash'])} at {found['origin']}{by}{message}")
    return ref.at(State("hash", found["hash"]))


def _report_name(session: Session, done: dict[str, Any]) -> None:
    session.out.answer(done, [f"{done['package']}@{done['name']} is {hash_text(done['hash'])}"], quiet=[])


def _print_names(session: Session, ref: Ref, kind: Kind, found: list[dict[str, Any]]) -> None:
    if session.out.json:
        session.out.answer({"package": ref.package, f"{kind}s": found}, [])
    else:
        rows = [
            (each["name"], hash_text(each["hash"]), time_text(each["created_at"] or ""), *_yanked(each, found))
            for each in found
        ]
        session.out.table((kind, "state", "since (UTC)", "yanked")[: len(rows[0]) if rows else 3], rows)


def _yanked(entry: dict[str, Any], found: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return a cell with the reason of a yanked version, if any of the versions was yanked."""
    if all(each.get("yanked") is None for each in found):
        return ()
    reason = entry.get("yanked")
    return ("" if reason is None else reason or "yes",)


@version.command("yank", examples='datapkg version yank me/sales@1.2.0 -m "prices in cents"')
@ref_argument
@click.option("-m", "--message", type=TEXT, default="", metavar="REASON", help="The reason, shown at every install.")
@registry_option
@pass_session
def yank_version(session: Session, ref: Ref, message: str, registry: str | None) -> None:
    """Withdraw the version of REF.

    Ranges no longer mean it. The version, its tags and its hash still name its state, so locks still work, with a
    note. Nothing is deleted; `unyank` undoes it.
    """
    _set_yanked(session, ref, message, registry)


@version.command("unyank", examples="datapkg version unyank me/sales@1.2.0")
@ref_argument
@registry_option
@pass_session
def unyank_version(session: Session, ref: Ref, registry: str | None) -> None:
    """Undo the yank of the version of REF."""
    _set_yanked(session, ref, None, registry)


def _set_yanked(session: Session, ref: Ref, reason: str | None, registry: str | None) -> None:
    from datapkg.api.history import set_yanked

    done = set_yanked(session.home, ref, reason, registry=registry)
    text = "is no longer yanked" if reason is None else "is yanked; ranges of versions no longer mean it"
    session.out.answer(done, [f"{done['package']}@{done['name']} {text}"], quiet=[])


@version.command("ls", examples="datapkg version ls me/sales")
@ref_argument
@registry_option
@pass_session
def list_versions(session: Session, ref: Ref, registry: str | None) -> None:
    """List the versions of a package."""
    from datapkg.api.history import versions

    _print_names(session, ref, "version", versions(session.home, ref, registry=registry))
