"""Printed output: escaped foreign text, JSON, aligned tables, sizes, and a progress line."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import pytest

from datapkg.cli import progress as progress_module
from datapkg.cli.main import main
from datapkg.cli.output import Output, json_text
from datapkg.cli.progress import Progress, plain_line, progress_line
from datapkg.cli.terminal import fitted
from datapkg.errors import DatapkgError, InvalidInput
from datapkg.format.texts import (
    aligned,
    count_text,
    cut,
    hash_text,
    indented_lines,
    one_line,
    shortened,
    size_text,
    time_text,
)
from datapkg.objects.progress import Pace

HOSTILE = "a\x1b[2J\u202eb\u200f\u2066c\x07\x9b\ud800\U000e0041\u2028d"


class Terminal(io.StringIO):
    """A stream that reports to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Replace standard input, output and error by terminals."""

    def use_terminal() -> Terminal:
        stream = Terminal()
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "60")
        return stream

    return use_terminal


def test_control_characters_are_escaped() -> None:
    assert one_line(HOSTILE) == "a⟨U+001B⟩[2J⟨U+202E⟩b⟨U+200F⟩⟨U+2066⟩c⟨U+0007⟩⟨U+009B⟩⟨U+D800⟩⟨U+E0041⟩⟨U+2028⟩d"
    assert one_line("a\tb\r\nc") == "a b  c"
    assert one_line("日本 ünïcödé 👩‍🔬") == "日本 ünïcödé 👩‍🔬"
    assert indented_lines("one\ntwo\n\tthree") == "one\n  two\n    three"
    assert indented_lines("") == ""


def test_json_escapes_control_characters() -> None:
    value = {"text": HOSTILE, "日本": ["é", None, 1.5, True]}
    for encoding in ("utf-8", "ascii", "latin-1"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        text = json_text(value, stream)
        assert text.encode(encoding)
        assert json.loads(text) == value
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\n" not in text
    assert "日本" in json_text(value, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (4 * 10**9, "4.0 GB"),
        (3 * 10**18, "3.0 EB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_counts_hashes_times_and_cut_text() -> None:
    assert [count_text(1, "node"), count_text(12_000, "node")] == ["1 node", "12,000 nodes"]
    assert hash_text("ab" * 32) == "sha256:abababababab"
    assert time_text("2026-11-21T06:22:03.095220+00:00") == "2026-11-21 06:22"
    assert cut("x" * 10, 4) == "xxxx… (6 characters more)"


def test_columns_are_aligned_in_every_script() -> None:
    assert aligned([("a", "1"), ("日本", "100")], frozenset([1])) == ["a       1", "日本  100"]
    assert aligned([("e\u0301", "x"), ("ee", "y")]) == ["e\u0301   x", "ee  y"]


def test_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("name", "size"), [("a\x1b[31m", 1), ("bb", 100)], right=[1])
    assert capsys.readouterr().out == "NAME           SIZE\na⟨U+001B⟩[31m     1\nbb              100\n"


def test_table_on_a_terminal_escapes_markup_and_control_codes(use_terminal: Callable[[], Terminal]) -> None:
    terminal = use_terminal()
    for width in (1, 100):
        Output().table(("name", "size"), [("[red]a\x1b[31m :smile:" + " x" * width, 1)], right=[1])
        assert "[red]a⟨U+001B⟩[31m :smile: x" in terminal.getvalue()
        assert "\x1b[3" not in terminal.getvalue()
        assert max(map(len, click.unstyle(terminal.getvalue()).splitlines())) <= 60


def test_colours_on_a_terminal(use_terminal: Callable[[], Terminal]) -> None:
    terminal = use_terminal()
    out = Output()
    out.table(("name",), [("a\x1b[31m",)])
    out.error(DatapkgError("failed", hint="datapkg ls"))
    out.note("worth a line")
    assert terminal.getvalue() == (
        "\x1b[1mNAME\x1b[0m\na⟨U+001B⟩[31m\n\x1b[1;31merror:\x1b[0m failed\n\x1b[36mhint:\x1b[0m datapkg ls\n"
        "\x1b[33mnote:\x1b[0m worth a line\n"
    )


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_variable_is_honoured(
    use_terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    terminal = use_terminal()
    monkeypatch.setenv(name, value)
    out = Output()
    out.table(("name",), [("a" * 100,)])
    out.error(DatapkgError("failed", hint="datapkg ls"))
    out.note("worth a line")
    assert main(["--help"]) == main(["help", "tag"]) == 0
    assert "\x1b" not in terminal.getvalue()


def test_help_has_colours_on_a_terminal_only(
    use_terminal: Callable[[], Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", "tag"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    terminal = use_terminal()
    for words in (["help", "tag"], ["tag", "--help"]):
        assert main(words) == 0
        assert "\x1b[1mCommands\x1b[0m:\n" in terminal.getvalue()
    assert main(["--json", "help", "tag"]) == 0
    assert "\x1b" not in json.loads(terminal.getvalue().splitlines()[-1])["help"]


@pytest.mark.parametrize("width", [44, 60, 80])
def test_hash_is_never_broken_over_two_lines(width: int) -> None:
    rows = [
        ("PACKAGE", "STATE", "FROM", "TITLE"),
        ("examples/co2_mauna_loa", "sha256:0c5d9b6eb8a1", "http://127.0.0.1:8484", "Carbon dioxide, parts per million"),
    ]
    lines = fitted(rows, frozenset(), width)
    assert sum("sha256:0c5d9b6eb8a1" in line for line in lines) == 1
    assert max(map(len, lines)) <= width


def test_wrapped_cells_keep_words_and_indentation() -> None:
    rows = [("NODE", "WHAT"), ("  .column", "one two three four five six seven"), ("日本日本日本日本日本日本", "x")]
    assert fitted(rows, frozenset(), 36) == [
        "NODE                      WHAT",
        "  .column                 one two",
        "                          three four",
        "                          five six",
        "                          seven",
        "日本日本日本日本日本日本  x",
    ]
    assert fitted(rows, frozenset(), 25)[-2:] == ["日本日本日本日本日  x", "本日本"]


def test_size_is_never_broken_over_two_lines() -> None:
    rows = [["node", "size"], ["a_name_that_is_wrapped_here", "118 B"], ["b", "2.1 kB"]]
    assert fitted(rows, frozenset({1}), 20) == [
        "node            size",
        "a_name_that_   118 B",
        "is_wrapped_h",
        "ere",
        "b             2.1 kB",
    ]


def test_titles_are_shortened_at_word_boundaries() -> None:
    assert shortened("a title of words", 16) == "a title of words"
    assert shortened("a title of words", 15) == "a title of…"
    assert shortened("a title of words", 11) == "a title of…"
    assert shortened("x" * 20, 10) == f"{'x' * 9}…"


def test_binary_data_is_not_printed_on_a_terminal(use_terminal: Callable[[], Terminal]) -> None:
    terminal = use_terminal()
    out = Output()
    out.raw("# Title\r\n\tone \x1b[2J\u202e\n".encode())
    assert terminal.getvalue() == "# Title\n\tone ⟨U+001B⟩[2J⟨U+202E⟩\n"
    with pytest.raises(InvalidInput, match="not text"):
        out.raw(b"\x89PNG\x00")


def test_quiet_and_json_print_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    for out.json, out.quiet in ((True, False), (False, True)):
        out.say("next: …")
        out.note("worth a line")
        assert capsys.readouterr() == ("", "")
        assert not out.can_ask
        assert not out.shows_progress


def test_without_streams_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    out = Output()
    out.answer({}, ["x"])
    out.raw(b"x")
    out.note("x")
    out.error(InvalidInput("x"))
    out.flush()
    assert not out.can_ask


def test_progress_starts_after_a_second_and_clears_its_line(
    use_terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = use_terminal()
    now = [100.0]
    monkeypatch.setattr(progress_module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    with Progress(Output()) as tell:
        tell("sending", 1, 4)
        assert terminal.getvalue() == ""
        now[0] += 1.5
        tell("sending", 1, 4)
        tell("sending", 2, 4)
        assert terminal.getvalue() == "\r\x1b[K" + progress_line("sending", 1, 4, "", 1.5)
        now[0] += 0.2
        tell("evil\x1b[2J", 0, 0)
    assert terminal.getvalue().endswith("\r\x1b[Kevil⟨U+001B⟩[2J  ........................    0%  2 s\r\x1b[K")


def test_progress_shows_size_rate_and_time_left_of_the_current_work() -> None:
    pace, shown = Pace(), []
    for now, report in [
        (100, ("comparing", 0, 8)),
        (110, ("comparing", 2, 8)),
        (200, ("transferring", 1_000_000_000, 4_000_000_000)),
        (220, ("transferring", 2_000_000_000, 4_000_000_000)),
        (240, ("transferring", 4_000_000_000, 4_000_000_000)),
        (300, ("downloading", 0, 0)),
        (301, ("downloading", 500, 0)),
    ]:
        pace.note(*report, now)
        shown.append(pace.text(now))
    assert shown[1] == "30 s left"
    assert shown[3:5] == ["2.0 GB of 4.0 GB, 50.0 MB/s, 40 s left", "4.0 GB of 4.0 GB, 75.0 MB/s"]
    assert shown[6] == "500 B, 500 B/s"
    line = progress_line("building", 1, 4, shown[3], 20)
    assert line == "building  ######..................   25%  2.0 GB of 4.0 GB, 50.0 MB/s, 40 s left  20 s"
    assert plain_line("building", 1, 4, shown[1], 12) == "building: 25%, 30 s left, 12 s"
    assert plain_line("downloading", 500, 0, shown[6], 1) == "downloading, 500 B, 500 B/s, 1 s"


def test_long_work_prints_plain_lines_into_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    for option in ("", "quiet", "json"):
        out = Output()
        setattr(out, option or "debug", True)
        with Progress(out) as tell:
            for _ in range(25):
                now[0] += 1
                tell("reading", 1, 4)
    assert capsys.readouterr() == ("", "".join(f"note: reading: 25%, {at} s\n" for at in (5, 10, 15, 20, 25)))


def test_step_that_reports_nothing_for_long_is_shown_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PLAIN_S", "TICK_S"):
        monkeypatch.setattr(progress_module, name, 0.01)
    with Progress(Output()) as tell:
        tell("reading", 1, 4)
        time.sleep(0.1)
    assert capsys.readouterr().err.count("note: reading: 25%, 0 s\n") > 1


def test_no_progress_in_pipes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "PATIENCE_S", 0)
    with Progress(Output()) as tell:
        time.sleep(0.001)
        tell("sending", 1, 4)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("done", "total", "share"), [(0, 0, "0%"), (1, 3, "33%"), (3, 3, "100%"), (9, 3, "100%")])
def test_progress_never_exceeds_the_total(done: int, total: int, share: str) -> None:
    line = progress_line("x" * 100, done, total, "", 12.3)
    assert share in line
    assert len(line) < 90


def test_quiet_shortens_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    value: dict[str, Any] = {"hash": "x"}
    out.answer(value, ["built x", "  1 node"], quiet=["x"])
    assert capsys.readouterr().out == "built x\n  1 node\n"
    out.quiet = True
    out.answer(value, ["built x", "  1 node"], quiet=["x"])
    assert capsys.readouterr().out == "x\n"
    out.answer(value, ["built x"])
    assert capsys.readouterr().out == "built x\n"
    out.json = True
    out.answer(value, ["built x"])
    assert capsys.readouterr().out == '{"hash": "x"}\n'
