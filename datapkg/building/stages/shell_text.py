"""Fill values into the text of a shell command so that none is read as code, whatever quotes stand around its name.

File names of other people's packages are among the values. `shlex.quote` alone is not enough: in `"{data}"`, its quotes
are plain characters, and `$(…)` in the value would run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from datapkg.building.spec.stage_names import PLACEHOLDER

_NAME = r"(?P<name>\{\{|\}\}|\{[A-Za-z_]\w*\})"
_DOCUMENT = (
    r"(?P<start><<-?[ \t]*(?P<mark>['\"]?)(?P<end>\w+)(?P=mark))(?P<rest>[^\n]*\n)(?P<body>.*?)(?=^\t*(?P=end)$|\Z)"
)
_COMMENT = r"(?<![^\s;])#[^\n]*"
_PLAIN, _DOUBLE, _SINGLE = "plain", "double", "single"
_FLAGS = re.DOTALL | re.MULTILINE
_TOKENS = {
    _PLAIN: re.compile(rf"{_NAME}|{_DOCUMENT}|(?P<same>\\[^{{}}]|{_COMMENT})|(?P<sign>['\"`()])", _FLAGS),
    _DOUBLE: re.compile(rf"{_NAME}|(?P<same>\\[^{{}}])|(?P<sign>\$\(|[\"`])", _FLAGS),
    _SINGLE: re.compile(rf"{_NAME}|(?P<sign>')", _FLAGS),
}
# What a sign opens, and what ends that.
_OPENS = {'"': (_DOUBLE, '"'), "'": (_SINGLE, "'"), "`": (_PLAIN, "`"), "(": (_PLAIN, ")"), "$(": (_PLAIN, ")")}
_SHELLS = ("sh", "ash", "bash", "dash", "ksh", "zsh")
_SCRIPT_OPTION = re.compile(r"-[a-z]*c\Z")


def is_script(words: Sequence[str], index: int) -> bool:
    """Return whether a word of a command is itself the text of a shell, as the last of `bash -c TEXT`."""
    return (
        index >= 2
        and bool(_SCRIPT_OPTION.match(words[index - 1]))
        and any(PurePath(word).name in _SHELLS for word in words[: index - 1])
    )


def filled_shell(text: str, values: Mapping[str, str]) -> str:
    """Return the text with all names in braces replaced.

    A value of letters, digits and the like is put in as it is. Any other is given as a variable, whose value the shell
    does not read as code: where the quotes around it are misjudged, it is split at spaces, and no more.
    """
    filling = _Filling(values)
    found = filling.text(text)
    return "".join(f"{variable}={shlex.quote(values[name])}; " for name, variable in filling.variables.items()) + found


class _Filling:
    """The values of one command; `variables` are those that it needs, by the names of their values."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.variables: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return a text that begins outside of all quotes, filled."""
        found, at, opened = [], 0, [(_PLAIN, "")]
        while match := _TOKENS[opened[-1][0]].search(text, at):
            found.append(text[at : match.start()])
            at = match.end()
            if match["name"]:
                found.append(self._value(match["name"], opened[-1][0]))
                continue
            if match.groupdict().get("start"):
                found.append(self._document(match))
                continue
            found.append(match[0])
            if (sign := match["sign"]) and sign == opened[-1][1]:
                opened.pop()
            elif sign in _OPENS:
                opened.append(_OPENS[sign])
        return "".join([*found, text[at:]])

    def _document(self, match: re.Match[str]) -> str:
        """Return a here-document; the shell reads its lines as in double quotes, or not at all if its end is quoted."""
        state = _SINGLE if match["mark"] else _DOUBLE

        def line(name: re.Match[str]) -> str:
            text = self._values.get(name[1] or "", "\n")
            return text if state == _SINGLE and "\n" not in text else self._value(name[0], _DOUBLE)

        return match["start"] + self.text(match["rest"]) + PLACEHOLDER.sub(line, match["body"])

    def _value(self, placeholder: str, state: str) -> str:
        if placeholder in ("{{", "}}"):
            return placeholder[0]
        name = placeholder[1:-1]
        value = self._values[name]
        if value and shlex.quote(value) == value:
            return value
        variable = self.variables.setdefault(name, f"_datapkg_{len(self.variables) + 1}")
        form = {_PLAIN: '"${%s}"', _DOUBLE: "${%s}", _SINGLE: "'\"${%s}\"'"}[state]
        return form % variable
