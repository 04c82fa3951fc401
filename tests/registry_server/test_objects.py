"""Reading objects and manifests: ranges, conditions, caches, and damaged bytes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sqlite3
import threading
from typing import Any

import pytest

from datapkg.errors import CorruptObject, Forbidden, InvalidInput, ObjectNotFound
from datapkg.format import wire
from datapkg.format.chunks import Chunk, decode_chunks
from datapkg.format.frames import encode_frames, read_frames
from datapkg.objects.base import Readable
from datapkg.objects.chunking import chunks_of_object
from datapkg.objects.packs import PackedObjects
from registry_server.services import downloads
from registry_server.services.check import DamagedEntry, check
from registry_server.services.policy import ANONYMOUS, THE_OPERATOR
from registry_server.web.conditional_requests import wanted_part
from registry_server.web.objects import MAPS_AT_ONCE
from tests.registry_server.asgi import Answer, Client, Contents, House, check_clean, sha256, wheel_objects

IRIS = f"{wire.PACKAGES}/ada/iris"
BODY = bytes(range(100))
BIG = bytes(range(256)) * 12_000
ADDRESS = f"{IRIS}/objects/{sha256(BODY)}"


@pytest.fixture
def reader(ada: Client) -> Client:
    """Return the owner of a private package with a small and a large object."""
    contents = Contents({"a": BODY, "big": BIG})
    push = ada.start("ada/iris", contents.manifest)["push"]
    for hash, body in contents.bodies.items():
        ada.put(f"{IRIS}/pushes/{push}/objects/{hash}", body=body)
    assert ada.post(f"{IRIS}/pushes/{push}/publish", {"manifest": contents.manifest.hash}).status == 200
    return ada


def test_object_is_served_with_its_headers(reader: Client) -> None:
    answer = reader.get(ADDRESS)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["etag"] == f'"{sha256(BODY)}"'
    assert answer.headers["content-length"] == "100"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_public_objects_may_be_cached_by_shared_caches(ada: Client) -> None:
    ada.publish("ada/iris", {"a": BODY}, public=True)
    assert ada.get(ADDRESS).headers["cache-control"].startswith("public")


def test_large_object_is_served(reader: Client) -> None:
    answer = reader.get(f"{IRIS}/objects/{sha256(BIG)}")
    assert (answer.status, answer.body) == (200, BIG)
    assert answer.headers["content-length"] == str(len(BIG))


def test_a_manifest_is_a_state_of_the_package(reader: Client) -> None:
    manifest = Contents({"a": BODY, "big": BIG}).manifest
    answer = reader.get(f"{IRIS}/manifests/{manifest.hash}")
    assert (answer.status, answer.body) == (200, manifest.data)
    assert answer.headers["content-type"] == wire.MANIFEST_TYPE
    assert isinstance(reader.get(f"{IRIS}/manifests/{sha256(BODY)}").error, ObjectNotFound)
    assert reader.get(f"{IRIS}/objects/{manifest.hash}").body == manifest.data


def test_head_returns_headers_without_a_body(reader: Client) -> None:
    for hash, size in ((sha256(BODY), 100), (sha256(BIG), len(BIG))):
        answer = reader.request("HEAD", f"{IRIS}/objects/{hash}")
        assert (answer.status, answer.body) == (200, b"")
        assert (answer.headers["content-length"], answer.headers["etag"]) == (str(size), f'"{hash}"')


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=99-5000", 99, 100),
        ("bytes=0-0", 0, 1),
        ("bytes= 5-6", 5, 7),
    ],
)
def test_range_is_served(reader: Client, range_: str, start: int, stop: int) -> None:
    answer = reader.get(ADDRESS, headers={"range": range_})
    assert (answer.status, answer.body) == (206, BODY[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/100"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("range_", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=a-b", "x", ""])
def test_malformed_range_returns_the_whole_object(reader: Client, range_: str) -> None:
    answer = reader.get(ADDRESS, headers={"range": range_})
    assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize("range_", ["bytes=100-", "bytes=1000-2000", "bytes=-0"])
def test_range_beyond_the_end_is_unsatisfiable(reader: Client, range_: str) -> None:
    answer = reader.get(ADDRESS, headers={"range": range_})
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */100"
    assert answer.headers["cache-control"] == "no-store"
    assert isinstance(answer.error, InvalidInput)


def test_ranges_of_a_large_object(reader: Client) -> None:
    for start, stop in ((0, 5), (1_000_000, 2_500_001), (len(BIG) - 3, len(BIG))):
        headers = {"range": f"bytes={start}-{stop - 1}"}
        assert reader.get(f"{IRIS}/objects/{sha256(BIG)}", headers=headers).body == BIG[start:stop]


def test_if_range_returns_the_range_only_for_a_matching_tag(reader: Client) -> None:
    good = {"range": "bytes=0-9", "if-range": f'"{sha256(BODY)}"'}
    assert reader.get(ADDRESS, headers=good).status == 206
    for other in ('"other"', f'W/"{sha256(BODY)}"', "Sat, 21 Nov 2026 00:00:00 GMT"):
        answer = reader.get(ADDRESS, headers={"range": "bytes=0-9", "if-range": other})
        assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize("given", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
def test_if_none_match_returns_304(reader: Client, given: str) -> None:
    answer = reader.get(ADDRESS, headers={"if-none-match": given.format(sha256(BODY))})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{sha256(BODY)}"'
    assert "immutable" in answer.headers["cache-control"]


def test_an_empty_object_has_no_ranges() -> None:
    part = wanted_part("0" * 64, 0, range="bytes=0-", if_range=None, if_none_match=None)
    assert part.kind == "unsatisfiable"


def read_many(client: Client, *hashes: str) -> Answer:
    return client.post(f"{IRIS}/objects/read", {"hashes": list(hashes)})


def test_many_small_objects_in_one_response(ada: Client) -> None:
    files = {f"f{number}": b"%d" % number * 1_000 for number in range(300)}
    ada.publish("ada/iris", files)
    answer = read_many(ada, *(sha256(body) for body in files.values()), sha256(b"0" * 1_000))
    assert answer.headers["content-type"] == wire.FRAMES
    found = dict(read_frames(io.BytesIO(answer.body)))
    assert found == {sha256(body): body for body in files.values()}
    assert read_many(ada).body == b""


def test_object_too_large_for_a_batch_is_rejected(reader: Client) -> None:
    answer = read_many(reader, sha256(BODY), sha256(BIG))
    assert (answer.status, isinstance(answer.error, InvalidInput)) == (400, True)
    assert answer.error.detail["hash"] == sha256(BIG)


@pytest.mark.parametrize("count", [2, 200])
def test_a_damaged_object_is_never_sent_and_never_deleted(house: House, ada: Client, count: int) -> None:
    files = {f"f{number}": b"body %d" % number for number in range(count)}
    ada.publish("ada/iris", files)
    bad, good = sha256(files["f0"]), sha256(files["f1"])
    house.damage(bad)
    for headers in ({}, {"range": "bytes=0-1"}):
        answer = ada.get(f"{IRIS}/objects/{bad}", headers=headers)
        assert answer.status == 422
        assert isinstance(answer.error, CorruptObject)
        assert answer.headers["cache-control"] == "no-store"
    assert dict(read_frames(io.BytesIO(read_many(ada, bad, good).body))) == {good: files["f1"]}
    assert bad in set(PackedObjects(house.settings.data))


@pytest.mark.parametrize("is_short", [False, True])
def test_noting_damage_does_not_block_other_requests(house: House, ada: Client, is_short: bool) -> None:
    """Whoever reads a damaged object waits until that can be noted in the database, and nobody else does."""
    ada.publish("ada/iris", {"a": b"damaged", "c": BODY})
    bad = sha256(b"damaged")
    house.damage(bad)
    if is_short:
        place = PackedObjects(house.settings.data).locate(bad)
        place.path.chmod(0o600)
        os.truncate(place.path, 5)
    headers = {"host": "registry.test", "authorization": f"Bearer {ada.token}"}

    async def read() -> list[int]:
        damaged = asyncio.create_task(ada._run("GET", f"{IRIS}/objects/{bad}", [], headers, 0))
        await asyncio.sleep(0.1)
        other = await asyncio.wait_for(ada._run("GET", f"{IRIS}/objects/{sha256(BODY)}", [], headers, 0), 10)
        assert not damaged.done()
        writer.rollback()
        return [other.status, (await damaged).status]

    writer = sqlite3.connect(house.settings.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert asyncio.run(read()) == [200, 422]
    writer.close()


def test_damaged_object_has_no_chunk_map(house: House, reader: Client) -> None:
    house.damage(sha256(BIG))
    assert isinstance(reader.get(f"{IRIS}/objects/{sha256(BIG)}/chunks").error, CorruptObject)


def test_chunk_map_of_an_object(reader: Client) -> None:
    address = f"{IRIS}/objects/{sha256(BIG)}/chunks"
    answer = reader.get(address)
    chunks = decode_chunks(answer.body)
    assert chunks[-1].stop == len(BIG)
    assert [chunk.digest.hex() for chunk in chunks] == [sha256(BIG[each.start : each.stop]) for each in chunks]
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert [chunk.stop for chunk in decode_chunks(reader.get(f"{ADDRESS}/chunks").body)] == [len(BODY)]


def test_making_chunk_maps_does_not_block_other_requests(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits for the map of a large object holds no thread that others need."""
    contents = Contents({f"f{number:02}": b"%d" % number for number in range(60)})
    push = reader.start("ada/many", contents.manifest)["push"]
    many = f"{wire.PACKAGES}/ada/many"
    assert (
        reader.post(f"{many}/pushes/{push}/objects", body=b"".join(encode_frames(contents.bodies.items()))).status
        == 200
    )
    assert reader.post(f"{many}/pushes/{push}/publish", {"manifest": contents.manifest.hash}).status == 200
    kept, *wanted = contents.manifest.objects()
    assert reader.get(f"{many}/objects/{kept}/chunks").status == 200
    done, made = threading.Event(), list[str]()

    def slowly(objects: Readable, hash: str) -> list[Chunk]:
        made.append(hash)
        assert done.wait(60)
        return chunks_of_object(objects, hash)

    monkeypatch.setattr(downloads, "chunks_of_object", slowly)
    headers = {"host": "registry.test", "authorization": f"Bearer {reader.token}"}

    async def asked() -> list[int]:
        ask = [reader._run("GET", f"{many}/objects/{hash}/chunks", [], headers, 0) for hash in wanted * 2]
        maps = [asyncio.create_task(each) for each in ask]
        try:
            while len(made) < MAPS_AT_ONCE:
                await asyncio.sleep(0.01)
            for path in ("log", f"objects/{kept}/chunks"):
                other = reader._run("GET", f"{many}/{path}", [], headers, 0)
                assert (await asyncio.wait_for(other, 20)).status == 200
        finally:
            done.set()
        return [(await each).status for each in maps]

    assert asyncio.run(asked()) == [200] * 2 * len(wanted)
    assert sorted(made) == sorted(wanted)


