"""Files in buckets as sources of a build: read with the user's credentials, and continued where they broke off."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import pytest

from datapkg.api.build import build_package
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import NotFound, QuotaExceeded, Refused, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.blobs.bucket import PIECE_BYTES, BucketBlobs
from datapkg.remote.download import download
from datapkg.remote.download_file import Downloaded
from datapkg.remote.probe import probe
from tests.object_stores import AZURITE, CEPH, ObjectStore
from tests.web_server import web_server

BODY = os.urandom(300_000)
SUM = hashlib.sha256(BODY).hexdigest()


def get(url: str, path: Path, **options: Any) -> Downloaded:
    return download(url, path, **{"limit_bytes": 1 << 30, "timeout_s": 5.0, "environ": os.environ, **options})


class _Bucket:
    @pytest.fixture
    def url(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
        """The address of a file with these bytes in a new bucket."""
        store.set_environment(monkeypatch)
        return self.put(store.new_bucket(), "data/prices.csv", BODY)

    def put(self, bucket: str, key: str, body: bytes) -> str:
        # Not by `put`: a source may have any name, our own keys have few characters.
        obstore.put(BucketBlobs(bucket)._store, key, body)
        return f"{bucket}/{quote(key)}"

    def test_file_comes_whole(self, url: str, tmp_path: Path) -> None:
        assert get(url, tmp_path / "a") == Downloaded(SUM, len(BODY))
        assert (tmp_path / "a").read_bytes() == BODY

    def test_unchanged_file_is_known_by_its_etag(self, url: str) -> None:
        how: dict[str, Any] = {"limit_bytes": len(BODY), "timeout_s": 5.0, "environ": os.environ}
        first = probe(url, "", **how)
        assert first.hash == SUM
        assert probe(url, first.validator, **how).hash is None
        with pytest.raises(QuotaExceeded):
            probe(url, "", **{**how, "limit_bytes": len(BODY) - 1})
        bucket, _, key = url.rpartition("/data/")
        self.put(bucket, f"data/{key}", BODY[::-1])
        assert probe(url, first.validator, **how).hash == hashlib.sha256(BODY[::-1]).hexdigest()

    def test_interrupted_download_is_continued(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "a"
        get(url, path)
        path.write_bytes(BODY[:100_000])
        assert get(url, path) == Downloaded(SUM, len(BODY), 100_000)
        assert get(url, path) == Downloaded(SUM, len(BODY), len(BODY))

    def test_changed_file_is_downloaded_again(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "a"
        get(url, path)
        path.write_bytes(BODY[:100_000])
        bucket, _, key = url.rpartition("/data/")
        self.put(bucket, f"data/{key}", BODY[::-1])
        assert get(url, path) == Downloaded(hashlib.sha256(BODY[::-1]).hexdigest(), len(BODY))

    def test_missing_file(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"prices\.csvv is not there"):
            get(f"{url}v", tmp_path / "a")

    def test_without_credentials_the_request_is_not_signed(self, url: str, tmp_path: Path) -> None:
        with pytest.raises((NotFound, Refused, Unreachable)) as caught:
            get(url, tmp_path / "a", environ={}, tries=1)
        assert not isinstance(caught.value, Unreachable) or "404" in str(caught.value)

    def test_build_names_the_file_and_no_secret(self, store: ObjectStore, url: str, tmp_path: Path) -> None:
        address = self.put(url.rpartition("/data/")[0], "öffentlich/a b.csv", b"n\n1\n")
        (tmp_path / "build.yml").write_text(f"contents:\n  a: {{url: '{address}'}}\n")
        home = Home({"DATAPKG_HOME": str(tmp_path / "home"), **store.environment})
        build_package(home, Ref("me", "p"), tmp_path / "build.yml", BuildOptions(update=True))
        assert hashlib.sha256(b"n\n1\n").hexdigest() in (tmp_path / "build.yml").read_text()
        record = "".join(path.read_text() for path in home.data.rglob("log/*.json"))
        assert address in record
        assert not [secret for name, secret in store.environment.items() if "KEY" in name and secret in record]


@pytest.mark.needs(*AZURITE)
class TestAzurite(_Bucket):
    @pytest.fixture
    def store(self, azurite: ObjectStore) -> ObjectStore:
        return azurite


@pytest.mark.big
@pytest.mark.needs(*CEPH)
class TestCeph(_Bucket):
    @pytest.fixture
    def store(self, ceph: ObjectStore) -> ObjectStore:
        return ceph


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        ("Generic S3 error: Error performing GET http://127.0.0.1/b/a in 1s - error sending request", True),
        ("Server returned non-2xx status code: 503 Service Unavailable", True),
        ("Server returned non-2xx status code: 412 Precondition Failed", False),
        ("Generic S3 error: Received non-partial response when range requested", False),
    ],
)
def test_piece_is_kept_unless_the_file_may_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_kept: bool
) -> None:
    """As a healthy store never answers."""

    def fail(*_: Any, **__: Any) -> None:
        raise obstore.exceptions.GenericError(answer)

    monkeypatch.setattr(obstore, "get", fail)
    monkeypatch.setattr(obstore, "head", lambda *_: {"size": 2 * len(BODY)})
    path, note = tmp_path / "a", tmp_path / "a.json"
    path.write_bytes(BODY)
    note.write_text('{"validator": "1"}')
    with pytest.raises(Unreachable):
        get("s3://bucket/a", path, environ={}, tries=1)
    assert (path.exists(), note.exists()) == (is_kept, is_kept)


def test_connection_that_breaks_for_good_leaves_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = os.urandom(3 * PIECE_BYTES)
    with web_server() as web:
        for name, value in {"AWS_ENDPOINT_URL": web.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "a"}.items():
            monkeypatch.setenv(name, value)
        modified = "Mon, 01 Jan 2024 00:00:00 GMT"
        web.put("/bucket/a", body, etag='"1"', modified=modified, cuts=[2 * PIECE_BYTES, 10, 10, 10, 10, 10])
        with pytest.raises(Unreachable, match=r"s3://bucket did not serve a: .* body error"):
            get("s3://bucket/a", tmp_path / "a", environ={}, tries=1)
        piece = (tmp_path / "a").read_bytes()
        assert body.startswith(piece)
        assert len(piece) >= PIECE_BYTES
        web.pages["/bucket/a"].cuts.clear()
        assert get("s3://bucket/a", tmp_path / "a", environ={}) == Downloaded(
            hashlib.sha256(body).hexdigest(), len(body), len(piece)
        )
