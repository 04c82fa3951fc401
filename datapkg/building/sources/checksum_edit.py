"""Write computed checksums into a build file, changing only those scalars so that comments and layout stay.

The text is edited at positions that the parser recorded, and must parse to the same document apart from the checksums.
Whatever cannot be edited safely is reported, not guessed.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from datapkg.building.spec.document import LINE_END, Item, parse
from datapkg.building.spec.model import ChecksumPlace, UrlSource
from datapkg.errors import Conflict, InvalidBuildFile
from datapkg.format.texts import quoted
from datapkg.format.urls import without_credentials
from datapkg.objects.files import write_atomic

_BOM = b"\xef\xbb\xbf"


def write_checksums(path: Path, sources: Iterable[UrlSource], hashes: Mapping[str, str]) -> bool:
    """Write the checksum of each URL, from `hashes`, into the build file; return whether the file changed.

    The file is replaced atomically and keeps its permissions. Raise `Conflict`, and write nothing, if the file is not
    the one that was read or has a form that cannot be edited.
    """
    path = path.resolve()
    before = path.read_bytes()
    bom = before.startswith(_BOM)
    text = before.decode("utf-8-sig")
    edits = {each.written: hashes[each.url] for each in sources if each.written is not None and each.url in hashes}
    after = _edited(text, edits)
    if after == text:
        return False
    _check(path, text, after, {each.url: hashes[each.url] for each in sources if each.url in hashes})
    mode = stat.S_IMODE(path.stat().st_mode)
    write_atomic(path, (_BOM if bom else b"") + after.encode(), path.parent, mode)
    return True


def _edited(text: str, edits: Mapping[ChecksumPlace, str]) -> str:
    starts = [0, *(found.end() for found in LINE_END.finditer(text))]
    newline = "\r\n" if "\r\n" in text else "\n"
    # From the end to the beginning, so that an edit moves no position that is still needed.
    for at in sorted(edits, key=lambda each: (each.line, each.column), reverse=True):
        try:
            start = starts[at.line - 1] + at.column
            end = starts[at.end_line - 1] + at.end_column
        except IndexError:
            continue
        if at.lead.startswith("\n"):  # a new line after the URL's line, with whatever comment follows the URL
            found = LINE_END.search(text, end)
            start = end = found.start() if found else len(text)
        quote = text[start : start + 1] if end > start and text[start : start + 1] in ("'", '"') else ""
        lead = at.lead.replace("\n", newline)
        text = f"{text[:start]}{lead}{quote}{edits[at]}{quote}{text[end:]}"
    return text


def _check(path: Path, before: str, after: str, hashes: Mapping[str, str]) -> None:
    """Raise `Conflict` unless the new text differs from the old one only in checksums."""
    old, new = parse(before.encode(), str(path)), None
    with contextlib.suppress(InvalidBuildFile):
        new = parse(after.encode(), str(path))
    same = old is not None and new is not None and list(_texts(old)) == list(_texts(new))
    sums = dict(_sums(new)) if new is not None else {}
    if same and all(sums.get(url) == hash for url, hash in hashes.items()):
        return
    lines = ", ".join(
        f"sha256: {hash} ({without_credentials(url)})" for url, hash in hashes.items() if sums.get(url) != hash
    )
    raise Conflict(
        f"{quoted(path.name)} has changed, or has a form in which no checksums can be inserted; it was not edited",
        hint=f"write by hand: {lines or 'the sums'}",
    )


def _texts(item: Item) -> Iterator[str]:
    """Yield all keys and scalars in order, except checksums."""
    if item.kind == "mapping":
        for key, value in item.pairs:
            if key.text != "sha256":
                yield f"{key.kind} {key.text}"
                yield from _texts(value)
    elif item.kind == "list":
        for each in item.values:
            yield from _texts(each)
    else:
        yield item.text


def _sums(item: Item) -> Iterator[tuple[str, str]]:
    """Yield URL and checksum of every mapping that has a URL."""
    values = [value for _, value in item.pairs] if item.kind == "mapping" else item.values
    own = {key.text: value.text for key, value in item.pairs} if item.kind == "mapping" else {}
    if "url" in own:
        yield own["url"], own.get("sha256", "").lower()
    for each in values:
        yield from _sums(each)