def test_lost_or_truncated_object_is_reported(house: House, reader: Client) -> None:
    place = PackedObjects(house.settings.data).locate(sha256(BIG))
    place.path.chmod(0o600)
    with place.path.open("r+b") as file:
        file.truncate(5)
    assert isinstance(reader.get(f"{IRIS}/objects/{sha256(BIG)}").error, CorruptObject)
    place.path.unlink()
    assert isinstance(reader.get(f"{IRIS}/objects/{sha256(BIG)}").error, CorruptObject)
    assert reader.get(ADDRESS).body == BODY


@pytest.mark.parametrize("count", [2, 200])
def test_damaged_object_is_missing_in_the_next_push(house: House, ada: Client, bob: Client, count: int) -> None:
    contents = Contents({f"f{number}": b"body %d" % number for number in range(count)})
    ada.push("ada/iris", contents, public=True)
    bad = sha256(contents.files["f0"])
    house.damage(bad)
    assert bad not in ada.start("ada/iris", contents.manifest)["missing"]
    assert ada.get(f"{IRIS}/objects/{bad}").status == 422
    assert bob.start("bob/copy", contents.manifest)["missing"] == [bad]
    answer = ada.push("ada/iris", contents)
    assert (answer.status, answer.json()["changed"]) == (200, False)
    assert ada.get(f"{IRIS}/objects/{bad}").body == contents.files["f0"]
    assert bob.start("bob/copy", contents.manifest)["missing"] == []


