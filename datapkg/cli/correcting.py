"""Corrected command lines, for the hint of an error that knows which word was wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from datapkg.errors import DatapkgError

# What is never typed for somebody who mistyped a name: it removes something, or shows a secret.
_NEVER = frozenset({"--delete", "--force", "--now", "--remove", "--replace", "--token", "--yes", "rm"})
_PACKAGE = re.compile(r"[a-z][a-z0-9]*/[a-z][a-z0-9_]*")


def correct(error: DatapkgError, args: Sequence[str], removing: Collection[str]) -> None:
    """Set the hint of an error to the corrected command line.

    `meant` in its detail is a (wrong, right) pair; `missing_words` are those that the line lacks. A hint that is more
    than the help page or a list of files stays, except one for Python (`near`). Nothing is changed where the wrong word
    is in the line more than once or not at all, and where the line, as typed or corrected, removes something or has a
    token.
    """
    is_general = error.hint.startswith("ls ") or error.hint.endswith(" --help")
    if error.hint and not is_general and "near" not in error.detail:
        return
    if meant := error.detail.get("meant"):
        line = corrected(args, *meant)
    elif path := error.detail.get("not_a_package"):
        line = swapped(args, path)
    elif missing := error.detail.get("missing_words"):
        line = [*args, *missing]
    else:
        return
    words = {each.partition("=")[0] for each in (*args, *line)}
    if line and not words & (_NEVER | set(removing)):
        error.explain("", shlex.join(["datapkg", *line]))


def swapped(args: Sequence[str], path: str) -> list[str]:
    """Return the arguments with a path, given as a package, and the only package among them swapped."""
    packages = [each for each in args if _PACKAGE.fullmatch(each)]
    if len(packages) != 1 or list(args).count(path) != 1 or list(args).count(packages[0]) != 1:
        return []
    other = {path: packages[0], packages[0]: path}
    return [other.get(each, each) for each in args]


def corrected(args: Sequence[str], wrong: str, right: str) -> list[str]:
    """Return the arguments with one whole name replaced; empty where it is not there exactly once."""
    name = re.compile(rf"(?<![\w.-]){re.escape(wrong)}(?![\w.-])")
    if sum(len(name.findall(each)) for each in args) != 1:
        return []
    return [name.sub(lambda _: right, each) for each in args]
