"""Parse `url` with its sums, and `extract` of a URL or a file."""

from __future__ import annotations

import re
from dataclasses import replace

from datapkg.building.spec.git_address import is_in_repository, repository_of
from datapkg.building.spec.keywords import CLAIMS
from datapkg.building.spec.model import ChecksumPlace, FileSource, UrlSource
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.errors import InvalidInput
from datapkg.format.hashing import is_hash
from datapkg.format.texts import quoted
from datapkg.format.urls import check_url

MAX_MEMBER = 4_096
UPDATE = "--update"


def read_url(mapping: NodeMapping, *, update: bool) -> UrlSource | None:
    """Return the source of `url`, `sha256` and `extract`; with `update`, the checksum may be missing or wrong."""
    text = mapping.text("url", "an address, https://…")
    sha256 = _sha256(mapping, update=update)
    member = read_member(mapping)
    if text is None or sha256 is None or member is None:
        return None
    try:
        url = _checked(text)
    except InvalidInput as error:
        mapping.wrong("url", str(error))
        return None
    if is_in_repository(url) and not member:
        mapping.wrong("url", "a repository has many files; name one, or a glob of them: extract: folder/file.csv")
        return None
    return UrlSource(url, sha256, member, written=_written(mapping), claims=_claims(mapping))


def _checked(text: str) -> str:
    if is_in_repository(text):
        repository_of(text)
        return text
    return check_url(text)


def read_inside(mapping: NodeMapping, file: FileSource) -> UrlSource | None:
    """Return the source that `extract` selects from an archive beside the build file."""
    member = read_member(mapping)
    return UrlSource(extract=member, inside=file) if member else None


def read_member(mapping: NodeMapping) -> str | None:
    """Return the path or glob of archive members; "" if there is no `extract`, None for a mistake."""
    if "extract" not in mapping:
        return ""
    text = mapping.text("extract", "the path of a member of the archive, or a glob of such")
    if text is not None and len(text) > MAX_MEMBER:
        mapping.wrong("extract", f"the path has {len(text):,} characters; at most {MAX_MEMBER:,} are allowed")
        return None
    return text


def _sha256(mapping: NodeMapping, *, update: bool) -> str | None:
    """Return the checksum, "" if it is to be computed; record a mistake and return None if it is missing or wrong."""
    if "sha256" not in mapping:
        if not update:
            what = f"an address needs the sum of its bytes, `sha256`; with {UPDATE} it is found out and written here"
            mapping.wrong("url", what)
            return None
        return ""
    item = mapping["sha256"]
    text = item.text.lower() if item.kind == "scalar" else ""
    if is_hash(text):
        return text
    if update and item.kind == "scalar":
        return ""
    got = quoted(item.text) if text and not item.is_null else f"a {item.kind}" if item.kind != "scalar" else "nothing"
    mapping.wrong("sha256", f"expected 64 hex digits, got {got}; with {UPDATE} they are found out and written here")
    return None


def _claims(mapping: NodeMapping) -> dict[str, str]:
    """Return the publisher's sums; a mistake is recorded and left out."""
    claims = {}
    for name, digits in CLAIMS.items():
        if name not in mapping:
            continue
        text = mapping.text(name, f"the {name} that the publisher states")
        if text is None:
            continue
        if re.fullmatch(f"[0-9a-f]{{{digits}}}", text.lower()):
            claims[name] = text.lower()
        else:
            mapping.wrong(name, f"expected {digits} hex digits, got {quoted(text)}")
    return claims


def _written(mapping: NodeMapping) -> ChecksumPlace:
    """Return the position of the checksum.

    If there is none, it is the position after the URL: a new line, or the same braces.
    """
    if "sha256" in mapping:
        item = mapping["sha256"]
        lead = " " if not item.text and item.plain else ""
        return ChecksumPlace(item.line, item.column, item.end_line, item.end_column, lead)
    item = mapping["url"]
    at = ChecksumPlace(item.end_line, item.end_column, item.end_line, item.end_column)
    if mapping.flow:
        return replace(at, lead=", sha256: ")
    return replace(at, lead="\n" + " " * mapping.columns["url"] + "sha256: ")
