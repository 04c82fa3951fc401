"""The command line of a registry's operator: `datapkg-registry serve`, `datapkg-registry user …`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement

from datapkg import __version__
from datapkg.errors import CorruptObject, DatapkgError, InvalidInput, MissingDependency
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import count_text, quoted
from registry_server.settings import Settings, read_settings, setting_name

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PROGRAM = "datapkg-registry"
OPTIONS = ("data", "host", "port", "public_url")
# Commands that take something away; a mistyped word never suggests one.
REMOVING = frozenset({"revoke"})


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed on standard error."""
    as_json = "--json" in arguments
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except DatapkgError as error:
        _report(error, as_json)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return InvalidInput.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        message = error.format_message()
        hint = f"{context.command_path if context else PROGRAM} --help"
        _report(InvalidInput(message[:1].lower() + message[1:].removesuffix("."), hint=hint), as_json)
        return InvalidInput.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except ModuleNotFoundError as error:
        if "--debug" in arguments or str(error.name).startswith(("registry_server", "datapkg")):
            raise
        missing = MissingDependency(
            f"the registry needs the library {error.name}", hint=_libraries_line(str(error.name))
        )
        _report(missing, as_json)
        return missing.exit_code
    except Exception as error:
        if "--debug" in arguments:
            raise
        _report(
            DatapkgError(f"{type(error).__name__}: {error}", hint=f"{PROGRAM} --debug … prints the traceback"), as_json
        )
        return DatapkgError.exit_code
    return result if isinstance(result, int) else 0


def _libraries_line(missing: str) -> str:
    """Return the command that installs the libraries of the extra `server`, or at least the missing one.

    It does not name datapkg, which is another project on the public index, so that it works however that was installed.
    """
    try:
        needed = [Requirement(text) for text in metadata.requires("datapkg") or ()]
    except metadata.PackageNotFoundError:
        needed = []
    server = [each for each in needed if each.marker and "server" in str(each.marker)]
    return shlex.join(["pip", "install", *([f"{each.name}{each.specifier}" for each in server] or [missing])])


def _report(error: DatapkgError, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": error.to_wire()}, ensure_ascii=False), err=True)
        return
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder with all data; only serve creates a new one. [env: DATAPKG_REGISTRY_DATA]",
)
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only the token, for a pipe.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")


