"""Apply `.datapkgignore` and `.gitignore`: which files of a folder are excluded from the package.

The rules are those of gitignore(5): the last matching rule decides, and nothing inside an excluded folder can be
included again. Characters are compared, not bytes, in Unicode's normal form NFC. Where git itself deviates from that
page (`a**/b`, `a//b`, a slash in a set), the page is followed. `.datapkgignore` is one file at the root and is
consulted first, so that it can include what a `.gitignore` ignores. A `.gitignore` counts in each folder from the root
down. Those above the root, the repository's index and the settings of git are ignored, so that a package depends only
on its folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapkg.building.spec.folder_files import GIT_FILE, IGNORE_FILE, LeftOut, is_inside
from datapkg.errors import InvalidInput
from datapkg.format.patterns import Part, path_matcher
from datapkg.format.texts import quoted

MAX_BYTES = 1 << 20
IGNORED_BY_GIT = f"ignored by {GIT_FILE}"
LEFT_OUT = f"left out by {IGNORE_FILE}"
# Whether rules exclude (True) or include (False) a path; None if none of them matches.
_Verdict = Callable[[Sequence[str], bool], bool | None]
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


@dataclass(frozen=True)
class _Rule:
    negated: bool
    folders_only: bool
    matches: Callable[[Sequence[str]], bool]


def read_ignore_file(folder: Path, *, gitignore: bool = False) -> LeftOut:
    """Return the rules of a folder's `.datapkgignore` and, with `gitignore`, of its `.gitignore` files.

    Raise `InvalidInput` for a `.datapkgignore` that is not text, or that is a link out of the folder.
    """
    return left_out_by(_text_of(folder), _GitRules(folder) if gitignore else None)


def _text_of(folder: Path) -> str:
    path = folder / IGNORE_FILE
    if not path.exists() and not path.is_symlink():
        return ""
    if not path.is_file() or not is_inside(path, folder):
        raise InvalidInput(f"{quoted(path)} is not a regular file in this folder")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{quoted(path)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"{IGNORE_FILE}:{line}: this is not UTF-8") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{IGNORE_FILE} has more than {MAX_BYTES >> 20} MiB")
    return text


def left_out_by(text: str, git_rules: _GitRules | None = None) -> LeftOut:
    """Return a function that applies these patterns, then those of git; call it for a folder before its files."""
    verdict = _verdict_of(text)

    def left_out(names: Sequence[str], is_folder: bool) -> str:
        is_out = verdict(names, is_folder)
        if is_out is None and git_rules is not None and git_rules.ignore(names, is_folder):
            return IGNORED_BY_GIT
        return LEFT_OUT if is_out else ""

    return left_out


def _verdict_of(text: str) -> _Verdict:
    rules = [rule for line in text.split("\n") if (rule := _rule(unicodedata.normalize("NFC", line)))]
    # The last matching rule decides, so the rules are tried in reverse order.
    rules.reverse()

    def verdict(names: Sequence[str], is_folder: bool) -> bool | None:
        for rule in rules:
            if (is_folder or not rule.folders_only) and rule.matches(names):
                return not rule.negated
        return None

    return verdict


class _GitRules:
    """The rules of the `.gitignore` files below a folder; each file is read when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verdicts: dict[tuple[str, ...], _Verdict | None] = {}

    def ignore(self, names: Sequence[str], is_folder: bool) -> bool:
        """Return whether the innermost `.gitignore` with a rule for this path ignores it."""
        for depth in range(len(names) - 1, -1, -1):
            verdict = self._verdict(tuple(names[:depth]))
            is_out = verdict(names[depth:], is_folder) if verdict else None
            if is_out is not None:
                return is_out
        return False

    def _verdict(self, parts: tuple[str, ...]) -> _Verdict | None:
        if parts not in self._verdicts:
            self._verdicts[parts] = self._read(self._folder.joinpath(*parts, GIT_FILE))
        return self._verdicts[parts]

    @staticmethod
    def _read(path: Path) -> _Verdict | None:
        """Return the rules of one file; None if it does not exist or is a link, which git does not follow either.

        Raise `InvalidInput` for a file that cannot be read completely: files that it ignores would become part of the
        package.
        """
        hint = "datapkg build USER/NAME PATH --no-gitignore"
        if path.is_symlink() or not path.is_file():
            return None
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"{quoted(path)} cannot be read: {error.strerror}", hint=hint) from error
        if len(data) > MAX_BYTES:
            raise InvalidInput(f"{quoted(path)} has more than {MAX_BYTES >> 20} MiB", hint=hint)
        # Surrogate escapes keep rules of other lines effective if one line is not UTF-8.
        return _verdict_of(data.decode("utf-8-sig", "surrogateescape"))


