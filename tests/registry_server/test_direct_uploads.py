"""Objects that clients send past the registry, into its bucket: nothing gets its name before it was read back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import Conflict, HashMismatch, QuotaExceeded
from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.names import Ref
from datapkg.home import Home
from registry_server.services import direct_uploads
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import open_registry
from registry_server.services.sweep import sweep
from registry_server.settings import Settings
from tests.faulty_proxy import Fault, Way, faulty_way
from tests.live_registry import live_registry
from tests.object_stores import AZURE_ACCOUNT, AZURITE, CEPH, ObjectStore
from tests.registry_server.asgi import Client, Contents, House, check_clean, sha256

PART = 1000
LARGE = os.urandom(2 * PART + 10)
HEADERS = {"x-ms-blob-type": "BlockBlob"}
CONTENTS = Contents({"large": LARGE})
THINGS = Ref("ada", "things")
STORES = [
    pytest.param("azurite", marks=pytest.mark.needs(*AZURITE)),
    pytest.param("ceph", marks=[pytest.mark.big, pytest.mark.needs(*CEPH)]),
]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    found: ObjectStore = request.getfixturevalue(request.param)
    found.set_environment(monkeypatch)
    return found


class TestParts:
    """A registry with parts of 1,000 bytes."""

    @pytest.fixture
    def house(self, tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
        monkeypatch.setattr(direct_uploads, "PART_BYTES", PART)
        house = House(tmp_path, objects=store.new_bucket("of/registry"), direct_uploads_s=60)
        yield house
        house.close()

    @pytest.fixture
    def begun(self, ada: Client) -> str:
        started = ada.start("ada/iris", CONTENTS.manifest)
        assert started["direct_bytes"] == direct_uploads.LEAST_BYTES
        return f"{wire.PACKAGES}/ada/iris/pushes/{started['push']}"

    def parts(self, ada: Client, begun: str, size: int = len(LARGE)) -> list[dict[str, Any]]:
        answer = ada.post(f"{begun}/objects/{sha256(LARGE)}/direct?size={size}")
        assert answer.status == 200, answer.text
        parts: list[dict[str, Any]] = answer.json()["parts"]
        return parts

    def send(self, part: dict[str, Any], data: bytes = LARGE) -> None:
        body = data[part["start"] : part["stop"]]
        assert requests.put(part["url"], data=body, headers=HEADERS, timeout=10).status_code in (200, 201)

    def complete(self, client: Client, begun: str, hash: str = sha256(LARGE), size: int = len(LARGE)) -> Any:
        return client.put(f"{begun}/objects/{hash}/direct?size={size}")

    def test_missing_parts_are_sent_and_no_others(self, house: House, ada: Client, begun: str) -> None:
        parts = self.parts(ada, begun)
        assert [(each["start"], each["stop"]) for each in parts] == [
            (0, PART),
            (PART, 2 * PART),
            (2 * PART, len(LARGE)),
        ]
        self.send(parts[0])
        self.send(parts[2])
        again = f"{begun.rpartition('/')[0]}/{ada.start('ada/iris', CONTENTS.manifest)['push']}"
        (left,) = self.parts(ada, again)
        assert left["start"] == PART
        lacking = self.complete(ada, again)
        assert isinstance(lacking.error, Conflict), lacking.text
        assert "1 part of object" in lacking.text
        self.send(left)
        assert self.parts(ada, again) == []
        assert self.complete(ada, again).status == 200
        assert not list(house.registry.objects.blobs.list(direct_uploads.PREFIX))
        small = CONTENTS.needed([CONTENTS.manifest.hash])
        assert ada.post(f"{again}/objects", body=b"".join(encode_frames(small))).status == 200
        assert ada.post(f"{again}/publish", {"manifest": CONTENTS.manifest.hash}).status == 200
        assert ada.get(f"{wire.PACKAGES}/ada/iris/objects/{sha256(LARGE)}").body == LARGE
        check_clean(house)

    @pytest.mark.parametrize("size", [len(LARGE), PART])
    def test_wrong_bytes_get_no_name(self, house: House, ada: Client, begun: str, size: int) -> None:
        for part in self.parts(ada, begun, size):
            self.send(part, LARGE[:-1] + b"?" if size == len(LARGE) else bytes(PART))
        refused = self.complete(ada, begun, size=size)
        assert isinstance(refused.error, HashMismatch), refused.text
        keys = {each.key for each in house.registry.objects.blobs.list()}
        assert keys == {"registry-objects.json"}
        assert ada.post(f"{begun}/missing", {"hashes": [sha256(LARGE)]}).json()["missing"] == [sha256(LARGE)]

    def test_what_is_named_is_what_was_hashed(
        self, house: House, ada: Client, begun: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The address can be written to while the registry reads: another copy is hashed and named."""
        data, read = LARGE[:PART], direct_uploads.hash_stream
        (part,) = ada.post(f"{begun}/objects/{sha256(data)}/direct?size={PART}").json()["parts"]
        self.send(part)

        def overwritten(stream: Any) -> tuple[str, int]:
            found = read(stream)
            self.send(part, bytes(PART))
            return found

        monkeypatch.setattr(direct_uploads, "hash_stream", overwritten)
        assert self.complete(ada, begun, sha256(data), PART).status == 200
        assert house.registry.objects.read(sha256(data)) == data

    @pytest.mark.parametrize("size", [PART, 2 * PART])
    def test_size_of_an_object_is_that_of_what_was_hashed(
        self, house: House, ada: Client, begun: str, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        """A part that is replaced after its size was asked for must not make the registry note a wrong size."""
        data, blobs = LARGE[: size - 1], house.registry.objects.blobs
        parts = ada.post(f"{begun}/objects/{sha256(data)}/direct?size={size}").json()["parts"]
        for part in parts:
            self.send(part)
        listed = type(blobs).list

        def replaced(blobs: Any, prefix: str = "") -> Any:
            found = list(listed(blobs, prefix))
            self.send(parts[-1], data)
            return iter(found)

        monkeypatch.setattr(type(blobs), "list", replaced)
        refused = self.complete(ada, begun, sha256(data), size)
        monkeypatch.undo()
        assert isinstance(refused.error, Conflict), refused.text
        assert ada.post(f"{begun}/missing", {"hashes": [sha256(data)]}).json()["missing"] == [sha256(data)]

    def test_leftovers_are_swept_when_their_push_has_expired(self, house: House, ada: Client, begun: str) -> None:
        self.send(self.parts(ada, begun)[0])
        sweep(house.registry, THE_OPERATOR)
        (kept,) = house.registry.objects.blobs.list(direct_uploads.PREFIX)
        assert kept.size == PART
        house.registry = replace(house.registry, now=lambda: datetime.now(UTC) + timedelta(days=2))
        sweep(house.registry, THE_OPERATOR)
        assert not list(house.registry.objects.blobs.list(direct_uploads.PREFIX))

    def test_limits_and_rights_hold(self, house: House, ada: Client, bob: Client, begun: str) -> None:
        assert bob.post(f"{begun}/objects/{sha256(LARGE)}/direct?size=5").status in (403, 404)
        assert self.complete(bob, begun).status in (403, 404)
        small = replace(house.registry.settings, max_unpublished_bytes=PART // 2, max_object_bytes=10 * PART)
        house.registry = replace(house.registry, settings=small)
        refused = ada.post(f"{begun}/objects/{sha256(LARGE)}/direct?size={11 * PART}")
        assert isinstance(refused.error, QuotaExceeded)
        self.send(self.parts(ada, begun)[0])
        assert isinstance(ada.post(f"{begun}/objects/{sha256(LARGE)}/direct?size=9").error, QuotaExceeded)


def test_parts_of_an_object_that_is_too_large_are_not_counted(house: House, ada: Client) -> None:
    """Their list would be as long as the size says that a client gives: gigabytes of memory."""
    push = ada.start("ada/iris", CONTENTS.manifest)["push"]
    size = house.settings.max_object_bytes + 1
    refused = ada.put(f"{wire.PACKAGES}/ada/iris/pushes/{push}/objects/{sha256(LARGE)}/direct?size={size}")
    assert isinstance(refused.error, QuotaExceeded), refused.text


def built(home: Home, folder: Path, size: int) -> bytes:
    folder.mkdir()
    data = os.urandom(size)
    (folder / "large.bin").write_bytes(data)
    (folder / "small.bin").write_bytes(b"small")
    build_package(home, THINGS, folder)
    return data


@pytest.mark.needs(*AZURITE)
@pytest.mark.parametrize(
    "fault", [None, "403", *(pytest.param(each, marks=pytest.mark.big) for each in ("503", "cut upload"))]
)
def test_a_push_sends_large_objects_to_the_store_or_else_to_the_registry(
    azurite: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    azurite.set_environment(monkeypatch)
    monkeypatch.setattr("datapkg.remote.direct_upload.pause_s", lambda number, retry_after: 0.01)
    with faulty_way(azurite.endpoint.removesuffix(f"/{AZURE_ACCOUNT}")) as way:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{way.url}/{AZURE_ACCOUNT}")
        check_push(azurite.new_bucket("registry"), tmp_path, way, fault)


def check_push(url: str, folder: Path, way: Way | None = None, fault: str | None = None) -> None:
    """Push a large object, with a fault of the store, and install it on another machine."""
    with live_registry(folder, DATAPKG_REGISTRY_OBJECTS=url, DATAPKG_REGISTRY_DIRECT_UPLOADS_S="60") as registry:
        token = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": registry.add_user("ada")}
        own = Home({**token, "DATAPKG_HOME": str(folder / "own")})
        data = built(own, folder / "source", direct_uploads.LEAST_BYTES + 1)
        if way and fault:
            way.faults.append(Fault(fault, "tmp/direct/1/", method="PUT"))
        push_package(own, THINGS)
        if way:
            sent = [path for method, path in way.seen if method == "PUT" and "sig=" in path and "/copy-" not in path]
            assert sent
            assert bool(way.happened) == bool(fault)
        (outcome,) = install_packages(Home({**token, "DATAPKG_HOME": str(folder / "other")}), [THINGS])
        assert outcome.error is None
        opened = open_registry(Settings(data=registry.data))
        assert opened.objects.read(sha256(data)) == data
        assert not list(opened.objects.blobs.list(direct_uploads.PREFIX)) or fault
        assert check(opened, THE_OPERATOR).is_clean
        opened.close()


@pytest.mark.big
@pytest.mark.needs(*CEPH)
def test_a_push_to_ceph(ceph: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ceph.set_environment(monkeypatch)
    check_push(ceph.new_bucket("registry"), tmp_path)
