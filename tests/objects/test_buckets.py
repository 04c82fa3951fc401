"""Buckets of real servers as homes of bytes under keys: the contract, and what only a bucket does."""

from __future__ import annotations

import io
import sys

import pytest
import requests

from datapkg.errors import InvalidInput, MissingDependency
from datapkg.objects.blobs.bucket import PART_BYTES, BucketBlobs
from datapkg.objects.blobs.ssh import SshBlobs
from tests.blob_contract import BlobsContract
from tests.faulty_proxy import Fault, faulty_way
from tests.object_stores import AZURE_ACCOUNT, AZURITE, CEPH, SWIFT, ObjectStore


class _Bucket(BlobsContract):
    @pytest.fixture
    def blobs(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> BucketBlobs:  # type: ignore[override]
        store.set_environment(monkeypatch)
        return BucketBlobs(store.new_bucket("data/registry"))


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


@pytest.mark.big
@pytest.mark.needs(*SWIFT)
class TestSwift(_Bucket):
    @pytest.fixture
    def store(self, swift: ObjectStore) -> ObjectStore:
        return swift


@pytest.mark.needs(*AZURITE)
@pytest.mark.parametrize("method", ["PUT", "HEAD", "GET", "POST"])
def test_requests_are_sent_again_where_connections_break(
    azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    azurite.set_environment(monkeypatch)
    with faulty_way(azurite.endpoint.removesuffix(f"/{AZURE_ACCOUNT}")) as way:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{way.url}/{AZURE_ACCOUNT}")
        blobs = BucketBlobs(azurite.new_bucket("data/registry"))
        if method != "PUT":
            blobs.put("a", io.BytesIO(b"some bytes"))
        way.faults.append(Fault("drop", method=method, times=5))
        blobs.put("a", io.BytesIO(b"some bytes"))
        assert blobs.size("a") == 10
        assert blobs.read_ranges("a", [(0, 4), (5, 10)]) == [b"some", b"bytes"]
        blobs.delete("a")
        assert blobs.size("a") is None
        assert way.happened == ["drop"] * 5  # the library itself tries four times


@pytest.mark.parametrize(
    "url", ["s3://", "s3:bucket", "http://host/bucket", "s3://key:secret@bucket", "s3://b?x=1", ""]
)
def test_what_is_not_a_bucket(url: str) -> None:
    with pytest.raises(InvalidInput, match="not the URL of a bucket"):
        BucketBlobs(url)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, make, url in (
        ("obstore", BucketBlobs, "s3://bucket/prefix"),
        ("asyncssh", SshBlobs, "ssh://host/path"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.exceptions", None)
        with pytest.raises(MissingDependency) as caught:
            make(url)
        assert caught.value.hint == f"pip install {name}"


@pytest.mark.needs(*AZURITE)
class TestLargeKeys:
    """What is sent in parts may come from a bucket itself, and a copy in Azure passes no bytes through this machine."""

    @pytest.fixture
    def data(self) -> bytes:
        return bytes(range(256)) * ((PART_BYTES >> 8) + 1)

    def test_a_stream_of_a_bucket_is_put_into_another_one(
        self, azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch, data: bytes
    ) -> None:
        azurite.set_environment(monkeypatch)
        one, other = BucketBlobs(azurite.new_bucket()), BucketBlobs(azurite.new_bucket("some/prefix"))
        one.put("large", io.BytesIO(data))
        with one.open("large") as stream:
            other.put("large", stream)
        assert other.read("large", len(data)) == data

    @pytest.mark.parametrize("fault", [None, "503"])
    def test_a_copy_is_made_in_the_store_or_else_by_its_bytes(
        self, azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch, data: bytes, fault: str | None
    ) -> None:
        azurite.set_environment(monkeypatch)
        with faulty_way(azurite.endpoint.removesuffix(f"/{AZURE_ACCOUNT}")) as way:
            monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{way.url}/{AZURE_ACCOUNT}")
            blobs = BucketBlobs(azurite.new_bucket("some/prefix"))
            blobs.put("large", io.BytesIO(data))
            way.seen.clear()
            if fault:
                way.faults.append(Fault(fault, "sig=", method="PUT", times=1))
            blobs.rename("large", "trash/large")
            assert (("GET", "large") in [(method, path[-5:]) for method, path in way.seen]) == bool(fault)
            assert blobs.size("large") is None
            assert blobs.read("trash/large", len(data)) == data


@pytest.mark.needs(*AZURITE)
def test_pages_have_the_type_that_a_web_site_sends(azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite.set_environment(monkeypatch)
    blobs = BucketBlobs(azurite.new_bucket("data"))
    kinds = {"simple/index.html": "text/html; charset=utf-8", "simple/index.json": "application/json"}
    for key in kinds:
        blobs.put(key, io.BytesIO(b"{}"))
        answer = requests.get(blobs.signed_url(key, 60) or "", timeout=10)
        assert answer.headers["content-type"] == kinds[key]