class _Group(click.Group):
    """A group of commands; it and the groups in it suggest the command that a mistyped word meant."""

    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (word := args[0]) not in self.commands and not word.startswith("-"):
            raise InvalidInput(
                f"there is no command {quoted(word)}{suggestion(word, self.commands.keys() - REMOVING)}",
                hint=f"{ctx.command_path} --help",
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
@click.option("--debug", is_flag=True, help="Print a traceback with an unexpected error.")
def cli(debug: bool) -> None:
    """A registry of data packages: one process, an SQLite database and a folder.

    \b
    Examples:
      datapkg-registry serve --data ./registry
      datapkg-registry user add ada --data ./registry
    """


def _bounds() -> str:
    """Return the settings that have no option, as a paragraph of help."""
    lines = [f"  {setting_name(each.name)}={each.default}" for each in fields(Settings) if each.name not in OPTIONS]
    return "\n".join(["\b", "Environment variables without an option, with their defaults:", *lines])


@cli.command(epilog=_bounds())
@_data_option
@click.option(
    "--host", metavar="HOST", help="The address to listen on; default 127.0.0.1. [env: DATAPKG_REGISTRY_HOST]"
)
@click.option(
    "--port", type=int, metavar="PORT", help="Default 8484; 0 takes a free port. [env: DATAPKG_REGISTRY_PORT]"
)
@click.option(
    "--public-url",
    metavar="URL",
    help="The URL by which others reach this registry, if it is not the address it listens on. "
    "[env: DATAPKG_REGISTRY_PUBLIC_URL]",
)
@_json_option
def serve(data: Path | None, host: str | None, port: int | None, public_url: str | None, as_json: bool) -> None:
    """Serve a registry until it is stopped (Ctrl-C, or SIGTERM).

    The first line on standard output is JSON with the address: {"url": "http://127.0.0.1:8484"}

    \b
    Examples:
      datapkg-registry serve --data ./registry
      datapkg-registry serve --data /srv/registry --host 0.0.0.0 --public-url https://data.example.org
    """
    from registry_server import app

    settings = read_settings(data=data, host=host, port=port, public_url=public_url)
    app.serve(settings, _announce)


def _announce(settings: Settings, created: bool) -> None:
    click.echo(json.dumps({"url": settings.address}))
    sys.stdout.flush()
    if created:
        click.echo(f"Created a new registry in {settings.data}.", err=True)
    click.echo(
        f"The registry in {settings.data} listens on {settings.address}"
        f"{f'; its public URL is {settings.url}' if settings.public_url else ''}.\n"
        f"Add a user:     {PROGRAM} user add NAME --data {settings.data}\n"
        f"Get the client: {settings.url}/client/\n"
        f"On a client:    datapkg login {settings.url}   (only to read: datapkg config registry {settings.url})",
        err=True,
    )


@cli.group()
def user() -> None:
    """Manage users and their tokens; works while the registry runs.

    \b
    Examples:
      datapkg-registry user add ada --data ./registry
      datapkg-registry user token ada --data ./registry
    """


def _with_registry(command: Callable[..., Any]) -> Callable[..., Any]:
    """Open the registry of `--data` for a command with `--json`, pass it as the first argument, and close it."""

    @wraps(command)
    def wrapped(data: Path | None, **options: Any) -> Any:
        from sqlalchemy.exc import DatabaseError

        from registry_server.services.registry import open_registry, unusable

        registry = open_registry(read_settings(data=data))
        try:
            return command(registry, **options)
        except DatabaseError as error:
            raise unusable(registry.settings, error) from error
        finally:
            registry.close()

    return _data_option(_json_option(wrapped))


@user.command()
@click.argument("name")
@_quiet_option
@_with_registry
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
@_with_registry
def token(registry: Any, name: str, as_json: bool, quiet: bool) -> None:
    """Create and print another token of a user; earlier ones stay valid."""
    from registry_server.services import accounts, policy

    _print_token(name, accounts.add_token(registry, policy.THE_OPERATOR, name), as_json, quiet)


@user.command()
@click.argument("name")
@_with_registry
def revoke(registry: Any, name: str, as_json: bool) -> None:
    """Revoke all tokens of a user; packages stay."""
    from registry_server.services import accounts, policy

    count = accounts.revoke_tokens(registry, policy.THE_OPERATOR, name)
    click.echo(
        json.dumps({"user": name, "revoked": count}) if as_json else f"revoked {count_text(count, 'token')} of {name}"
    )


@user.command("list")
@_with_registry
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


@cli.command()
@click.option("--content", is_flag=True, help="Also check tables whose content was never verified.")
@_with_registry
def verify(registry: Any, content: bool, as_json: bool) -> int:
    """Check the database and every object for damage.

    This works while the registry runs. Damaged objects are not deleted. They are no longer served, and the next push
    of a package that holds them sends them again. The exit code is 6 if anything is damaged.

    With --content, the tables that were published unchecked are checked as well, in child processes with limits.
    Tables whose values differ from their manifests are listed; the exit code is 6 then, too.

    \b
    Example:
      datapkg-registry verify --data ./registry
    """
    from registry_server.services import checking, policy, verifying

    found = verifying.verify(registry, policy.THE_OPERATOR)
    tables = checking.recheck(registry, policy.THE_OPERATOR) if content and not found.database else None
    false = tables.false if tables else []
    if as_json:
        damaged = [{"hash": each.hash, "packages": each.packages} for each in found.damaged]
        more: dict[str, Any] = {"tables": asdict(tables)} if tables else {}
        more |= {"database": found.database} if found.database else {}
        click.echo(json.dumps({"checked": found.checked, "damaged": damaged, **more}))
    else:
        for table in false:
            click.echo(f"false content: {table.path} of {table.package}@sha256:{table.state[:16]}: {table.reason}")
        if tables:
            click.echo(f"{count_text(tables.tables, 'table')} checked, {tables.unchecked:,} could not be checked.")
        for problem in found.database:
            click.echo(f"damaged: the database {registry.settings.database}: {problem}; restore it from a backup")
        for each in found.damaged:
            click.echo(f"damaged: {each.hash} of {', '.join(each.packages) or 'no package'}")
        click.echo(f"{count_text(found.checked, 'object')} checked, {len(found.damaged):,} damaged.")
    return CorruptObject.exit_code if found.damaged or found.database or false else 0


def _print_token(name: str, token: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps({"user": name, "token": token}))
    elif quiet:
        click.echo(token)
    else:
        click.echo(f"The token of {name}, which is shown only once:\n\n  {token}\n\nUse it with:  datapkg login URL")


if __name__ == "__main__":
    main()
