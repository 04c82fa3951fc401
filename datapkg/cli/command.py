"""Commands and groups of this program: the options that all of them take, examples in their help, lazy members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.output import Output

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from datapkg.home import Home
    from datapkg.objects.progress import Progress

SWITCHES = {
    "json": ("--json", "Print one JSON document, for machines; errors too, on standard error."),
    "quiet": ("-q/--quiet", "Print results and errors only: no progress, no hints."),
    "debug": ("--debug", "Print a traceback with an error."),
}
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Session:
    """What one call of the program works with: where it prints, and the home of this machine."""

    def __init__(self) -> None:
        self.out = Output()

    @cached_property
    def home(self) -> Home:
        from datapkg.home import Home

        return Home()

    def progress(self) -> AbstractContextManager[Progress]:
        """Tells how far the work is; for a `with`."""
        from datapkg.cli.progress import Progress

        return Progress(self.out)


def pass_session(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command's function the session as its first argument."""
    return click.make_pass_decorator(Session, ensure=True)(function)


def _switch(name: str, flags: str, help: str) -> click.Option:
    def turn_on(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.find_root().ensure_object(Session).out, name, True)

    return click.Option(flags.split("/"), is_flag=True, expose_value=False, is_eager=True, callback=turn_on, help=help)


def switches() -> list[click.Option]:
    """The options that stand before or after any command."""
    return [_switch(name, flags, help) for name, (flags, help) in SWITCHES.items()]


class _Explained(click.Command):
    """Adds the options of all commands, and examples, printed as they are written."""

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        options["context_settings"] = {**CONTEXT, **options.get("context_settings", {})}
        super().__init__(*args, **options)
        self.examples = examples
        self.params = [*self.params, *switches()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"    {line.strip()}\n")


class Command(_Explained):
    """One command."""


class Group(_Explained, click.Group):
    """A command of commands, such as `tag add`."""

    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **options})


class LazyGroup(Group):
    """A group whose members are imported when one of them is called: name → ("module:attribute", one line of help).

    `synonyms` are words of other programs; they are not taken, but answered with ours.
    """

    def __init__(
        self, *args: Any, members: dict[str, tuple[str, str]], synonyms: dict[str, str], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.members = members
        self.synonyms = synonyms

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.members:
            return None
        from importlib import import_module

        module, _, attribute = self.members[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.members[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.members and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {name[:80]!r}{self._meant(name)}", ctx)
        return super().resolve_command(ctx, args)

    def _meant(self, name: str) -> str:
        from difflib import get_close_matches

        known: Sequence[str] = [*self.members, *self.synonyms]
        close = [self.synonyms.get(each, each) for each in get_close_matches(name[:80].lower(), known)]
        return f"; did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
