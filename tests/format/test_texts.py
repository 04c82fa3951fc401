"""Foreign text made safe for display, sizes, counts and shortened lists."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from datapkg.format.texts import count_text, first_lines, hidden, listed, one_line, quoted, visible, visible_lines

# Ignorable (Unicode: Default_Ignorable_Code_Point) or blank, outside the control and format categories.
ZERO_WIDTH = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10)]
ZERO_WIDTH += [0xFFA0, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)]
HIDDEN_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def test_every_control_format_and_zero_width_character_is_escaped() -> None:
    codes = {code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in HIDDEN_CATEGORIES}
    bidi = {code for code in range(sys.maxunicode + 1) if unicodedata.bidirectional(chr(code)) in BIDI}
    for code in sorted(codes | bidi | set(ZERO_WIDTH)):
        assert visible(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN", "B"}


def test_no_visible_character_is_escaped() -> None:
    seen = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LNPS"]
    assert [code for code in seen if hidden().search(chr(code)) and code not in ZERO_WIDTH] == []


@pytest.mark.parametrize(
    "text", ["日本語", "עברית", "मनुष्य", "می\u200cخواهم", "👩\u200d🔬", "❤\ufe0f", "1\ufe0f\u20e3", "ന്\u200d"]
)
def test_text_of_every_script_is_unchanged(text: str) -> None:
    assert visible(text) == visible_lines(text) == one_line(text) == text


@pytest.mark.parametrize("text", ["pay\u200dpal", "\u200cx", "é\u200dé", "日\u200d本", "م\u200c\u200cم", "a\ufe0f"])
def test_joiner_without_effect_on_text_is_escaped(text: str) -> None:
    assert "⟨U+" in visible(text)


def test_line_ends_are_kept_only_in_multi_line_text() -> None:
    assert visible("a\tb\n") == "a⟨U+0009⟩b⟨U+000A⟩"
    assert visible_lines("a\tb\r\nc\rd") == "a\tb\nc⟨U+000D⟩d"
    assert one_line("a\tb\r\nc\x1b") == "a b  c⟨U+001B⟩"


def test_long_text_is_truncated() -> None:
    assert visible("x" * 20, 5) == "xxxxx…"
    assert quoted("x" * 100, 3) == "'xxx…'"
    assert quoted("a\u3164b") == "'a⟨U+3164⟩b'"


def test_counts_and_lists() -> None:
    assert [count_text(1, "row"), count_text(0, "row"), count_text(9_900, "row")] == ["1 row", "0 rows", "9,900 rows"]
    assert listed(["a", "b", "c"], 3) == "'a', 'b', 'c'"
    assert listed(["a"] * 1_003, 2, str) == "a, a and 1,001 more"
    assert first_lines(["a", "b"], 2) == ["a", "b"]
    assert first_lines(["a", "b", "c"], 1, indent="  ") == ["  a", "  … and 2 more"]
