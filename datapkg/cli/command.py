"""Classes of commands and groups: options that all share, examples in the help, lazy members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.output import Output
from datapkg.cli.terminal import styled
from datapkg.errors import InvalidInput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from datapkg.home import Home
    from datapkg.objects.progress import Progress

SWITCHES = {
    "json": ("--json", "Print one JSON document, for machines; errors too, on standard error."),
    "quiet": ("-q/--quiet", "Print results and errors only: no progress, no hints."),
    "debug": ("--debug", "Print a traceback with an error."),
}
_SHOWN_CHARACTERS = 80
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Session:
    """The context of one call of the program: its output, and the home of this machine."""

    def __init__(self) -> None:
        self.out = Output()

    @cached_property
    def home(self) -> Home:
        """Return the home of this machine; the time limit of a command begins here."""
        from datapkg.home import Home

        home = Home()
        home.begin_command()
        return home

    def progress(self) -> AbstractContextManager[Progress]:
        """Return a progress display for a `with`."""
        from datapkg.cli.progress import Progress

        return Progress(self.out)


def pass_session(function: Callable[..., None]) -> Callable[..., None]:
    """Pass the session to a command's function as its first argument."""
    return click.make_pass_decorator(Session, ensure=True)(function)


def _switch(name: str, flags: str, help: str) -> click.Option:
    def turn_on(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.find_root().ensure_object(Session).out, name, True)

    # Eager, so that a mistake in any other option is reported in the form that was asked for.
    return click.Option(flags.split("/"), is_flag=True, expose_value=False, is_eager=True, callback=turn_on, help=help)


def switches() -> list[click.Option]:
    """Return the options that can be given before or after any command."""
    return [_switch(name, flags, help) for name, (flags, help) in SWITCHES.items()]


class _Formatter(click.HelpFormatter):
    """A formatter of help pages, in colour if the terminal supports it."""

    has_colour = False

    def write_heading(self, heading: str) -> None:
        """Write a heading, in bold."""
        super().write_heading(styled(heading, "bold") if self.has_colour else heading)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and their descriptions; the names in colour."""
        pairs = [(styled(first, "cyan") if self.has_colour else first, second) for first, second in rows]
        super().write_dl(pairs, col_max, col_spacing)


def no_such(what: str, name: str, near: Sequence[str], hint: str) -> InvalidInput:
    """Return the error for an unknown word of a command line, with suggestions."""
    advice = f"; did you mean {' or '.join(near)}?" if near else ""
    detail = {"meant": [name, near[0]]} if near else {}
    return InvalidInput(f"there is no {what} {name[:_SHOWN_CHARACTERS]!r}{advice}", hint=hint, **detail)


class _Context(click.Context):
    """The context of one command."""

    def make_formatter(self) -> click.HelpFormatter:
        """Return the formatter of the help page."""
        formatter = _Formatter(width=self.terminal_width, max_width=self.max_content_width)
        formatter.has_colour = bool(self.color)
        return formatter


class _Explained(click.Command):
    """A command with the shared options, and with examples that are printed verbatim."""

    context_class = _Context

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        options["context_settings"] = {**CONTEXT, **options.get("context_settings", {})}
        super().__init__(*args, **options)
        self.examples = examples
        self.params = [*self.params, *switches()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # The hint shows the help of this command; click leaves the context out of some errors.
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"    {line.strip()}\n")


class Command(_Explained):
    """One command."""


class CommandGroup(_Explained, click.Group):
    """A command with subcommands, such as `tag add`.

    `absent` are subcommands that others would expect: name → (why there is none, a line to type instead).
    """

    command_class = Command

    def __init__(self, *args: Any, absent: Mapping[str, tuple[str, str]] = {}, **options: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **options})
        self._absent = absent

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, command and arguments; raise `InvalidInput` with suggestions for an unknown name."""
        name = args[0]
        # resilient_parsing: while a shell completes a line, half a word is no mistake.
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            if name in self._absent:
                what, hint = self._absent[name]
                raise InvalidInput(what, hint=hint)
            raise no_such("command", name, self.close_names(ctx, name), f"{ctx.command_path} --help")
        return super().resolve_command(ctx, args)

    def close_names(self, ctx: click.Context, name: str) -> list[str]:
        """Return the members that are similar to a mistyped name, the most similar first."""
        from difflib import get_close_matches  # loaded only for a mistake

        return get_close_matches(name[:_SHOWN_CHARACTERS].lower(), self.list_commands(ctx), n=1)


class LazyGroup(CommandGroup):
    """A group whose members are imported when one of them is called: name → ("module:attribute", one line of help).

    `sections` are the headings under which the help lists them. `synonyms` are words of other programs; they are not
    taken, but answered with ours. The members in `removing` are never suggested.
    """

    def __init__(
        self,
        *args: Any,
        members: Mapping[str, tuple[str, str]],
        sections: Mapping[str, Sequence[str]],
        synonyms: Mapping[str, str],
        removing: Collection[str],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.members = members
        self.sections = sections
        self.synonyms = synonyms
        self.removing = removing

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
        widest = max(map(len, self.members))
        for heading, names in self.sections.items():
            with formatter.section(heading):
                # Names of one width put the texts of all sections below each other.
                formatter.write_dl([(name.ljust(widest), self.members[name][1]) for name in names])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, command and arguments; raise `InvalidInput` for a word that is not a command.

        A word that means one that removes something leads to its help page, which is harmless to type.
        """
        meant = self.synonyms.get(args[0].lower())
        if meant in self.removing and args[0] not in self.members and not ctx.resilient_parsing:
            raise no_such("command", args[0], [], f"{ctx.command_path} {meant} --help")
        return super().resolve_command(ctx, args)

    def close_names(self, ctx: click.Context, name: str) -> list[str]:
        """Return the members that are similar to a mistyped name, or that other programs call so."""
        from difflib import get_close_matches  # loaded only for a mistake

        close = get_close_matches(name[:_SHOWN_CHARACTERS].lower(), [*self.members, *self.synonyms], n=2, cutoff=0.7)
        commands = dict.fromkeys(self.synonyms.get(each, each) for each in close)
        return [each for each in commands if each not in self.removing]
