"""The program as a whole: help, global options, and exit codes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

import click
import pytest

from datapkg import __version__
from datapkg.api import listing
from datapkg.cli.main import COMMANDS, GROUPS, REMOVING, SYNONYMS, program
from datapkg.errors import CLASSES, DatapkgError
from datapkg.format.option_types import ChoiceType
from registry_server.__main__ import cli as registry_program
from tests.cli.conftest import Run

WANTED = """build generate push install lock ls show log tag version access export cat rm delete login logout whoami
search config verify""".split()


def commands(
    group: click.Group = program, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its words, including groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())


def test_every_command_exists() -> None:
    assert COMMANDS.keys() >= set(WANTED)
    assert COMMANDS.keys() >= set(SYNONYMS.values())
    assert not COMMANDS.keys() & SYNONYMS.keys()


def test_help_lists_all_commands_in_groups(run: Run) -> None:
    text = run("--help").out
    listed = {head: text.partition(f"\n{head}:\n")[2].partition("\n\n")[0].splitlines() for head in GROUPS}
    assert {head: tuple(line.split()[0] for line in lines) for head, lines in listed.items()} == GROUPS
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    assert all(len(line.split()) > 2 for lines in listed.values() for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_list_has_the_first_line_of_each_help(name: str) -> None:
    assert inspect.getdoc(ALL[(name,)].callback).splitlines()[0] == COMMANDS[name][1]  # type: ignore[union-attr]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_has_examples_and_global_options(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: datapkg {' '.join(words)} " in ended.out
    assert 1 <= len(ended.out.partition("\nExamples:\n")[2].splitlines()) <= 5
    assert f"    datapkg {' '.join(words)}" in ended.out or 'eval "$(datapkg completion' in ended.out
    for option in ("--json", "-q, --quiet", "--debug", "-h, --help"):
        assert option in ended.out
    assert run("help", *words).out == ended.out
    assert run(*words, "-h").out == ended.out


def test_without_arguments_an_overview_is_printed(run: Run) -> None:
    ended = run()
    assert (ended.code, ended.err) == (0, "")
    for line in ("datapkg install ", "datapkg build ", "datapkg push ", "datapkg --help"):
        assert line in ended.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"datapkg {__version__}\n"
    assert run("-V").out == f"datapkg {__version__}\n"
    assert run("--json", "--version").json == {"version": __version__}


@pytest.mark.parametrize("words", [("--json", "ls"), ("ls", "--json"), ("--json", "ls", "--json", "-q")])
def test_global_options_come_before_or_after_the_command(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words).json == {"packages": []}


def test_global_options_come_after_a_group(run: Run) -> None:
    for words in (("--json", "tag", "ls", "a/b"), ("tag", "--json", "ls", "a/b"), ("tag", "ls", "a/b", "--json")):
        ended = run(*words)
        assert (ended.code, ended.error["code"]) == (2, "invalid")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("isntall", "install"), ("lis", "ls"), ("upload", "push"), ("PUSH", "push"), ("appendd", "append")],
)
def test_misspelt_command_is_suggested(run: Run, typed: str, meant: str) -> None:
    ended = run(typed)
    assert ended.code == 2
    assert f"there is no command '{typed}'; did you mean " in ended.err
    assert meant in ended.err


@pytest.mark.parametrize("typed", ["delte", "delete_", "rmm", "rn", "lgoout", "logut", "uninstal", "unpublsh", "add"])
def test_no_typo_suggests_a_destructive_command(run: Run, typed: str) -> None:
    ended = run(typed)
    assert ended.code == 2
    assert not REMOVING & set(ended.err.replace("?", " ").split())


@pytest.mark.parametrize(("typed", "help"), [("uninstall", "rm"), ("unpublish", "delete")])
def test_synonym_of_remove_suggests_a_help_page(run: Run, typed: str, help: str) -> None:
    ended = run(typed)
    assert (ended.code, ended.err) == (
        2,
        f"error: there is no command '{typed}'\nhint: datapkg {help} --help\n",
    )


def test_unknown_command_without_a_match_suggests_help(run: Run) -> None:
    ended = run("qqqqqq")
    assert (ended.code, ended.err) == (2, "error: there is no command 'qqqqqq'\nhint: datapkg --help\n")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("build",), "missing argument 'REF'", "datapkg build --help"),
        (("push", "a/b", "--qqq"), "there is no option '--qqq'", "datapkg push --help"),
        (("push", "a/b", "c/d"), "got unexpected extra argument (c/d)", "datapkg push --help"),
        (("tag",), "missing command", "datapkg tag --help"),
        (("tag", "mv"), "there is no command 'mv'", "datapkg tag --help"),
        (
            ("export", "a/b", "c", "--format", "xls"),
            "--format is 'xls'; expected csv or parquet, such as --format csv",
            "datapkg export a/b c --format csv",
        ),
        (
            ("log", "a/b", "-n", "0"),
            "--limit is '0'; expected a whole number from 1 on, such as --limit 20",
            "datapkg log a/b -n 20",
        ),
        (
            ("gc", "--keep", "many"),
            "--keep is 'many'; expected a whole number from 0 to 1,000,000, such as --keep 3",
            "datapkg gc --help",
        ),
        (("completion", "basch"), "SHELL is 'basch'; expected bash, ", "datapkg completion bash"),
        (("build", "a/b", "-m"), "option '-m' requires an argument", "datapkg build --help"),
    ],
)
def test_usage_error_has_the_common_error_format(run: Run, words: tuple[str, ...], message: str, hint: str) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert message in ended.err
    assert f"hint: {hint}\n" in ended.err
    for at in (0, len(words)):
        as_json = run(*words[:at], "--json", *words[at:])
        if words[-1:] == ("-m",) and at:
            continue  # here --json is the value of the message option
        assert as_json.code == 2
        assert as_json.out == ""
        assert as_json.error["code"] == "invalid"
        assert message in as_json.error["message"]
        assert as_json.error["hint"].replace(" --json", "") == hint
        assert as_json.error.keys() == {"code", "message", "hint", "detail"}


@pytest.mark.parametrize("cls", CLASSES.values())
def test_exit_code_and_json_of_every_error(run: Run, monkeypatch: pytest.MonkeyPatch, cls: type[DatapkgError]) -> None:
    def fail(home: object) -> None:
        raise cls("what failed", hint="what to type", place="here")

    monkeypatch.setattr(listing, "list_packages", fail)
    ended = run("ls")
    assert (ended.code, ended.out) == (cls.exit_code, "")
    assert ended.err == "error: what failed\nhint: what to type\n"
    ended = run("ls", "--json")
    assert (ended.code, ended.out) == (cls.exit_code, "")
    detail = {"place": "here", "type": cls.__name__}
    assert ended.error == {"code": cls.code, "message": "what failed", "hint": "what to type", "detail": detail}
    assert "Traceback" in run("--debug", "ls").err
    assert "Traceback" in run("ls", "--debug", "--json").error["detail"]["traceback"]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyError("x"), 1, "error: this is a bug in datapkg: KeyError: 'x'\nhint: --debug shows where\n"),
        (RecursionError("deep"), 1, "error: this is a bug in datapkg: RecursionError: deep"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (MemoryError(), 10, "error: not enough memory: MemoryError\nhint: close other programs"),
        (OSError(24, "Too many open files", "x"), 10, "error: not enough open files: [Errno 24] Too many open files"),
        (RuntimeError("can't start new thread"), 10, "error: not enough threads or processes: can't start new"),
        (
            OSError(28, "No space left on device", "/data/x"),
            1,
            "error: /data/x: No space left on device\nhint: make room",
        ),
        (OSError(30, "Read-only file system", b"/data/x"), 1, "error: /data/x: Read-only file system\nhint: "),
        (OSError(5, "Input/output error"), 1, "error: Input/output error\n"),
        (PermissionError(13, "Permission denied", "/data/x"), 7, "error: /data/x: Permission denied\nhint: see who"),
        (FileNotFoundError(2, "No such file or directory", "x"), 3, "error: x: No such file or directory\n"),
        (IsADirectoryError(21, "Is a directory", "x"), 4, "error: x: Is a directory\n"),
        (OSError(18, "Invalid cross-device link", "x", None, "y"), 1, "error: x → y: Invalid cross-device link\n"),
        (OSError(36, "File name too long", "x" * 5000), 2, f"error: {'x' * 300}… (4,700 characters more): File name"),
        (ConnectionResetError(104, "Connection reset by peer"), 8, "error: Connection reset by peer\n"),
        (OSError("no number"), 1, "error: this is a bug in datapkg: OSError: no number"),
    ],
)
def test_no_exception_is_shown_raw(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fail(home: object) -> None:
        raise error

    monkeypatch.setattr(listing, "list_packages", fail)
    ended = run("ls")
    assert ended.err.lstrip("\n").startswith(text)
    assert (ended.code, ended.out) == (code, "")
    assert "Traceback" not in ended.err
    as_json = run("ls", "--json")
    assert as_json.code == code
    assert json.loads(as_json.err)["error"].keys() == {"code", "message", "hint", "detail"}
    if isinstance(error, Exception):
        assert "Traceback" in run("ls", "--debug").err


def test_problems_are_printed_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: object) -> None:
        raise CLASSES["InvalidBuildFile"]("two mistakes", problems=[("build.yml:1", "this"), ("build.yml:2", "that")])

    monkeypatch.setattr(listing, "list_packages", fail)
    assert run("ls").err == "error: two mistakes\n  build.yml:1: this\n  build.yml:2: that\n"


def test_multi_line_message_cannot_imitate_other_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: object) -> None:
        raise DatapkgError("foreign\nhint: rm -rf /\x1b[2J", hint="ours\nerror: no")

    monkeypatch.setattr(listing, "list_packages", fail)
    assert run("ls").err == "error: foreign\n  hint: rm -rf /⟨U+001B⟩[2J\nhint: ours error: no\n"
    assert "\x1b" not in run("ls", "--json").err


def test_no_option_answers_in_the_words_of_click() -> None:
    """Numbers and choices have types of ours, whose errors name what was expected and an example."""
    programs = [*ALL.values(), *registry_commands(registry_program)]
    params = [param for command in programs for param in command.params if not getattr(param, "is_flag", False)]
    foreign = [
        (param.name, param.type)
        for param in params
        if isinstance(param.type, click.Choice | type(click.INT) | type(click.FLOAT) | click.DateTime)
        and not isinstance(param.type, ChoiceType)
    ]
    assert len(params) > 100
    assert foreign == []


def registry_commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from registry_commands(command)
