"""The command for who may read and write a package: access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import TEXT, ref_argument, registry_option
from datapkg.cli.command import CommandGroup, Session, pass_session

if TYPE_CHECKING:
    from datapkg.format.names import Ref


@click.group(
    cls=CommandGroup,
    examples="""
    datapkg access add me/sales bob
    datapkg access add me/sales public --yes
    datapkg access ls me/sales
    """,
)
def access() -> None:
    """Manage who can read and write a package.

    The owner always has access. WHO is the name of a user, or public for everybody.
    """


@access.command(
    "add",
    examples="""
    datapkg access add me/sales bob
    datapkg access add me/sales cyd --write
    """,
)
@ref_argument
@click.argument("who", type=TEXT)
@click.option("--write", is_flag=True, help="Allow pushes, tags and versions too.")
@click.option("--yes", is_flag=True, help="Confirm that all earlier pushes become public.")
@registry_option
@pass_session
def add_access(session: Session, ref: Ref, who: str, write: bool, yes: bool, registry: str | None) -> None:
    """Grant a user, or the public, access to a package.

    Users read the package; with --write they can also push, tag and version it. Only its owner can delete it or change
    who has access. A registry does not reveal which users exist, so a misspelt WHO is accepted: check the answer.
    """
    from datapkg.api.sharing import PUBLIC, grant

    _report(session, ref, grant(session.home, ref, who, confirm=yes, registry=registry, write=write))
    if who != PUBLIC:
        session.out.note(f"if there is no user {who!r} yet, access starts once one of that name exists")


@access.command("rm", examples="datapkg access rm me/sales public")
@ref_argument
@click.argument("who", type=TEXT)
@registry_option
@pass_session
def remove_access(session: Session, ref: Ref, who: str, registry: str | None) -> None:
    """Revoke all access of a user, or of the public."""
    from datapkg.api.sharing import revoke

    _report(session, ref, revoke(session.home, ref, who, registry=registry))


@access.command("ls", examples="datapkg access ls me/sales")
@ref_argument
@registry_option
@pass_session
def list_access(session: Session, ref: Ref, registry: str | None) -> None:
    """List who can read and write a package."""
    from datapkg.api.sharing import access as look

    _report(session, ref, look(session.home, ref, registry=registry), is_result=True)


def _report(session: Session, ref: Ref, found: dict[str, Any], is_result: bool = False) -> None:
    readers = "everybody" if found["public"] else ", ".join(found["readers"]) or "nobody else"
    writers = f"; it can be written by {', '.join(found['writers'])}" if found["writers"] else ""
    lines = [f"{ref.package} belongs to {found['owner']}{writers}; it can be read by {readers}"]
    session.out.answer({"package": ref.package, **found}, lines, quiet=None if is_result else [])