def below(left_out: LeftOut, folder: Sequence[str]) -> LeftOut:
    """Return the same rules for names relative to one of the folder's subfolders."""
    reason = next(filter(None, (left_out(folder[:count], True) for count in range(1, len(folder) + 1))), "")
    if reason:
        return lambda names, is_folder: reason
    return lambda names, is_folder: left_out((*folder, *names), is_folder)


def _rule(line: str) -> _Rule | None:
    line = _without_spaces_behind(line.removesuffix("\r"))
    if line.startswith("#"):
        return None
    negated = line.startswith("!")
    text = line[negated:]
    pattern = text.removesuffix("/")
    if not pattern:
        return None
    return _Rule(negated, pattern != text, _matcher(pattern))


def _without_spaces_behind(line: str) -> str:
    """Return the line without trailing spaces, except one that is escaped by a backslash."""
    found = re.match(r"(?:\\.|[^ \\]| +(?=[^ ]))*\\?", line)
    return found[0] if found else line


def _matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Return a function that matches a pattern: against the whole path if it has a slash, else against the name."""
    if "/" not in pattern:
        matches = _name_matcher(pattern)
        return lambda names: matches(names[-1])
    parts: list[Part] = [
        None if len(part) > 1 and not part.strip("*") else _name_matcher(part)
        for part in pattern.removeprefix("/").split("/")
    ]
    return path_matcher(parts)


def _name_matcher(pattern: str) -> Callable[[str], bool]:
    """Return a matcher for one name with `*`, `?`, `[…]` and backslashes; an unclosed `[` matches nothing."""
    pieces = [""]
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            pieces.append("")
        elif letter == "?":
            pieces[-1] += "."
        elif letter == "[":
            found = _set(pattern, at)
            if found is None:
                return lambda name: False
            piece, at = found
            pieces[-1] += piece
        else:
            if letter == "\\":
                if at == len(pattern):
                    return lambda name: False
                letter, at = pattern[at], at + 1
            pieces[-1] += re.escape(letter)
    # Atomic groups: each piece matches where it is first found and never backtracks, so that no pattern takes long.
    inner = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    regex = re.compile(pieces[0] + inner + (f".*{pieces[-1]}" if len(pieces) > 1 else ""), re.DOTALL)
    return lambda name: regex.fullmatch(name) is not None


def _set(pattern: str, at: int) -> tuple[str, int] | None:
    """Return the regular expression of a set whose `[` is before `at`, and the position after it; None if unclosed."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    items, before, first = "", "", True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern.startswith("[:", at) and (named := re.compile(r"\[:([^\]]*):\]").match(pattern, at)):
            if named[1] not in _CLASSES:
                return None
            items, before, at = items + _CLASSES[named[1]], "", named.end()
            continue
        is_range = pattern[at] == "-" and before != "" and pattern[at + 1 : at + 2] not in ("", "]")
        at += is_range
        at += pattern[at] == "\\"
        letter = pattern[at : at + 1]
        at += 1
        if is_range and before <= letter:
            items += f"{re.escape(before)}-{re.escape(letter)}"
        elif not is_range:
            items += re.escape(letter)
        before = "" if is_range else letter
    return (f"[{'^' if negated else ''}{items}]", at + 1) if at < len(pattern) else None
