"""Commands for the names of pushed states: tag, version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import TEXT, ref_argument, registry_option
from datapkg.cli.command import Group, Session, pass_session
from datapkg.cli.texts import hash_text, time_text

if TYPE_CHECKING:
    from datapkg.format.names import Ref


@click.group(
    cls=Group,
    examples="""
    datapkg tag add me/sales@1.2.0 stable
    datapkg tag ls me/sales
    datapkg tag rm me/sales stable
    """,
)
def tag() -> None:
    """Name pushed states; a tag moves.

    Tags are kept at the registry. `latest` is the tag that every push moves.
    """


@tag.command("add", examples="datapkg tag add me/sales@1.2.0 stable")
@ref_argument
@click.argument("tag", type=TEXT)
@registry_option
@pass_session
def add_tag(session: Session, ref: Ref, tag: str, registry: str | None) -> None:
    """Make a tag name the state that REF names (latest without one)."""
    from datapkg.api.history import set_tag

    done = set_tag(session.home, ref, tag, registry=registry)
    session.out.answer(done, [f"{done['package']}@{done['tag']} is {hash_text(done['hash'])}"], quiet=[])


@tag.command("rm", examples="datapkg tag rm me/sales stable")
@ref_argument
@click.argument("tag", type=TEXT)
@registry_option
@pass_session
def remove_tag(session: Session, ref: Ref, tag: str, registry: str | None) -> None:
    """Remove a tag; the state that it named stays."""
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

    found = tags(session.home, ref, registry=registry)
    out = session.out
    if out.json:
        out.answer({"package": ref.package, "tags": found}, [])
    else:
        out.table(("tag", "state"), [(name, hash_text(hash)) for name, hash in found.items()])


@click.group(
    cls=Group,
    examples="""
    datapkg version add me/sales 1.2.0
    datapkg version ls me/sales
    """,
)
def version() -> None:
    """Number pushed states; a version never moves.

    Versions are kept at the registry, in the order of PEP 440: 1.2.0rc1 comes before 1.2.0.
    """


@version.command("add", examples="datapkg version add me/sales@sha256:1f3a9c 1.2.0")
@ref_argument
@click.argument("version", type=TEXT)
@registry_option
@pass_session
def add_version(session: Session, ref: Ref, version: str, registry: str | None) -> None:
    """Give the state that REF names (latest without one) a version, for good."""
    from datapkg.api.history import add_version as add

    done = add(session.home, ref, version, registry=registry)
    session.out.answer(done, [f"{done['package']}@{done['version']} is {hash_text(done['hash'])}"], quiet=[])


@version.command("ls", examples="datapkg version ls me/sales")
@ref_argument
@registry_option
@pass_session
def list_versions(session: Session, ref: Ref, registry: str | None) -> None:
    """List the versions of a package."""
    from datapkg.api.history import versions

    found = versions(session.home, ref, registry=registry)
    out = session.out
    if out.json:
        out.answer({"package": ref.package, "versions": found}, [])
    else:
        rows = [(each["version"], hash_text(each["hash"]), time_text(each["created_at"])) for each in found]
        out.table(("version", "state", "since (UTC)"), rows)
