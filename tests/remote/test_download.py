"""Interrupted downloads, faulty and malicious servers, and credentials that are never sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import BuildFailed, DatapkgError, DiskFull, Forbidden, InvalidInput, NotFound, Unreachable
from datapkg.remote import download as module
from datapkg.remote.download import Downloaded, download
from datapkg.remote.transport import redirect_target
from tests.web_server import Web, web_server

BODY = bytes(range(256)) * 4_096
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause_s", lambda number, retry_after: 0.0)


def get(url: str, path: Path, **options: Any) -> Downloaded:
    return download(url, path, **{"limit_bytes": 1 << 30, "timeout_s": 5.0, **options})


def test_complete_file(web: Web, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    url = web.put("/a.bin", BODY)
    got = get(url, tmp_path / "a", progress=lambda *each: reports.append(each))
    assert got == Downloaded(SUM, len(BODY), 0)
    assert (tmp_path / "a").read_bytes() == BODY
    assert reports[-1] == ("downloading", len(BODY), len(BODY))
    assert web.seen[0][1]["accept-encoding"] == "identity"


def test_empty_file(web: Web, tmp_path: Path) -> None:
    assert get(web.put("/a"), tmp_path / "a") == Downloaded(hashlib.sha256(b"").hexdigest(), 0)
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("validator", [{"etag": '"1"'}, {"modified": "Sat, 01 Jan 2022 00:00:00 GMT"}])
def test_interrupted_download_is_resumed(web: Web, tmp_path: Path, validator: dict[str, str]) -> None:
    url = web.put("/a", BODY, cuts=[100_000, 200_000], **validator)
    assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY), 300_000)
    assert web.asked("/a") == ["", "bytes=100000-", "bytes=300000-"]
    assert (tmp_path / "a").read_bytes() == BODY


def test_interrupted_download_is_resumed_by_a_later_run(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, etag='"1"', cuts=[5_000])
    with pytest.raises(Unreachable):
        get(url, tmp_path / "a", tries=1)
    assert (tmp_path / "a").stat().st_size == 5_000
    assert get(url, tmp_path / "a").resumed_bytes == 5_000
    assert web.asked("/a")[1:] == ["bytes=5000-"]


@pytest.mark.parametrize("validator", [{}, {"etag": 'W/"1"'}])
def test_download_without_a_validator_restarts(web: Web, tmp_path: Path, validator: dict[str, str]) -> None:
    url = web.put("/a", BODY, cuts=[5_000], **validator)
    assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY), 0)
    assert web.asked("/a") == ["", ""]


def test_changed_file_is_not_joined_to_the_partial_one(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", b"x" * 100_000, etag='"1"', cuts=[5_000])
    with pytest.raises(Unreachable):
        get(url, tmp_path / "a", tries=1)
    web.put("/a", BODY, etag='"2"')
    assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY), 0)


def test_server_without_ranges(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, etag='"1"', cuts=[5_000], ranges=False)
    assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY), 0)


def test_unrequested_range(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, etag='"1"', cuts=[5_000], headers={})
    with pytest.raises(Unreachable):
        get(url, tmp_path / "a", tries=1)
    web.pages["/a"].headers["ETag"] = '"other"'  # the range is served nevertheless
    assert get(url, tmp_path / "a").hash == SUM
    assert web.asked("/a") == ["", "bytes=5000-", ""]


def test_complete_partial_file_is_not_downloaded_again(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, etag='"1"')
    get(url, tmp_path / "a")
    assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY), len(BODY))
    web.put("/a", BODY[:100], etag='"1"')  # shorter, with the same ETag
    assert get(url, tmp_path / "a") == Downloaded(hashlib.sha256(BODY[:100]).hexdigest(), 100)


def test_response_shorter_than_its_length_is_an_error(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, cuts=[10] * 10)
    with pytest.raises(Unreachable):
        get(url, tmp_path / "a")
    assert len(web.seen) == module.TRIES


def test_progress_resets_the_number_of_tries(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEADWAY_BYTES", 100_000)
    url = web.put("/a", BODY, etag='"1"', cuts=[100_000] * 10)
    assert get(url, tmp_path / "a").hash == SUM
    assert len(web.seen) > module.TRIES


def test_temporary_errors_are_retried(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, statuses=[503, 429, 500])
    assert get(url, tmp_path / "a").hash == SUM


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [(404, NotFound, 1), (410, NotFound, 1), (401, Forbidden, 1), (403, Forbidden, 1), (500, Unreachable, 5)],
)
def test_error_statuses(web: Web, tmp_path: Path, status: int, kind: type[DatapkgError], tries: int) -> None:
    url = web.put("/a", BODY, statuses=[status] * 10)
    with pytest.raises(kind, match=str(status)):
        get(url + "?key=hidden", tmp_path / "a")
    assert len(web.seen) == tries


def test_silent_server(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", BODY, drip_s=2)
    with pytest.raises(Unreachable, match="in time"):
        get(url, tmp_path / "a", timeout_s=0.3, tries=1)


def test_server_that_sends_slowly(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.time_limits.PATIENCE_S", 0.3)
    url = web.put("/a", BODY, drip_s=0.02)
    with pytest.raises(Unreachable, match="too slowly"):
        get(url, tmp_path / "a", tries=1)


def test_unreachable_server(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        get("http://127.0.0.1:9/a?key=hidden", tmp_path / "a")
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [True, False])
def test_size_is_limited(web: Web, tmp_path: Path, length: bool) -> None:
    url = web.put("/a", BODY, length=length)
    with pytest.raises(BuildFailed, match="max_source_bytes") as caught:
        get(url, tmp_path / "a", limit_bytes=1_000)
    assert "datapkg config max_source_bytes" in caught.value.hint
    assert not (tmp_path / "a").exists()


def test_insufficient_disk_space(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.download_file.SPARE_BYTES", 1 << 62)
    with pytest.raises(DiskFull, match="are lacking"):
        get(web.put("/a", BODY), tmp_path / "a")


def test_redirects_are_followed(web: Web, tmp_path: Path) -> None:
    web.put("/real.bin", BODY)
    web.put("/hop", location="real.bin?signature=hidden")
    assert get(web.put("/a", location=web.url + "/hop"), tmp_path / "a").hash == SUM


def test_redirect_loop_ends(web: Web, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="redirects more than"):
        get(web.put("/a", location="/a"), tmp_path / "a")


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://user:hidden@127.0.0.1:9/a", "//[::1", "http://", "gopher:x"],
)
def test_redirect_to_another_protocol_or_host_is_not_followed(web: Web, tmp_path: Path, location: str) -> None:
    with pytest.raises(Unreachable, match="redirects") as caught:
        get(web.put("/a", location=location), tmp_path / "a")
    assert "hidden" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_redirects_from_https_to_http_are_rejected() -> None:
    assert redirect_target("https://a.example/x", "https://b.example/y") == "https://b.example/y"
    assert redirect_target("http://a.example/x", "https://b.example/y") == "https://b.example/y"
    assert redirect_target("https://a.example/x/y", "../z w?q") == "https://a.example/z%20w?q"
    with pytest.raises(Unreachable, match="plain http"):
        redirect_target("https://a.example/x?key=hidden", "http://a.example/x?key=hidden")


def test_no_credentials_are_sent(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hidden\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    get(web.put("/a", BODY), tmp_path / "a")
    assert not {"authorization", "proxy-authorization", "cookie"} & web.seen[0][1].keys()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.csv",
        "ftp://a/b",
        "file:///etc/passwd",
        "http://",
        "http://u:hidden@a/b",
        "http://a b/",
        "http://[::1",
        "http://a:x/",
    ],
)
def test_invalid_urls(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        get(url, tmp_path / "a")
    assert "hidden" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
