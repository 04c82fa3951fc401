"""The pages of a Python package index: HTML (PEP 503) and JSON (PEP 691), with metadata (658, 714), yanks (592), 700.

A server and a registry without one write the same pages; only the addresses of the files differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

import msgspec

from datapkg.format.texts import one_line

API_VERSION = "1.1"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
TEXT_TYPE = "text/html"
METADATA_SUFFIX = ".metadata"
ENTRY = "_datapkg-entry"  # PEP 691 leaves keys with an underscore to whoever writes the page
_HEAD = (
    f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta name="pypi:repository-version" content="{API_VERSION}">\n'
    "<title>{title}</title>\n</head>\n<body>\n"
)
_FOOT = "</body>\n</html>\n"


class IndexFile(NamedTuple):
    """A wheel on a page: its version and address, without the hash, which may be relative to the page.

    `metadata` is the sha256 of its core metadata, which is at the same address with `METADATA_SUFFIX`. `yanked` is the
    reason ("" without one) or None; tools print it as it is, so pages make hidden characters in it visible.
    `uploaded_at` is a time as ISO 8601 in UTC.
    """

    version: str
    file_name: str
    address: str
    sha256: str
    size: int
    metadata: str
    requires_python: str
    uploaded_at: str
    yanked: str | None = None


def address_of(file_name: str) -> str:
    """Return the name of a wheel as a part of an address: `+` is written as `%2B`, since some servers read a space.

    Names and versions of wheels have no other character that means something else there.
    """
    return file_name.replace("+", "%2B")


def project_html(project: str, files: Iterable[IndexFile]) -> bytes:
    """Return the page of a project as HTML."""
    return b"".join(html_page(project, [html_rows(files)]))


def html_rows(files: Iterable[IndexFile]) -> bytes:
    """Return the lines of files on the page of a project."""
    lines = []
    required = dict[str, str]()
    for each in files:
        if each.requires_python not in required:
            required[each.requires_python] = escape(each.requires_python)
        yanked = "" if each.yanked is None else f' data-yanked="{escape(one_line(each.yanked))}"'
        digest = f"sha256={each.metadata}"
        lines.append(
            f'<a href="{each.address}#sha256={each.sha256}" data-requires-python="{required[each.requires_python]}" '
            f'data-core-metadata="{digest}" data-dist-info-metadata="{digest}"{yanked}>{each.file_name}</a><br>\n'
        )
    return "".join(lines).encode()


def html_page(project: str, rows: Iterable[bytes]) -> list[bytes]:
    """Return the page of a project, in pieces, with what `html_rows` returned for its files."""
    head = _HEAD.format(title=escape(f"Links for {project}")) + f"<h1>Links for {escape(project)}</h1>\n"
    return [head.encode(), *rows, _FOOT.encode()]


def project_json(project: str, files: Sequence[IndexFile], entry: int | None = None) -> bytes:
    """Return the page of a project as JSON; `entry` is the last entry of the package's log that it shows."""
    return b"".join(json_page(project, [json_rows(files)] if files else [], entry))


def json_rows(files: Sequence[IndexFile]) -> tuple[bytes, bytes]:
    """Return the versions of files, one or more, and the files, as elements of JSON lists."""
    versions = msgspec.json.encode(list(dict.fromkeys(each.version for each in files)))
    return versions[1:-1], msgspec.json.encode([_file(each) for each in files])[1:-1]


def json_page(project: str, rows: Sequence[tuple[bytes, bytes]], entry: int | None = None) -> list[bytes]:
    """Return the page of a project, in pieces, with what `json_rows` returned for its files."""
    meta = {"api-version": API_VERSION} | ({} if entry is None else {ENTRY: entry})
    head = msgspec.json.encode({"meta": meta, "name": project})[:-1]
    pieces = [head]
    for name, column in (("versions", 0), ("files", 1)):
        pieces.append(f',"{name}":['.encode())
        for number, row in enumerate(rows):
            pieces += [b",", row[column]] if number else [row[column]]
        pieces.append(b"]")
    return [*pieces, b"}"]


def _file(each: IndexFile) -> dict[str, Any]:
    metadata = {"sha256": each.metadata}
    return {
        "filename": each.file_name,
        "url": each.address,
        "hashes": {"sha256": each.sha256},
        "requires-python": each.requires_python,
        "size": each.size,
        "upload-time": each.uploaded_at,
        "yanked": False if each.yanked is None else one_line(each.yanked) or True,
        # Both names (PEP 714): older tools know only the second.
        "core-metadata": metadata,
        "dist-info-metadata": metadata,
    }


def read_project(page: bytes) -> tuple[int, list[IndexFile]]:
    """Return what `project_json` was given; raise `ValueError`, `LookupError` or `TypeError` for anything else."""
    found = msgspec.json.decode(page)
    # Without `yanked`, which the pointers of the package have.
    return int(found["meta"][ENTRY]), [
        IndexFile(
            version=str(each["filename"]).split("-")[1],
            file_name=each["filename"],
            address=each["url"],
            sha256=each["hashes"]["sha256"],
            size=each["size"],
            metadata=each["core-metadata"]["sha256"],
            requires_python=each["requires-python"],
            uploaded_at=each["upload-time"],
        )
        for each in found["files"]
    ]


def read_projects(page: bytes) -> list[str]:
    """Return what `projects_json` was given; raise as `read_project` does."""
    return [str(each["name"]) for each in msgspec.json.decode(page)["projects"]]


def time_text(at: datetime) -> str:
    """Return a time in UTC in the form of PEP 700."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def projects_html(projects: Iterable[str]) -> bytes:
    """Return the page that lists all projects as HTML."""
    lines = (f'<a href="{each}/">{each}</a><br>\n' for each in map(escape, projects))
    return "".join([_HEAD.format(title="Simple index"), *lines, _FOOT]).encode()


def projects_json(projects: Iterable[str]) -> bytes:
    """Return the page that lists all projects as JSON."""
    return msgspec.json.encode(
        {"meta": {"api-version": API_VERSION}, "projects": [{"name": each} for each in projects]}
    )
