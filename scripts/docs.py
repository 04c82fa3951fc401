"""Writes the pages that are made from the program itself; with --check, fails where one is out of date.

docs/commands.md is the `--help` of every command, docs/python.md ends with the docstrings of the public functions.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datapkg
from datapkg.cli.main import GROUPS

ROOT = Path(__file__).resolve().parent.parent
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
PYTHON_PAGE = ROOT / "docs" / "python.md"
PROGRAMS = ("datapkg", "datapkg-registry")
HEAD = "# Commands\n\nWhat `--help` says of each command. This page is written by `make docs`.\n"
MARK = "<!-- What follows is written by `make docs` from docstrings. -->\n"
# The functions of the package `datapkg`, as docs/python.md has them; a new one is named here too.
FUNCTIONS = {
    "Use data": "search install fetch prefetch load open export open_hook ls log",
    "Build and edit packages": "build check status edit merge copy",
    "Publish data": "push sync tag version access",
    "Projects and this machine": "lock config login rm verify",
    "Nodes of a package": "walk find filter items keys values frames to_frame plot kind meta name ref hash size",
}


def main() -> int:
    """Writes or checks the pages and returns the exit code."""
    pages = {
        COMMANDS_PAGE: HEAD + "".join(section for program in PROGRAMS for section in sections((program,))),
        PYTHON_PAGE: PYTHON_PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + "".join(functions()),
    }
    if "--check" in sys.argv[1:]:
        old = [path for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
        for path in old:
            print(f"{path.relative_to(ROOT)} is out of date: make docs", file=sys.stderr)
        return 1 if old else 0
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


def functions() -> Iterator[str]:
    """The section of each public function: how it is called, and its docstring."""
    for heading, names in FUNCTIONS.items():
        yield f"\n## {heading}\n"
        for name in names.split():
            function = getattr(datapkg, name)
            yield f"\n### {name}\n\n`datapkg.{name}{signature_of(function)}`\n\n{inspect.getdoc(function)}\n"


def signature_of(function: object) -> str:
    """The parameters of a function with their defaults, without types."""
    assert inspect.isfunction(function)
    signature = inspect.signature(function)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def sections(command: tuple[str, ...]) -> Iterator[str]:
    """The section of a command, then those of its sub-commands."""
    said = help_of(command)
    yield f"\n{'#' * (len(command) + 1)} {' '.join(command)}\n\n```\n{said.strip()}\n```\n"
    for name in sub_commands(said):
        yield from sections((*command, name))


def help_of(command: tuple[str, ...]) -> str:
    """What the installed program prints, at a width that does not depend on the terminal."""
    program = Path(sys.executable).parent / command[0]
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [program, *command[1:], "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def sub_commands(said: str) -> list[str]:
    """The names under `Commands:`, or under the headings of the client's, where a help page has such a list."""
    headings = "|".join(map(re.escape, ("Commands", *GROUPS)))
    lists: list[str] = re.findall(rf"^(?:{headings}):\n((?:  .*\n)+)", said, flags=re.MULTILINE)
    return [name for each in lists for name in re.findall(r"^  ([a-z][\w-]*)(?: |$)", each, flags=re.MULTILINE)]


if __name__ == "__main__":
    sys.exit(main())
