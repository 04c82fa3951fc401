"""The program `datapkg`: its commands, each imported when it is called, and its exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from datapkg import __version__
from datapkg.cli.command import LazyGroup, Session, pass_session
from datapkg.cli.correcting import correct
from datapkg.cli.failures import failure_of
from datapkg.cli.output import abandon_stdout
from datapkg.errors import Notice

COMMANDS: dict[str, tuple[str, str]] = {
    "access": ("datapkg.cli.sharing:access", "Manage who can read and write a package."),
    "add": ("datapkg.cli.projects:add", "Add packages to a project, pin and install them."),
    "append": ("datapkg.cli.changing:append", "Add files to a package, or rows to a table in it."),
    "build": ("datapkg.cli.building:build", "Build a package from files, a build file or a repository."),
    "bundle": ("datapkg.cli.bundling:bundle", "Write packages into one file, for machines without a network."),
    "cache": ("datapkg.cli.caching:cache", "Sizes, pinned states and warm copies on this machine."),
    "cat": ("datapkg.cli.files:cat", "Print one file or table of a package, installed or not."),
    "check": ("datapkg.cli.checking:check", "Run the checks of a build file without building a package."),
    "completion": ("datapkg.cli.settings:completion", "Print the completion script of a shell."),
    "config": ("datapkg.cli.settings:config", "Show or change settings."),
    "cp": ("datapkg.cli.copying:cp", "Copy a package under another name."),
    "delete": ("datapkg.cli.maintenance:delete", "Delete a package from its registry."),
    "edit": ("datapkg.cli.changing:edit", "Remove nodes from a package, or move them to other paths."),
    "export": ("datapkg.cli.files:export", "Write a package as ordinary files with their original names."),
    "fetch": ("datapkg.cli.installing:fetch", "Download missing data of an installed package."),
    "gc": ("datapkg.cli.maintenance:gc", "Free space: unneeded data and, if asked, older states."),
    "generate": ("datapkg.cli.building:generate", "Write a first build file and README for a folder."),
    "graph": ("datapkg.cli.graphs:graph", "Show the stages of a build file and what they depend on."),
    "help": ("datapkg.cli.settings:help", "Show the help of a command."),
    "import-from": ("datapkg.cli.importing:import_from", "Write the build file for a pipeline of another tool."),
    "init": ("datapkg.cli.projects:init", "Create a project with an empty datapkg.yml."),
    "install": ("datapkg.cli.installing:install", "Install packages from a registry, or the packages of a project."),
    "lock": ("datapkg.cli.projects:lock", "Pin the packages of a project to exact states."),
    "log": ("datapkg.cli.log:log", "List the pushes and local builds of a package."),
    "login": ("datapkg.cli.accounts:login", "Log in to a registry with a token."),
    "logout": ("datapkg.cli.accounts:logout", "Log out of a registry."),
    "ls": ("datapkg.cli.listing:ls", "List packages on this machine or at a registry."),
    "merge": ("datapkg.cli.changing:merge", "Merge packages into one."),
    "mirror": ("datapkg.cli.copying:mirror", "Copy packages from a registry into a folder or bucket."),
    "mount": ("datapkg.cli.mounting:mount", "Show a package as a folder of read-only files."),
    "outdated": (
        "datapkg.cli.projects:outdated",
        "List pins that are not the latest state at their registry.",
    ),
    "push": ("datapkg.cli.publishing:push", "Publish a package to a registry."),
    "remove": ("datapkg.cli.projects:remove", "Remove packages from the requirements of a project."),
    "rm": ("datapkg.cli.maintenance:rm", "Uninstall a package and free its space."),
    "runs": ("datapkg.cli.tracked:runs", "List the runs that datapkg.track recorded in a folder."),
    "search": ("datapkg.cli.listing:search", "Find packages at a registry."),
    "show": ("datapkg.cli.listing:show", "Show the contents of a package: tables, columns, files, sizes."),
    "status": ("datapkg.cli.comparing:status", "Compare working files with the last build from them."),
    "stubs": ("datapkg.cli.stubs:stubs", "Write type stubs of packages, for editors and type checkers."),
    "sync": ("datapkg.cli.syncing:sync", "Update a package at its registry from a folder."),
    "tag": ("datapkg.cli.pointers:tag", "Manage tags: names of states that can be moved."),
    "unmount": ("datapkg.cli.mounting:unmount", "Unmount a folder that datapkg mount shows."),
    "update": (
        "datapkg.cli.projects:update",
        "Update a project's pins to the newest allowed states.",
    ),
    "verify": ("datapkg.cli.maintenance:verify", "Verify stored data against its hashes."),
    "version": ("datapkg.cli.pointers:version", "Manage versions: names of states that never move."),
    "whoami": ("datapkg.cli.accounts:whoami", "Show the logged-in user."),
}
# How `--help` lists them.
GROUPS = {
    "Use data": ("search", "install", "fetch", "ls", "show", "log", "cat", "export", "bundle", "mount", "unmount"),
    "Build packages": ("generate", "import-from", "build", "check", "status", "graph", "runs"),
    "Edit packages": ("append", "edit", "merge", "cp"),
    "Publish data": ("push", "sync", "tag", "version", "access", "mirror", "delete"),
    "Projects": ("init", "add", "remove", "update", "outdated", "lock", "stubs"),
    "This machine": ("config", "login", "logout", "whoami", "rm", "gc", "verify", "cache", "completion", "help"),
}
# Commands that remove something; a mistyped word never suggests one.
REMOVING = frozenset({"delete", "gc", "logout", "remove", "rm"})
SYNONYMS = {
    "checkout": "install",
    "combine": "merge",
    "copy": "cp",
    "download": "install",
    "fork": "cp",
    "freeze": "lock",
    "get": "install",
    "history": "log",
    "info": "show",
    "inspect": "show",
    "list": "ls",
    "mv": "cp",
    "publish": "push",
    "pull": "install",
    "rename": "cp",
    "share": "access",
    "umount": "unmount",
    "uninstall": "rm",
    "unpublish": "delete",
    "test": "check",
    "typings": "stubs",
    "upload": "push",
    "upgrade": "update",
    "validate": "check",
    "watch": "sync",
}
OVERVIEW = f"""datapkg {__version__}: data, installed and imported like code

  datapkg install uciml/iris      get a dataset; in Python: from datapkg.data.uciml import iris
  datapkg build me/iris FOLDER    make a package of your own data
  datapkg push me/iris            publish it at your registry

