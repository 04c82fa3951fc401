"""Commands for accounts at a registry: login, logout, whoami."""

from __future__ import annotations

import sys

import click

from datapkg.cli.arguments import TEXT, registry_option
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import InvalidInput

MAX_TOKEN_CHARACTERS = 10_000


@click.command(
    cls=Command,
    examples="""
    datapkg login https://data.example.org
    datapkg login https://data.example.org --token - < token.txt
    datapkg login --registry work
    """,
)
@click.argument("url", type=TEXT, required=False)
@click.option("--token", type=TEXT, help="The token; - reads it from standard input. Prompted for on a terminal.")
@registry_option
@pass_session
def login(session: Session, url: str | None, token: str | None, registry: str | None) -> None:
    """Log in to a registry with a token.

    URL is by default the registry of the settings, which the first login sets. The token is sent only to that registry.
    If DATAPKG_REGISTRY and DATAPKG_TOKEN are set, no login is needed.
    """
    from datapkg.api.accounts import login as log_in

    if url is not None and registry is not None:
        raise click.UsageError("name one registry, by URL or by --registry", click.get_current_context())
    registry = url or registry
    given = _token(session, token, registry)
    done = log_in(session.home, given, registry=registry)
    session.out.answer(done, [f"logged in to {done['registry']} as {done['user']}"], quiet=[])


def _token(session: Session, given: str | None, registry: str | None) -> str:
    if given == "-":
        # Bounded, since the wrong file may be piped in.
        return sys.stdin.read(MAX_TOKEN_CHARACTERS).strip() if sys.stdin is not None else ""
    if given is not None:
        return given
    if registry is not None:
        session.home.registry_url(registry)  # a wrong address is reported before anybody is asked for a token
    if not session.out.can_ask:
        raise InvalidInput(
            "no token was given, and standard input is not a terminal, so there is no prompt",
            hint=f"datapkg login {registry or session.home.settings.get('registry').value or 'URL'} --token - < FILE",
        )
    return session.out.ask(f"Token for {session.home.registry_url(registry)}", hidden=True)


@click.command(cls=Command, examples="datapkg logout")
@registry_option
@pass_session
def logout(session: Session, registry: str | None) -> None:
    """Log out of a registry."""
    from datapkg.api.accounts import logout as log_out

    done = log_out(session.home, registry=registry)
    what = "logged out of" if done["was_logged_in"] else "no token was kept for"
    session.out.answer(done, [f"{what} {done['registry']}"], quiet=[])


@click.command(cls=Command, examples="datapkg whoami --registry https://data.example.org")
@registry_option
@pass_session
def whoami(session: Session, registry: str | None) -> None:
    """Show the logged-in user."""
    from datapkg.api.accounts import whoami as ask

    found = ask(session.home, registry=registry)
    session.out.answer(found, [f"{found['user']} at {found['registry']}"], quiet=[str(found["user"])])
