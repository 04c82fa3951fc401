"""Writes docs/commands.md from the `--help` of every command; with --check, fails where the page is out of date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from datapkg.cli.main import GROUPS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "commands.md"
PROGRAMS = ("datapkg", "datapkg-registry")
HEAD = "# Commands\n\nWhat `--help` says of each command. This page is written by `make docs`.\n"


def main() -> int:
    """Writes or checks the page and returns the exit code."""
    page = HEAD + "".join(section for program in PROGRAMS for section in sections((program,)))
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date: make docs", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    return 0


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