datapkg --help lists all commands, datapkg COMMAND --help explains one with examples."""
EXAMPLES = """
datapkg install uciml/iris@1.2.0
datapkg build me/sales ./sales
datapkg push me/sales --tag stable
"""


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        out = context.ensure_object(Session).out
        out.answer({"version": __version__}, [f"datapkg {__version__}"])
        context.exit()


@click.command(
    cls=LazyGroup,
    members=COMMANDS,
    sections=GROUPS,
    synonyms=SYNONYMS,
    removing=REMOVING,
    examples=EXAMPLES,
    invoke_without_command=True,
    params=[
        click.Option(
            ["-V", "--version"], is_flag=True, expose_value=False, callback=_print_version, help="Print the version."
        )
    ],
)
@click.pass_context
@pass_session
def program(session: Session, context: click.Context) -> None:
    """Data, installed and imported like code."""
    if context.invoked_subcommand is None:
        if session.out.json:
            raise click.UsageError("name a command", context)
        session.out.answer({}, OVERVIEW.splitlines())


def main(args: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run one command line (by default that of this process) and return its exit code; no exception is raised.

    `session` is given where answers go elsewhere than to a terminal.
    """
    args = list(sys.argv[1:] if args is None else args)
    session = session or Session()
    try:
        with _notices_as_notes(session):
            # In its standalone mode, click would print errors in its own form and end the process.
            code = program.main(args, "datapkg", standalone_mode=False, obj=session, color=session.out.has_colour)
        session.out.flush()
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (reported to the user, a bug as a bug)
        return _fail(session, error, args)


@contextmanager
def _notices_as_notes(session: Session) -> Iterator[None]:
    """Print each `Notice` as a note, once, while the block runs."""
    printed: set[str] = set()

    def note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, Notice):
            shown_before(message, category, *place, **more)
        elif str(message) not in printed:
            printed.add(str(message))
            session.out.note(str(message))

    with warnings.catch_warnings():
        # Python's default filter would hide a notice that a process (a notebook) has shown before.
        warnings.simplefilter("always", Notice)
        shown_before, warnings.showwarning = warnings.showwarning, note
        yield


def _fail(session: Session, error: BaseException, args: list[str]) -> int:
    """Print a failure and return its exit code; --json and --debug count even after a mistyped option."""
    out = session.out
    # What follows `--` are values, whatever they look like.
    before_dashes = args[: args.index("--")] if "--" in args else args
    out.json = out.json or "--json" in before_dashes
    out.debug = out.debug or "--debug" in before_dashes
    failure, exit_code = failure_of(error, session)
    correct(failure, before_dashes, REMOVING)
    traceback = ""
    if out.debug:
        from traceback import format_exception

        traceback = "".join(format_exception(error))
    try:
        out.flush()  # results before the error, also where both go to one file
    except OSError:
        abandon_stdout()
    out.error(failure, traceback)
    return exit_code
