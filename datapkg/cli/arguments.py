"""Arguments and options that several commands share, and their parsers."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from datapkg.errors import DatapkgError, InvalidInput, InvalidName
from datapkg.format.names import Ref
from datapkg.format.texts import count_text, quoted, size_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from datapkg.cli.command import Session
    from datapkg.objects.deltas import PlannedTransfer

F = TypeVar("F", bound=Callable[..., Any])
MAX_TEXT = 100_000
SUFFIX = ".dpkg"  # of `format.bundle`, which loads more than most commands need
# Commands whose package may be at a registry only; a name given to others is most often a new one.
_READING = frozenset({"cat", "fetch", "install", "log", "mount", "show"})
MAX_MESSAGE = 10_000  # as a registry has it


class RefType(click.ParamType):
    """The type of text that names a package, maybe a node and a state; completes to packages that are here."""

    name = "ref"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:
        # click also converts defaults, which have the type already.
        if isinstance(value, Ref):
            return value
        try:
            return Ref.parse(value)
        except InvalidName as error:
            if name := error.detail.get("name"):
                _advise(error, name, ctx)
            elif not error.hint and "meant" not in error.detail and "@" in value:
                with contextlib.suppress(InvalidName):
                    error.explain("", f"datapkg log {Ref.parse(value.rpartition('@')[0]).package}")
            raise

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(each) for each in _packages_here(incomplete) if each.startswith(incomplete)]


def _packages_here(beginning: str = "") -> list[str]:
    """Return the packages on this machine, at least those that begin so."""
    from datapkg.home import Home

    home = Home()
    user, slash, _ = beginning.partition("/")
    users = [user] if slash else [each for each in home.users() if each.startswith(user)]
    return [f"{user}/{name}" for user in users for name in home.packages(user)]


def _advise(error: InvalidName, name: str, ctx: click.Context | None) -> None:
    """Suggest the full name of a package that was given without its user, or a search.

    The name of a new package gets the first user of whom packages are here.
    """
    from datapkg.home import Home

    here = [each for each in _packages_here() if each.partition("/")[2] == name]
    first = next((each for each in (ctx.params.values() if ctx else ()) if isinstance(each, Ref)), None)
    if first is not None and not here:  # a new name for the first package, as in `cp`
        with contextlib.suppress(InvalidName):
            here = [Ref.parse(f"{first.user}/{name}").package]
    if here:
        error.message += f"; did you mean {' or '.join(map(repr, here[:3]))}?"
        error.detail["meant"] = [name, here[0]]
    elif ctx is not None and ctx.info_name in _READING:
        error.explain("", f"datapkg search {shlex.quote(name)}")
    else:
        with contextlib.suppress(InvalidName):
            user = next(iter(Home().users()), "me")
            error.detail["meant"] = [name, Ref.parse(f"{user}/{name}").package]


class RefOrBundleType(RefType):
    """The type of a ref, or of the path of a bundle: a name that ends in .dpkg, or that cannot be a ref."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Path):
            return value
        if isinstance(value, str) and (value.endswith(SUFFIX) or value.startswith(("/", "./", "../", "~"))):
            with contextlib.suppress(InvalidName):
                if not Path(value).expanduser().exists():  # a node may have such a name, but a file comes first
                    return Ref.parse(value)
            return PATH.convert(value, param, ctx)
        return super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return super().shell_complete(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


class TextType(click.ParamType):
    """The type of text that can be encoded as UTF-8 and has at most `limit` characters."""

    name = "text"

    def __init__(self, limit: int = MAX_TEXT) -> None:
        self._limit = limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            # Bytes of an argument that are not UTF-8 arrive as lone surrogates, which JSON and registries refuse.
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{_name(param)} {quoted(text)} is not valid Unicode") from None
        if "\x00" in text:
            raise InvalidInput(f"{_name(param)} {quoted(text)} has a NUL character in it")
        if len(text) > self._limit:
            raise InvalidInput(f"{_name(param)} has {len(text):,} characters; at most {self._limit:,} are allowed")
        return text


class PathType(click.ParamType):
    """The type of a path; the command checks whether it exists."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if isinstance(value, Path):
            return value
        if not value or "\x00" in value:
            raise InvalidInput(f"{_name(param)} {quoted(value)} is not a path")
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class PathOrAddressType(PathType):
    """The type of a path, or of text that may be the address of a repository."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # `@`: git takes addresses such as git@host:repository.
        if isinstance(value, str) and ("://" in value or "@" in value):
            return TEXT.convert(value, param, ctx)
        return super().convert(value, param, ctx)


def _name(param: click.Parameter | None) -> str:
    if param is None:
        return "text"
    return param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name


REF = RefType()
REF_OR_BUNDLE = RefOrBundleType()
TEXT = TextType()
MESSAGE = TextType(MAX_MESSAGE)
PATH = PathType()
PATH_OR_ADDRESS = PathOrAddressType()

ref_argument = click.argument("ref", type=REF)
registry_option = click.option(
    "--registry", type=TEXT, metavar="R", help="A registry's address or folder, or its name in the settings."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would change and be transferred, and change nothing."
)
no_checks_option = click.option("--no-checks", is_flag=True, help="Skip the data checks; this is recorded.")
message_option = click.option(
    "-m", "--message", type=MESSAGE, metavar="TEXT", default="", help="A message for the log."
)


def _limit_option(flag: str, setting: str, metavar: str, help: str) -> Callable[[F], F]:
    """Return an option that overrides a setting for one command."""

    def give(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            from datapkg.cli.command import Session

            # Into the settings, so that no command has to hand it down to what makes requests.
            context.find_root().ensure_object(Session).home.settings.give(setting, value, flag)

    return click.option(flag, type=TEXT, metavar=metavar, expose_value=False, callback=give, help=help)


def transfer_options(function: F) -> F:
    """Add the options that limit how much of a connection, and of a registry, a command uses."""
    for add in (
        _limit_option(
            "--max-time", "max_time_s", "SECONDS", "Give up after this time, such as 3600; run again to go on."
        ),
        _limit_option("--bwlimit", "bwlimit", "RATE", "Move at most so many bytes a second, such as 5MB/s."),
        _limit_option("--jobs", "jobs", "N", "Make at most so many requests at once, such as 4."),
    ):
        function = add(function)
    return function


remote_option = click.option("--remote", is_flag=True, help="Show the registry's latest state, not the installed one.")


def registry_words(registry: str | None) -> str:
    """Return the option ` --registry R` for a line to type; "" if the user named no registry."""
    return f" --registry {shlex.quote(registry)}" if registry else ""


def pinned(package: str, hash: str) -> str:
    """Return the ref of exactly this state."""
    return f"{package}@sha256:{hash}"


def transfer_text(transfer: PlannedTransfer, *, to_here: bool = False) -> str:
    """Return `3 objects, 1.2 MB; 40 MB are at the registry already`, or `are here already` of a download."""
    amount = f"{count_text(transfer.objects, 'object')}, {size_text(transfer.bytes_moved)}"
    where = "here" if to_here else "at the registry"
    saved = f"; {size_text(transfer.bytes_saved)} are {where} already" if transfer.bytes_saved else ""
    return f"{amount}{saved}"


def report_state(session: Session, ref: Ref, url: str, remote: bool) -> None:
    """Print a note if a package was read from its registry, not from this machine."""
    if url:
        state = f"@{ref.state}" if ref.state else ""
        absent = "" if remote else f"{ref.package}{state} is not installed; "
        session.out.note(f"{absent}showing the state at {url}")


def report_pin(session: Session, ref: Ref) -> None:
    """Print a note if a lock file or a wheel, and not the current state, decides which state a ref means."""
    if ref.state is not None:
        return
    from datapkg.resolve import find_installed
    from datapkg.wheel_pins import is_wheel_pin

    try:
        found = find_installed(session.home, ref)
    except DatapkgError:  # the command fails by it too
        return
    current = found.store.refs.current(ref)
    if found.why not in ("current", "ref") and (current is None or current.hash != found.hash):
        also = f"; the current state is sha256:{current.hash[:12]}" if current else ""
        pin = f"the wheel of {found.why}" if is_wheel_pin(found.why) else found.why
        session.out.note(f"{ref.package} is sha256:{found.hash[:12]} here: {pin} pins it{also}")


def import_line(package: str) -> str:
    """Return the Python line that imports the package."""
    user, _, name = package.partition("/")
    return f"from datapkg.data.{user} import {name}"
