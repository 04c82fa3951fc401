"""The only printer: results on standard output, everything else on standard error, for people or for machines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from datapkg.cli.terminal import columns, fitted, has_colour, is_terminal, styled
from datapkg.errors import InvalidInput
from datapkg.format.texts import HIDDEN, aligned, cut, indented_lines, one_line, visible_lines

if TYPE_CHECKING:
    from datapkg.errors import DatapkgError

EXIT_READER_GONE = 141  # 128 + SIGPIPE, as a program ends that does not handle it


class Output:
    """Prints one command's answer; every text is made harmless on its way out, so callers give foreign text as it is.

    `json`: one JSON document on standard output, and an error as one on standard error. `quiet`: results only.
    """

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.debug = False
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def answer(self, value: Mapping[str, Any], lines: Iterable[str], quiet: Iterable[str] | None = None) -> None:
        """The result of a command: `value` for machines, or `lines`; with `-q` those of `quiet` where given."""
        if self.json:
            self._write(sys.stdout, json_text(value, sys.stdout) + "\n")
            return
        for line in lines if quiet is None or not self.quiet else quiet:
            self._write(sys.stdout, one_line(line) + "\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]], right: Iterable[int] = ()) -> None:
        """Aligned columns, for people; `right` are the numbers of columns that hold numbers.

        On a terminal, what is too wide is wrapped within its columns.
        """
        cells = [[each.upper() for each in header], *([one_line(cell) for cell in row] for row in rows)]
        first, *rest = _aligned(cells, frozenset(right))
        self._write(sys.stdout, (styled(first, "bold") if self.has_colour else first) + "\n")
        for line in rest:
            self._write(sys.stdout, line + "\n")

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and what is said of each, below each other; long texts are wrapped on a terminal."""
        if self.json or not pairs:
            return
        for line in _aligned([[one_line(each) for each in pair] for pair in pairs], frozenset()):
            self._write(sys.stdout, line + "\n")

    def help(self, text: str) -> None:
        """A help page of ours, whose colours are those that the terminal has."""
        self._write(sys.stdout, text + "\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are, into a file or pipe; on a terminal text alone, made harmless."""
        if sys.stdout is None:
            return
        if is_terminal(sys.stdout):
            self._write(sys.stdout, text_for_people(data))
            return
        with _reader():
            sys.stdout.buffer.write(data)

    def say(self, *lines: str) -> None:
        """What helps people and is not a result, on standard output: what to type next."""
        if not (self.quiet or self.json):
            for line in lines:
                self._write(sys.stdout, one_line(line) + "\n")

    def note(self, text: str) -> None:
        """Something worth a line, on standard error."""
        if not (self.quiet or self.json):
            self._write(sys.stderr, f"{_label('note', 'yellow')} {indented_lines(cut(text))}\n")

    def error(self, error: DatapkgError, traceback: str = "") -> None:
        """A failure, on standard error."""
        self._write(sys.stderr, self.error_text(error, traceback))

    def error_text(self, error: DatapkgError, traceback: str = "") -> str:
        """A failure as it is printed on standard error."""
        if self.json:
            wire = error.to_wire()
            wire["message"] = cut(wire["message"])
            wire["detail"] |= {"traceback": traceback} if traceback else {}
            return json_text({"error": wire}, sys.stderr) + "\n"
        text = f"{indented_lines(traceback)}\n" if traceback else ""
        text += f"{_label('error', 'bold', 'red')} {indented_lines(cut(error.message))}\n"
        for place, what in _untold_problems(error):
            text += f"  {one_line(cut(place, 400))}: {one_line(cut(what, 400))}\n"
        if error.hint:
            text += f"{_label('hint', 'cyan')} {one_line(cut(error.hint, 1000))}\n"
        return text

    @property
    def has_colour(self) -> bool:
        """Whether results may be coloured."""
        return has_colour(sys.stdout)

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits there to answer."""
        return not (self.json or self.quiet) and is_terminal(sys.stdin) and is_terminal(sys.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether somebody may want to see how far the work is."""
        return not (self.json or self.quiet) and is_terminal(sys.stderr)

    def ask(self, question: str, hidden: bool = False) -> str:
        """What somebody at the terminal answers; ask `can_ask` before. Ends the program on Ctrl-C and Ctrl-D."""
        import click

        answer: str = click.prompt(one_line(question), default="", show_default=False, hide_input=hidden, err=True)
        return answer.strip()

    def flush(self) -> None:
        """All that was printed has left this process; raises OSError where it cannot."""
        if sys.stdout is not None:
            with _reader():
                sys.stdout.flush()

    def transient(self, text: str) -> None:
        """Writes over the last line of the terminal, on standard error; "" wipes it."""
        self._write(sys.stderr, f"\r\x1b[K{one_line(text)}")
        with contextlib.suppress(OSError):
            sys.stderr.flush()

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None:
            return
        with _reader() if stream is sys.stdout else contextlib.suppress(OSError):
            stream.write(text)


def _label(word: str, *styles: str) -> str:
    """The word before a line on standard error, coloured where that is a terminal that can."""
    return styled(f"{word}:", *styles) if has_colour(sys.stderr) else f"{word}:"


@contextlib.contextmanager
def _reader() -> Iterator[None]:
    """Ends the program silently where nobody reads its output any more (`… | head`)."""
    try:
        yield
    except BrokenPipeError:
        abandon_stdout()
        raise SystemExit(EXIT_READER_GONE) from None


def abandon_stdout() -> None:
    """What is still to be written goes nowhere, so that the end of the interpreter does not fail on it once more."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def json_text(value: object, stream: TextIO | None = None) -> str:
    """One line of JSON in which no character could command a terminal or fail to be encoded."""
    import json

    is_unicode = "utf" in (getattr(stream, "encoding", None) or "").lower()
    text = json.dumps(value, ensure_ascii=not is_unicode, default=str)
    return HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[int]) -> list[str]:
    """The rows as lines, within the width of the terminal if there is one."""
    return fitted(rows, right, columns()) if is_terminal(sys.stdout) else aligned(rows, right)


def text_for_people(data: bytes) -> str:
    """The text that these bytes are, made harmless line by line."""
    if b"\x00" in data:
        raise InvalidInput("these bytes are not text; a terminal would not take them well", hint="add: > FILE")
    text = data.decode("utf-8", errors="replace")
    return visible_lines(text)


def _untold_problems(error: DatapkgError) -> list[tuple[str, str]]:
    """The single mistakes in an input file that the message does not list itself."""
    problems = error.problems if isinstance(error, InvalidInput) else []
    return [(place, what) for place, what in problems if what not in error.message]
