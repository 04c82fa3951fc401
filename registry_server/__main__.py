"""The command line of a registry's operator: `datapkg-registry serve`, `datapkg-registry user …`."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import click
from packaging.requirements import Requirement

from datapkg import __version__
from datapkg.errors import DatapkgError, InvalidInput, MissingDependency, Refused, exhausted
from datapkg.format.option_types import NumberType
from datapkg.objects.files import NO_ROOM, UNWRITABLE
from registry_server.cli import exports, maintenance, users
from registry_server.cli.command import CONTEXT, PROGRAM, OperatorGroup, data_option, json_option
from registry_server.settings import Settings, read_settings, setting_name

OPTIONS = ("data", "objects", "host", "port", "public_url")
SYSTEM_HINTS = {
    **dict.fromkeys(NO_ROOM, "make room there, and run it again"),
    **dict.fromkeys(UNWRITABLE, "see who may read and write there: ls -ld"),
    errno.EIO: "see what the system says about the disk: dmesg",
}


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
        failure = _translated(error)
        _report(failure, as_json)
        return failure.exit_code
    return result if isinstance(result, int) else 0


def _translated(error: Exception) -> DatapkgError:
    """Return an error of the system as one of ours, with the path; any other one names its class."""
    if lack := exhausted(error):
        return lack
    if not isinstance(error, OSError) or error.strerror is None:
        return DatapkgError(f"{type(error).__name__}: {error}", hint=f"{PROGRAM} --debug … prints the traceback")
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    cls = Refused if error.errno in UNWRITABLE else DatapkgError
    return cls(f"{place}{error.strerror}", hint=SYSTEM_HINTS.get(error.errno or 0, ""))


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


@click.group(cls=OperatorGroup, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
@click.option("--debug", is_flag=True, help="Print a traceback with an unexpected error.")
def cli(debug: bool) -> None:
    """A registry of data packages: one process, an SQLite database and a folder.

    \b
    Examples:
      datapkg-registry serve --data ./registry
      datapkg-registry user add ada --data ./registry
      datapkg-registry check --data ./registry
    """


def _bounds() -> str:
    """Return the settings that have no option, as a paragraph of help."""
    lines = [f"  {setting_name(each.name)}={each.default}" for each in fields(Settings) if each.name not in OPTIONS]
    return "\n".join(["\b", "Environment variables without an option, with their defaults:", *lines])


@cli.command(epilog=_bounds())
@data_option
@click.option(
    "--objects",
    metavar="URL",
    help="Where a new registry keeps its objects, if not in the data folder: s3://BUCKET/PREFIX, gs://…, az://…. "
    "[env: DATAPKG_REGISTRY_OBJECTS]",
)
@click.option(
    "--host", metavar="HOST", help="The address to listen on; default 127.0.0.1. [env: DATAPKG_REGISTRY_HOST]"
)
@click.option(
    "--port",
    type=NumberType(0, 65_535, example=8484),
    metavar="PORT",
    help="Default 8484; 0 takes a free port. [env: DATAPKG_REGISTRY_PORT]",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="The URL by which others reach this registry, if it is not the address it listens on. "
    "[env: DATAPKG_REGISTRY_PUBLIC_URL]",
)
@json_option
def serve(
    data: Path | None, objects: str | None, host: str | None, port: int | None, public_url: str | None, as_json: bool
) -> None:
    """Serve a registry until it is stopped (Ctrl-C, or SIGTERM).

    The first line on standard output is JSON with the address: {"url": "http://127.0.0.1:8484"}

    \b
    Examples:
      datapkg-registry serve --data ./registry
      datapkg-registry serve --data /srv/registry --host 0.0.0.0 --public-url https://data.example.org
      datapkg-registry serve --data ./registry --objects s3://my-bucket/datapkg
    """
    from registry_server import app

    settings = read_settings(data=data, objects=objects, host=host, port=port, public_url=public_url)
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


for each in (users.user, maintenance.sweep, maintenance.check, exports.export, exports.load):
    cli.add_command(each)
# The client's word for it.
cli.add_command(
    click.Command("verify", hidden=True, callback=maintenance.check.callback, params=maintenance.check.params)
)


if __name__ == "__main__":
    main()
