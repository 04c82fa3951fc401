"""Commands that manage users and their tokens."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import click

from datapkg.format.texts import count_text
from registry_server.cli.command import OperatorGroup, with_registry

_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only the token, for a pipe.")


@click.group(cls=OperatorGroup)
def user() -> None:
    """Manage users and their tokens; works while the registry runs.

    \b
    Examples:
      datapkg-registry user add ada --data ./registry
      datapkg-registry user token ada --data ./registry
    """


@user.command()
@click.argument("name")
@_quiet_option
@with_registry
def add(registry: Any, name: str, as_json: bool, quiet: bool) -> None:
    """Add a user and print a token, which cannot be shown again.

    \b
    Examples:
      datapkg-registry user add ada --data ./registry
      datapkg-registry user add ada --data ./registry --quiet | datapkg login http://127.0.0.1:8484 --token -
    """
    from registry_server.services import accounts, policy

    _print_token(name, accounts.add_user(registry, policy.THE_OPERATOR, name), as_json, quiet)


@user.command()
@click.argument("name")
@_quiet_option
@with_registry
def token(registry: Any, name: str, as_json: bool, quiet: bool) -> None:
    """Create and print another token of a user; earlier ones stay valid."""
    from registry_server.services import accounts, policy

    _print_token(name, accounts.add_token(registry, policy.THE_OPERATOR, name), as_json, quiet)


@user.command()
@click.argument("name")
@with_registry
def revoke(registry: Any, name: str, as_json: bool) -> None:
    """Revoke all tokens of a user; packages stay."""
    from registry_server.services import accounts, policy

    count = accounts.revoke_tokens(registry, policy.THE_OPERATOR, name)
    click.echo(
        json.dumps({"user": name, "revoked": count}) if as_json else f"revoked {count_text(count, 'token')} of {name}"
    )


@user.command("list")
@partial(with_registry, writes=lambda _: False)
def list_users(registry: Any, as_json: bool) -> None:
    """List the users."""
    from registry_server.services import accounts, policy

    users = accounts.list_users(registry, policy.THE_OPERATOR)
    if as_json:
        rows = [
            {
                "user": each.name,
                "created_at": each.created_at.isoformat(),
                "tokens": each.tokens,
                "packages": each.packages,
            }
            for each in users
        ]
        click.echo(json.dumps({"users": rows}))
        return
    for each in users:
        has = f"{count_text(each.tokens, 'token')}, {count_text(each.packages, 'package')}"
        click.echo(f"{each.name:<40} {has}, since {each.created_at:%Y-%m-%d}")


def _print_token(name: str, token: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps({"user": name, "token": token}))
    elif quiet:
        click.echo(token)
    else:
        click.echo(f"The token of {name}, which is shown only once:\n\n  {token}\n\nUse it with:  datapkg login URL")
