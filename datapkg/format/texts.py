"""Text of others, made safe to show: no character in it can command a terminal, hide, or turn the direction of text."""

from __future__ import annotations

import re

UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls, the escape that begins terminal sequences among them
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # what turns the direction of text, or cannot be seen
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return the text with `�` for what is unsafe to show; line ends and tabs stay."""
    return UNSAFE.sub(lambda match: match[0] if match[0] in "\n\t" else "\ufffd", text)
