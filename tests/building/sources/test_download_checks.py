"""What came from an address: pages instead of data are refused, and a publisher's own sums are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapkg.errors import BuildFailed, HashMismatch, InvalidBuildFile
from tests.building.sources.test_fetcher import CSV, fetch, files, sha256
from tests.web_server import Web, web_server

PAGE = b"<!-- saved -->\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>"
DRIVE = (
    b'<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body><form id="download-form" '
    b'action="https://drive.usercontent.google.com/download"><input name="confirm" value="t"></form></body></html>'
)
QUOTA = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>Sorry</body></html>"


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("data.csv", PAGE, "answered with an HTML page where data was asked for"),
        ("data", b"\xef\xbb\xbf  <html lang='en'>", "answered with an HTML page where data was asked for"),
        ("data.zip", PAGE, "answered with an HTML page where data was asked for"),
        ("uc", DRIVE, "a page of Google Drive that asks for a confirmation or a login"),
        ("uc", QUOTA, "too many people downloaded this file today"),
    ],
)
@pytest.mark.parametrize("sum_of", ["the page", "the data", "nothing"])
def test_page_is_not_stored_as_data(
    web: Web, tmp_path: Path, name: str, body: bytes, message: str, sum_of: str
) -> None:
    url = web.put(f"/{name}", body)
    stated = {"the page": f", sha256: {sha256(body)}", "the data": f", sha256: {sha256(CSV)}"}.get(sum_of, "")
    with pytest.raises(BuildFailed, match=message) as caught:
        fetch(tmp_path, f"contents:\n  a: {{url: '{url}'{stated}}}\n", update=not stated)
    assert caught.value.hint
    assert not [path for path in (tmp_path / "shelf").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_page_that_is_asked_for_is_a_file(web: Web, tmp_path: Path) -> None:
    first, second = web.put("/about", PAGE), web.put("/index.html", PAGE)
    text = "contents:\n  a: {url: '%s', sha256: %s, transform: id}\n  b: {url: '%s', sha256: %s}\n"
    found = fetch(tmp_path, text % (first, sha256(PAGE), second, sha256(PAGE)))
    assert {path: each[2] for path, each in files(found).items()} == {"a": PAGE, "b": PAGE}


def test_sums_of_the_publisher_are_checked_and_recorded(web: Web, tmp_path: Path) -> None:
    url = web.put("/a.csv", CSV)
    md5, sha1 = hashlib.md5(CSV).hexdigest(), hashlib.sha1(CSV).hexdigest()
    text = f"contents:\n  a: {{url: '{url}', sha256: {sha256(CSV)}, md5: {md5.upper()}, sha1: {sha1}}}\n"
    for _ in range(2):
        (node,) = fetch(tmp_path, text).spec.nodes
        assert node.source.record == {"url": url, "md5": md5, "sha1": sha1}  # type: ignore[union-attr]
    assert len(web.seen) == 1


@pytest.mark.parametrize("update", [False, True])
def test_other_sum_than_the_publisher_states(web: Web, tmp_path: Path, update: bool) -> None:
    url = web.put("/a.csv", CSV)
    text = f"contents:\n  a: {{url: '{url}', sha256: {sha256(CSV)}, md5: {'0' * 32}}}\n"
    with pytest.raises(HashMismatch, match=f"expected md5 {'0' * 32}, as the build file says, got") as caught:
        fetch(tmp_path, text, update=update)
    assert "a" in str(caught.value)
    assert caught.value.hint == "compare with the md5 that its publisher states, and correct it in the build file"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("md5: abc", "expected 32 hex digits, got 'abc'"),
        ("sha1: [1]", "sha1"),
        (f"sha1: {'g' * 40}", "expected 40 hex digits"),
    ],
)
def test_sum_that_is_none(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(InvalidBuildFile, match=message):
        fetch(tmp_path, f"contents:\n  a: {{url: 'http://127.0.0.1:1/a.csv', sha256: {'0' * 64}, {words}}}\n")


def test_sums_go_with_addresses_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidBuildFile, match="`md5` goes with `url`"):
        fetch(tmp_path, f"contents:\n  a: {{file: a.csv, md5: {'0' * 32}}}\n")
