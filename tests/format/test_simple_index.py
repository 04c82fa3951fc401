"""The pages of the Python package index, and log entries with wheels, equal golden files, which are written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from datapkg.format import simple_index
from datapkg.format import static_registry as layout
from datapkg.format.names import Ref
from datapkg.format.simple_index import IndexFile
from datapkg.format.static_registry import LogChange, Marker

GOLDEN = Path(__file__).parent.parent / "golden" / "simple_index"
REF = Ref("ada", "iris")
PROJECT = "datapkg-ada-iris"
VERSIONS = {
    "0.dev1+haaaaaaaaaaaaaaaa": None,
    "1.0+haaaaaaaaaaaaaaaa": 'wrong "units" <here>',
    "1!2.0+hbbbbbbbbbbbbbbbb": "",
}


def file(version: str, yanked: str | None) -> IndexFile:
    key = layout.wheel_key(REF, version, "c" * 64)
    return IndexFile(
        version=version,
        file_name=key.rpartition("/")[2],
        address=f"../../{simple_index.address_of(key)}",
        sha256="c" * 64,
        size=4_000,
        metadata="d" * 64,
        requires_python=">=3.11",
        uploaded_at=simple_index.time_text(datetime(2026, 11, 29, 20, 0, 1, tzinfo=UTC)),
        yanked=yanked,
    )


FILES = [file(version, yanked) for version, yanked in VERSIONS.items()]


def files() -> dict[str, bytes]:
    """Return the files by the end of their key."""
    change = LogChange(
        format=1,
        kind="push",
        number=1,
        package=REF.package,
        at="2026-11-29T20:00:01+00:00",
        previous=None,
        heads="",
        nonce="0" * 16,
        hash="a" * 64,
        wheels=dict.fromkeys(list(VERSIONS)[:2], "c" * 64),
    )
    return {
        "00000001.json": layout.encode(change),
        layout.MARKER: layout.encode(Marker(format=1, url="https://data.example.org/data")),
        layout.page_key(PROJECT, "json"): simple_index.project_json(PROJECT, FILES, 3),
        layout.page_key(PROJECT, "html"): simple_index.project_html(PROJECT, FILES),
        layout.page_key("", "json"): simple_index.projects_json([PROJECT]),
        layout.page_key("", "html"): simple_index.projects_html([PROJECT]),
    }


def test_files_equal_the_golden_ones() -> None:
    golden = {path.relative_to(GOLDEN).as_posix(): path.read_bytes() for path in GOLDEN.rglob("*") if path.is_file()}
    assert files() == golden


def test_page_comes_back() -> None:
    page = simple_index.project_json(PROJECT, FILES, 3)
    assert simple_index.read_project(page) == (3, [each._replace(yanked=None) for each in FILES])
    assert simple_index.read_projects(simple_index.projects_json([PROJECT])) == [PROJECT]


@pytest.mark.parametrize("page", [b"", b"[]", b"{}", b'{"meta":{}}', b'{"meta":{"_datapkg-entry":1},"files":[{}]}'])
def test_other_page_is_refused(page: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        simple_index.read_project(page)


def test_times_are_in_utc() -> None:
    at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert simple_index.time_text(at) == "2025-12-31T23:00:00.000000Z"
