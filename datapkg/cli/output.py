"""Output: results on standard output, everything else on standard error, for people or for machines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from datapkg.cli.terminal import columns, fitted, has_colour, is_terminal, styled
from datapkg.errors import InvalidInput
from datapkg.format.texts import aligned, cut, hidden, indented_lines, one_line, visible_lines

if TYPE_CHECKING:
    from datapkg.errors import DatapkgError

EXIT_READER_GONE = 141  # 128 + SIGPIPE, as a program ends that does not handle it


class Output:
    """The output of one command; all text is sanitized here, so callers pass foreign text unchanged.

    `json`: one JSON document on standard output, and an error as one on standard error. `quiet`: results only.
    """

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.debug = False
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                # A character that the encoding lacks is printed as an escape; otherwise it would end the command.
                stream.reconfigure(errors="backslashreplace")

    def answer(self, value: Mapping[str, Any], lines: Iterable[str], quiet: Iterable[str] | None = None) -> None:
        """Print the result of a command: `value` as JSON, or `lines`; with `-q` those of `quiet` if given."""
        if self.json:
            self._write(sys.stdout, json_text(value, sys.stdout) + "\n")
            return
        for line in lines if quiet is None or not self.quiet else quiet:
            self._write(sys.stdout, one_line(line) + "\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]], right: Iterable[int] = ()) -> None:
        """Print aligned columns; the columns with the indices `right` are aligned right.

        On a terminal, cells that are too wide are wrapped within their columns.
        """
        cells = [[each.upper() for each in header], *([one_line(cell) for cell in row] for row in rows)]
        first, *rest = _aligned(cells, frozenset(right))
        self._write(sys.stdout, (styled(first, "bold") if self.has_colour else first) + "\n")
        for line in rest:
            self._write(sys.stdout, line + "\n")

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print names with their descriptions as two columns; long texts are wrapped on a terminal."""
        if self.json or not pairs:
            return
        for line in _aligned([[one_line(each) for each in pair] for pair in pairs], frozenset()):
            self._write(sys.stdout, line + "\n")

    def help(self, text: str) -> None:
        """Print a help page, which already has the colours of the terminal."""
        self._write(sys.stdout, text + "\n")

    def raw(self, data: bytes | memoryview) -> None:
        """Print bytes unchanged to a file or pipe; on a terminal only text, sanitized."""
        if sys.stdout is None:
            return
        if is_terminal(sys.stdout):
            self._write(sys.stdout, text_for_people(bytes(data)))
            return
        with _reader():
            sys.stdout.buffer.write(data)

    def say(self, *lines: str) -> None:
        """Print what to type next on standard output; it is not part of the result."""
        if not (self.quiet or self.json):
            for line in lines:
                self._write(sys.stdout, one_line(line) + "\n")

    def note(self, text: str) -> None:
        """Print a note on standard error."""
        if not (self.quiet or self.json):
            self._write(sys.stderr, f"{_label('note', 'yellow')} {indented_lines(cut(text))}\n")

    def error(self, error: DatapkgError, traceback: str = "") -> None:
        """Print a failure on standard error."""
        self._write(sys.stderr, self.error_text(error, traceback))

    def raise_failures(self, failed: Sequence[tuple[str, DatapkgError]]) -> None:
        """Print the failure of each ref that failed, and exit with the code of the first; return if there is none."""
        if not failed:
            return
        import click

        first = failed[0][1]
        if self.json:
            # One JSON document, so one error, which lists the others.
            first.detail["failed"] = [{"ref": ref, **error.to_wire()} for ref, error in failed]
        if self.json or self.debug or len(failed) == 1:
            raise first
        # Each text once: all may have failed because one registry is down.
        for error in {error.message: error for _, error in failed}.values():
            self.error(error)
        raise click.exceptions.Exit(first.exit_code)

    def error_text(self, error: DatapkgError, traceback: str = "") -> str:
        """Return a failure as it is printed on standard error."""
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
        """Whether results are coloured."""
        return has_colour(sys.stdout)

    @property
    def can_ask(self) -> bool:
        """Whether a user at a terminal can answer prompts."""
        return not (self.json or self.quiet) and is_terminal(sys.stdin) and is_terminal(sys.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether progress is shown."""
        return not (self.json or self.quiet) and is_terminal(sys.stderr)

    def ask(self, question: str, hidden: bool = False) -> str:
        """Return the answer to a prompt; check `can_ask` before. Ctrl-C and Ctrl-D end the program."""
        import click

        # On standard error, since standard output may be a file or a pipe.
        answer: str = click.prompt(one_line(question), default="", show_default=False, hide_input=hidden, err=True)
        return answer.strip()

    def flush(self) -> None:
        """Flush standard output; raise OSError if that fails."""
        if sys.stdout is not None:
            with _reader():
                sys.stdout.flush()

    def transient(self, text: str) -> None:
        """Overwrite the last line of the terminal, on standard error; "" clears it."""
        self._write(sys.stderr, f"\r\x1b[K{one_line(text)}")
        with contextlib.suppress(OSError):
            sys.stderr.flush()

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None:
            return
        # A closed standard error loses notes only, so the command continues.
        with _reader() if stream is sys.stdout else contextlib.suppress(OSError):
            stream.write(text)


def _label(word: str, *styles: str) -> str:
    """Return the word before a line on standard error, coloured if the terminal supports it."""
    return styled(f"{word}:", *styles) if has_colour(sys.stderr) else f"{word}:"


@contextlib.contextmanager
def _reader() -> Iterator[None]:
    """End the program silently if its output is closed (`… | head`)."""
    try:
        yield
    except BrokenPipeError:
        abandon_stdout()
        raise SystemExit(EXIT_READER_GONE) from None


def abandon_stdout() -> None:
    """Discard buffered output, so that the interpreter does not fail on it again at exit."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def json_text(value: object, stream: TextIO | None = None) -> str:
    """Return one line of JSON without control characters or characters that the stream cannot encode."""
    import json

    is_unicode = "utf" in (getattr(stream, "encoding", None) or "").lower()
    text = json.dumps(value, ensure_ascii=not is_unicode, default=str)
    return hidden().sub(lambda match: json.dumps(match[0])[1:-1], text)


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[int]) -> list[str]:
    """Return the rows as lines, within the width of the terminal if there is one."""
    return fitted(rows, right, columns()) if is_terminal(sys.stdout) else aligned(rows, right)


def text_for_people(data: bytes) -> str:
    """Return bytes as sanitized text; raise `InvalidInput` for binary data."""
    if b"\x00" in data:
        raise InvalidInput("binary data, not text, which a terminal does not show", hint="redirect it: > FILE")
    text = data.decode("utf-8", errors="replace")
    return visible_lines(text)


def _untold_problems(error: DatapkgError) -> list[tuple[str, str]]:
    """Return the mistakes of an input file that the message does not list itself."""
    problems = error.problems if isinstance(error, InvalidInput) else []
    return [(place, what) for place, what in problems if what not in error.message]
