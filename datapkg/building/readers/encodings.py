"""Guess the encoding of text that is not UTF-8, for the hint of an error; it is named only if it is certain.

It is certain if all encodings that decode to plausible words give the same text. A word is implausible if it mixes
scripts, or has an accented capital after a small letter or a symbol after a letter: `José` in cp1252 is `Josй` in
cp1251 and `JosÚ` in cp850.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from datapkg.building.readers.compression import ERRORS, open_text
from datapkg.errors import causes

_FAMILIES = ("csv", "json")
_SAMPLE_BYTES, _SEARCHED_BYTES = 1 << 16, 64 << 20
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# If several give the same text, the first is named.
_CANDIDATES = (
    *("cp1252", "cp1250", "cp1254", "cp1257", "cp1251", "cp1253", "koi8_r", "mac_roman", "cp850", "cp437"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
_EXAMPLES = "cp1252 (Western Europe), cp1251 (Cyrillic), shift_jis or gb18030"


def encoding_hint(error: BaseException, family: str, path: Path, shown: str, kwargs: dict[str, Any]) -> str:
    """Return the hint that names the encoding of a file whose text could not be decoded; "" for other errors."""
    if family not in _FAMILIES or "encoding" in kwargs or not _is_of_text(error):
        return ""
    found = sure_encoding(_sample(path))
    line = f"set its encoding in a build file: {{file: {shown}, kwargs: {{encoding: {found or '…'}}}}}"
    return line if found else f"{line}, such as {_EXAMPLES}"


def _is_of_text(error: BaseException) -> bool:
    return any(isinstance(each, UnicodeDecodeError) for each in causes(error, hidden=True))


def _sample(path: Path) -> bytes:
    """Return the lines that contain non-ASCII bytes, or the byte order mark at the beginning of the file."""
    lines, size, searched = [], 0, 0
    try:
        with open_text(path) as stream:
            mark = stream.read(2)
            if mark in _MARKS:
                return mark
            stream.seek(0)
            while size < _SAMPLE_BYTES and searched < _SEARCHED_BYTES and (line := stream.readline(_SAMPLE_BYTES)):
                searched += len(line)
                if not line.isascii():
                    lines.append(line)
                    size += len(line)
    except ERRORS:
        return b""
    return b"".join(lines)


def sure_encoding(sample: bytes) -> str:
    """Return the encoding of lines of text that are not UTF-8; "" if several are possible."""
    if sample[:2] in _MARKS:
        return _MARKS[sample[:2]]
    texts: dict[str, str] = {}
    for name in _CANDIDATES:
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        if _is_plausible(text):
            texts.setdefault(text, name)
    return next(iter(texts.values())) if len(texts) == 1 else ""


def _is_plausible(text: str) -> bool:
    before = script_before = ""
    for letter in text:
        script = unicodedata.name(letter, "").split(" ")[0] if letter.isalpha() else ""
        if not letter.isascii():
            if unicodedata.category(letter) in ("Cc", "Cn", "Co") or unicodedata.normalize("NFKC", letter) != letter:
                return False
            if before.isalpha() and (unicodedata.category(letter)[0] == "S" or (letter.isupper() and before.islower())):
                return False
        if script and script_before and script != script_before:
            return False
        before, script_before = letter, script
    return True
