"""Every command that a message tells somebody to type is one that the programs understand.

Texts are read from the source: those given as `hint=`, and all others that show a command at their beginning, between
backticks, in parentheses, after a colon, two spaces, "then" or "or". Placeholders are filled with plausible values.
Options and environment variables that a hint names exist too.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from datapkg.cli.main import COMMANDS, program
from registry_server.__main__ import cli as registry_program
from registry_server.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"datapkg": program, "datapkg-registry": registry_program}
COMMAND = re.compile(r"(?:^|(?<=`)|(?<=: )|(?<=  )|(?<=\()|(?<=then )|(?<=or ))(datapkg(?:-registry)? [^`\n]*)")
END = re.compile(r"[;,)](?:\W|$)| \(|   | [<>|] |\.$|`")
VARIABLE = re.compile(r"DATAPKG_[A-Z_]+")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Of other programs, and the one that click adds.
OTHER_OPTIONS = {"--cap-add", "--device", "--help", "--resources"}
HASH = "a" * 64
# What stands for the values that a text fills in, by a word in their expression.
FILLED = (
    (r"registry_words\(", ""),
    (r"is_|if .* else", ""),
    (r"^kind$", "tag"),
    (r"\buser$", "u"),
    (r"\bpath\b", "u/p/x"),
    (r"_folder\(", "my-registry"),
    (r"origin|url|registry", "https://data.example.org"),
    (r"limit|size|bytes", "1000"),
    (r"named|self\._otherwise", "name"),
    (r"\bcores\b", "4"),
    (r"bundles|output", "x.dpkg"),
    (r"\brefs?\b|_ref\b|wanted|package|exact|full_name|requirement|near|name", "u/p"),
)


@dataclass(frozen=True)
class Text:
    """A text of a module, with what it fills in replaced."""

    place: str
    text: str
    is_hint: bool

    def commands(self) -> Iterator[str]:
        """What of it is to be typed."""
        for match in COMMAND.finditer(self.text):
            command = END.split(match[1])[0].strip()
            word = command.split()[1] if len(command.split()) > 1 else ""
            if self.is_hint or word in COMMANDS:
                yield command


@cache
def texts() -> list[Text]:
    return list(_texts())


def _texts() -> Iterator[Text]:
    """All texts of both packages, docstrings left out."""
    for package in ("datapkg", "registry_server"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            yield from _of_module(tree, str(path.relative_to(ROOT)))


def _of_module(tree: ast.Module, name: str) -> Iterator[Text]:
    nodes = list(ast.walk(tree))
    hints = {id(part) for node in nodes if _is_hint(node) for part in ast.walk(node)}
    inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    bare = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if id(node) in inner | bare or not isinstance(node, (ast.JoinedStr, ast.Constant)):
            continue
        if text := _filled(node):
            yield Text(f"{name}:{node.lineno}", text, id(node) in hints)


def _is_hint(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "hint"


def _filled(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(
        _value(ast.unparse(part.value)) if isinstance(part, ast.FormattedValue) else _filled(part)  # type: ignore[arg-type]
        for part in node.values
    )


def _value(expression: str) -> str:
    return next((value for pattern, value in FILLED if re.search(pattern, expression)), "x")


def understood(command: str) -> None:
    """Parse a command as the program does, without running it; raise what the program would say."""
    command = (
        command.replace("USER/NAME", "u/p")
        .replace("u/NAME", "u/p")
        .replace("/OTHER", "/other")
        .replace("sha256:…", f"sha256:{HASH}")
        .replace("@STATE", "@1.0")
    )
    command = re.sub(r"sha256:x\b", f"sha256:{HASH}", command)
    name, *words = shlex.split(command)
    found: click.Command = PROGRAMS[name]
    context = found.context_class(found, info_name=name)
    while isinstance(found, click.Group):
        called, inner, words = found.resolve_command(context, words)
        assert inner is not None
        context = inner.context_class(inner, parent=context, info_name=called)
        found = inner
    try:
        found.make_context(context.info_name, words, parent=context.parent)
    except click.exceptions.Exit:  # --help
        return


def options(command: click.Command) -> Iterator[str]:
    """Yield the options of a command and of all commands below it."""
    for param in command.params:
        yield from (*param.opts, *param.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from options(member)


# Read by one test after another, not while tests are collected: each process collects all of them.
@cache
def typed() -> list[tuple[str, str]]:
    """Places, and what is to be typed there."""
    return [(each.place, command) for each in texts() for command in each.commands()]


def test_hints_are_found() -> None:
    assert len({place for place, _ in typed()}) > 100
    assert "datapkg config registry https://data.example.org" in {command for _, command in typed()}


def test_every_command_in_a_message_is_understood() -> None:
    wrong = {}
    for place, command in typed():
        try:
            understood(command)
        except Exception as error:  # noqa: BLE001 (whatever the program would say)
            wrong[place] = f"{command}: {getattr(error, 'message', error)}"
    assert not wrong


def test_options_in_hints_exist() -> None:
    known = {each for program in PROGRAMS.values() for each in options(program)} | OTHER_OPTIONS
    wrong = {
        each.place: option
        for each in texts()
        if each.is_hint
        for option in OPTION.findall(each.text)
        if option not in known
    }
    assert not wrong


def test_environment_variables_in_hints_exist() -> None:
    known = {each.text for each in texts() if not each.is_hint}  # the program reads it by its whole name
    known |= {f"{PREFIX}{name.upper()}" for name in Settings.__annotations__}
    named = {(each.place, name) for each in texts() if each.is_hint for name in VARIABLE.findall(each.text)}
    assert {(place, name) for place, name in named if name not in known} == set()
    assert len(named) > 5