def test_damaged_manifest_is_missing_in_the_next_push(house: House, ada: Client) -> None:
    contents = Contents({"a": BODY})
    ada.push("ada/iris", contents)
    house.damage(contents.manifest.hash)
    answer = ada.push("ada/iris", contents)
    assert isinstance(answer.error, CorruptObject)
    assert ada.push("ada/iris", contents).status == 200
    assert ada.get(f"{IRIS}/manifests/{contents.manifest.hash}").body == contents.manifest.data


def test_verify_checks_all_objects(house: House, reader: Client) -> None:
    assert check_clean(house) == 3
    house.damage(sha256(BIG))
    found = check(house.registry, THE_OPERATOR)
    assert (found.checked - len(wheel_objects(house)), found.damaged) == (
        3,
        [DamagedEntry(sha256(BIG), ["ada/iris"], "bytes")],
    )
    assert reader.start("ada/iris", Contents({"big": BIG}).manifest)["missing"][1:] == [sha256(BIG)]
    house.damage(sha256(BIG))
    assert check_clean(house) == 3
    assert reader.start("ada/iris", Contents({"big": BIG}).manifest)["missing"][1:] == []
    with pytest.raises(Forbidden):
        check(house.registry, ANONYMOUS)


def test_a_damaged_manifest_is_not_served(house: House, reader: Client) -> None:
    hash = Contents({"a": BODY, "big": BIG}).manifest.hash
    house.damage(hash)
    assert isinstance(reader.get(f"{IRIS}/manifests/{hash}").error, CorruptObject)


@pytest.mark.parametrize("sends", [{"hashes": ["x"]}, {"hashes": "x"}, {}, [], None, {"hashes": [], "more": 1}])
def test_invalid_hash_list_is_rejected(reader: Client, sends: Any) -> None:
    answer = reader.post(f"{IRIS}/objects/read", body=json.dumps(sends).encode())
    assert (answer.status, isinstance(answer.error, InvalidInput)) == (400, True)
