"""Buckets of real servers as homes of bytes under keys: the contract, and what only a bucket does."""

from __future__ import annotations

import io
import sys

import pytest

from datapkg.errors import InvalidInput, MissingDependency
from datapkg.objects.blobs.bucket import BucketBlobs
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
