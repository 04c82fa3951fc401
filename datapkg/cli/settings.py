"""Commands about the program itself: config, completion, help."""

from __future__ import annotations

from typing import Any

import click

from datapkg.cli.arguments import TEXT
from datapkg.cli.command import Command, Session, pass_session
from datapkg.errors import InvalidInput
from datapkg.format.option_types import ChoiceType
from datapkg.format.texts import aligned

SHELLS = ("bash", "fish", "zsh")
COMPLETE_VARIABLE = "_DATAPKG_COMPLETE"
COMPLETION_HINTS = {
    "bash": 'eval "$(datapkg completion bash)"   in ~/.bashrc',
    "fish": "datapkg completion fish | source   in ~/.config/fish/config.fish",
    "zsh": 'eval "$(datapkg completion zsh)"   in ~/.zshrc',
}


@click.command(
    cls=Command,
    examples="""
    datapkg config
    datapkg config registry https://data.example.org
    datapkg config --unset registries.work
    """,
)
@click.argument("name", type=TEXT, required=False)
@click.argument("value", type=TEXT, required=False)
@click.option("--unset", is_flag=True, help="Remove the setting NAME from the settings file.")
@pass_session
def config(session: Session, name: str | None, value: str | None, unset: bool) -> None:
    """Show or change settings.

    Shows all settings and their origins, or the setting NAME; with VALUE, writes it to the settings file. Environment
    variables override the file.
    """
    if unset and (name is None or value is not None):
        raise InvalidInput("--unset takes the name of one setting", hint="datapkg config --unset registry")
    if name is not None and (unset or value is not None):
        session.home.settings.set(name, value)
    settings = _settings(session, name)
    rows = [(each["name"], _value_text(each["value"]), each["source"]) for each in settings]
    out = session.out
    if out.json:
        out.answer(settings[0] if name is not None else {"settings": settings}, [])
    elif name is None:
        out.answer({}, aligned([("SETTING", "VALUE", "FROM"), *rows]))
    else:
        out.answer({}, [f"{name} = {rows[0][1]}   (from {rows[0][2]})"], quiet=[rows[0][1]])


def _settings(session: Session, name: str | None) -> list[dict[str, Any]]:
    """Return all settings, or the named one; each named registry counts as one."""
    if name is None:
        found = session.home.settings.all()
    else:
        found = [session.home.settings.get(name.partition(".")[0] if name.startswith("registries.") else name)]
    rows = [{"name": each.name, "value": each.value, "source": each.source} for each in found]
    if name is not None and name.startswith("registries."):
        value = rows[0]["value"].get(name.partition(".")[2])
        rows = [{"name": name, "value": value, "source": rows[0]["source"] if value else "default"}]
    return rows


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {each}" for key, each in sorted(value.items())) or "(none)"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return "(none)" if value is None else str(value)


@click.command(
    cls=Command,
    examples='eval "$(datapkg completion bash)"\ndatapkg completion fish > ~/.config/fish/completions/datapkg.fish',
)
@click.argument("shell", type=ChoiceType(SHELLS))
@click.pass_context
@pass_session
def completion(session: Session, context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    made_by = get_completion_class(shell)
    assert made_by is not None
    script = made_by(context.find_root().command, {}, "datapkg", COMPLETE_VARIABLE).source()
    session.out.answer({"shell": shell, "script": script}, [*script.splitlines(), f"# {COMPLETION_HINTS[shell]}"])


@click.command(cls=Command, examples="datapkg help push\ndatapkg help tag add")
@click.argument("names", type=TEXT, nargs=-1, metavar="[COMMAND]...")
@click.pass_context
@pass_session
def help(session: Session, context: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command."""
    found: click.Context = context.find_root()
    for name in names:
        group = found.command
        if not isinstance(group, click.Group):
            raise InvalidInput(f"{found.command_path} has no commands", hint=f"{found.command_path} --help")
        _, command, _ = group.resolve_command(found, [name])
        assert command is not None
        found = command.context_class(command, found, name)
    text = found.get_help()
    if session.out.json:
        session.out.answer({"help": click.unstyle(text)}, [])
    else:
        session.out.help(text)
