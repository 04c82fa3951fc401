"""Uploading objects: everything is verified, nothing partial is stored, and bodies have limits of size and time."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from datapkg.errors import DiskFull, HashMismatch, InvalidInput, InvalidName, QuotaExceeded, Unreachable
from datapkg.format import push_wire, wire
from datapkg.format.frames import encode_frames, frame_head
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.packs import PackedObjects
from registry_server.db.tables import push_objects
from registry_server.services import uploads
from tests.registry_server.asgi import Answer, Client, Contents, House, sha256

BASE = f"{wire.PACKAGES}/ada/iris/pushes"


@pytest.fixture
def push(ada: Client) -> str:
    """Start a push and return its URL."""
    return f"{BASE}/{ada.start('ada/iris', Contents({'a': b'one'}).manifest)['push']}"


def put(client: Client, push: str, body: Any, hash: str | None = None, **options: Any) -> Answer:
    return client.put(f"{push}/objects/{hash or sha256(body)}", body=body, **options)


def missing(client: Client, push: str, *hashes: str) -> list[str]:
    found: list[str] = client.post(f"{push}/missing", {"hashes": list(hashes)}).json()["missing"]
    return found


def on_disk(house: House) -> set[str]:
    return set(PackedObjects(house.settings.data))


def temporary(house: House) -> list[Path]:
    return list(house.settings.temporary.glob("*"))


@pytest.mark.parametrize("way", ["chunked", "resumed", "delta"])
def test_room_that_the_registry_needs_is_kept_while_bytes_arrive(
    house: House, ada: Client, push: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A body need not state its length, a delta means more bytes than it has, and others write at the same time."""
    body = bytes(range(256)) * 20_000
    pieces = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
    base = body[: 1 << 19]
    assert put(ada, push, base).status == 200
    asked = []

    def left(_: Path) -> int:
        asked.append(1)
        return 1 << 30 if len(asked) <= 2 else house.settings.min_free_bytes - 1

    monkeypatch.setattr(uploads, "free_bytes", left)
    if way == "delta":
        step = bytes.fromhex(sha256(base)) + (0).to_bytes(8, "little") + len(base).to_bytes(8, "little")
        whole = base * 10
        answer = ada.put(f"{push}/objects/{sha256(whole)}/delta", body=step * 10)
    else:
        end = "?offset=0" if way == "resumed" else ""
        answer = ada.put(f"{push}/objects/{sha256(body)}{end}", body=pieces)
    assert (answer.status, isinstance(answer.error, DiskFull)) == (507, True)
    assert len(asked) == 3
    assert (on_disk(house), temporary(house)) == ({sha256(base)}, [])


def test_what_an_upload_may_send_is_not_counted_in_the_event_loop(
    house: House, ada: Client, push: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a push of very many objects that takes a second, for which all other requests would wait."""
    threads = []
    monkeypatch.setattr(uploads, "begun_bytes", lambda *_: threads.append(threading.current_thread()) or 0)
    assert put(ada, push, b"one").status == 200
    assert threads
    assert threading.main_thread() not in threads


def test_object_is_uploaded_in_many_pieces(house: House, ada: Client, push: str) -> None:
    body = bytes(range(256)) * 20_000
    pieces = [body[at : at + 70_001] for at in range(0, len(body), 70_001)]
    answer = put(ada, push, pieces, sha256(body))
    assert answer.json() == {"hashes": [sha256(body)]}
    assert missing(ada, push, sha256(body)) == []
    assert on_disk(house) == {sha256(body)}
    assert temporary(house) == []


@pytest.mark.parametrize("size", [0, 1, wire.SMALL_BYTES, wire.SMALL_BYTES + 1])
def test_objects_of_any_size(ada: Client, push: str, size: int) -> None:
    body = b"x" * size
    assert put(ada, push, body).status == 200
    assert put(ada, push, body).status == 200
    assert missing(ada, push, sha256(body)) == []


def test_object_with_a_wrong_hash_is_not_stored(house: House, ada: Client, push: str) -> None:
    body = b"x" * 3_000_000
    answer = put(ada, push, body, "0" * 64)
    assert answer.status == 422
    assert isinstance(answer.error, HashMismatch)
    assert answer.error.detail == {"expected": "0" * 64, "actual": sha256(body)}
    assert missing(ada, push, "0" * 64, sha256(body)) == ["0" * 64, sha256(body)]
    assert on_disk(house) == set()
    assert temporary(house) == []


@pytest.mark.parametrize("hash", ["abc", "A" * 64, "0" * 63 + "g", "..%2f..%2fetc"])
def test_invalid_hash_is_rejected(ada: Client, push: str, hash: str) -> None:
    answer = ada.put(f"{push}/objects/{hash}", body=b"x")
    assert answer.status in (400, 404)
    if answer.status == 400:
        assert isinstance(answer.error, InvalidName)


def frames(*bodies: bytes) -> bytes:
    return b"".join(encode_frames((sha256(body), body) for body in bodies))


def test_many_objects_in_one_body(house: House, ada: Client, push: str) -> None:
    bodies = [f"body {number}".encode() for number in range(1_000)]
    data = frames(*bodies)
    answer = ada.post(f"{push}/objects", body=[data[at : at + 999] for at in range(0, len(data), 999)])
    assert answer.json()["hashes"] == [sha256(body) for body in bodies]
    assert missing(ada, push, *answer.json()["hashes"]) == []
    assert on_disk(house) == {sha256(body) for body in bodies}
    assert temporary(house) == []


def test_hashes_that_the_client_has_are_returned_only_if_wanted(house: House, ada: Client, push: str) -> None:
    answer = ada.post(f"{push}/objects", body=frames(b"one", b"two"), headers={"Prefer": push_wire.MINIMAL})
    assert (answer.status, answer.json()) == (200, {"hashes": []})
    assert on_disk(house) == {sha256(b"one"), sha256(b"two")}


def test_an_empty_body_of_objects(ada: Client, push: str) -> None:
    assert ada.post(f"{push}/objects", body=b"").json() == {"hashes": []}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (frames(b"good") + frame_head("0" * 64, 3) + b"bad", HashMismatch),
        (frames(b"good", b"cut")[:-1], InvalidInput),
        (frames(b"good") + b"\0" * 39, InvalidInput),
        (frame_head("0" * 64, 1 << 62) + b"x", QuotaExceeded),
        (frame_head("0" * 64, wire.SMALL_BYTES + 1), QuotaExceeded),
    ],
)
def test_invalid_batch_stores_only_its_valid_objects(
    house: House, ada: Client, push: str, body: bytes, error: type[Exception]
) -> None:
    answer = ada.post(f"{push}/objects", body=body)
    assert isinstance(answer.error, error)
    assert on_disk(house) <= {sha256(b"good")}
    assert missing(ada, push, "0" * 64) == ["0" * 64]
    assert temporary(house) == []


def test_small_batches_are_files_and_large_ones_packs(house: House, ada: Client, push: str) -> None:
    ada.post(f"{push}/objects", body=frames(*(b"few%d" % number for number in range(5))))
    assert not list((house.settings.data / "packs").glob("*.pack"))
    ada.post(f"{push}/objects", body=frames(*(b"many%d" % number for number in range(500))))
    assert len(list((house.settings.data / "packs").glob("*.pack"))) == 1


def test_too_many_hashes_are_rejected(ada: Client, push: str) -> None:
    hashes = ["0" * 64] * (wire.MAX_HASHES + 1)
    answer = ada.post(f"{push}/missing", {"hashes": hashes})
    assert answer.status == 400
    assert "100000" in answer.error.message
    answer = ada.post(BASE, {"manifest": "0" * 64, "hashes": hashes})
    assert answer.status == 400


def test_missing_returns_each_hash_once_in_order(ada: Client, push: str) -> None:
    hashes = [sha256(b"%d" % number) for number in (3, 1, 2, 1)]
    assert missing(ada, push, *hashes) == hashes[:3]


@pytest.mark.parametrize("announced", [True, False])
def test_body_size_limits(tmp_path: Path, announced: bool) -> None:
    house = House(tmp_path, max_object_bytes=100, max_batch_bytes=200, max_json_bytes=1_000)
    ada = house.user("ada")
    push = f"{BASE}/{ada.start('ada/iris', Contents({'a': b'one'}).manifest)['push']}"
    assert put(ada, push, b"x" * 100).status == 200
    for method, path, size, setting in [
        ("PUT", f"{push}/objects/{'0' * 64}", 101, "DATAPKG_REGISTRY_MAX_OBJECT_BYTES"),
        ("POST", f"{push}/objects", 201, "DATAPKG_REGISTRY_MAX_BATCH_BYTES"),
        ("POST", f"{push}/missing", 1_001, "DATAPKG_REGISTRY_MAX_JSON_BYTES"),
    ]:
        body = b"x" * size
        answer = ada.request(method, path, body if announced else [body[:50], body[50:]])
        assert answer.status == 413, path
        assert isinstance(answer.error, QuotaExceeded)
        assert setting in answer.error.message
        assert answer.error.detail["limit"] < size
    assert temporary(house) == []
    house.close()


def test_too_many_open_pushes_are_rejected(tmp_path: Path) -> None:
    house = House(tmp_path, max_pushes=2)
    ada, bob = house.user("ada"), house.user("bob")
    manifest = Contents({"a": b"one"}).manifest
    for _ in range(2):
        ada.start("ada/iris", manifest)
    answer = ada.post(BASE, {"manifest": manifest.hash, "hashes": []})
    assert answer.status == 413
    assert "DATAPKG_REGISTRY_MAX_PUSHES" in answer.error.message
    bob.start("bob/iris", manifest)
    house.close()


def test_body_that_stalls_times_out(tmp_path: Path) -> None:
    house = House(tmp_path, body_timeout_s=0)
    ada = house.user("ada")
    for method, path in (
        ("PUT", f"/objects/{'0' * 64}"),
        ("POST", "/objects"),
        ("POST", "/missing"),
    ):
        answer = ada.request(method, f"{BASE}/abc{path}", [b"{", b"}"], pause_s=0.01)
        if path == "/missing":
            assert answer.status == 413
            assert "DATAPKG_REGISTRY_BODY_TIMEOUT_S" in answer.error.message
    house.close()


def test_upload_that_is_too_slow_stores_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    ada = house.user("ada")
    push = f"{BASE}/{ada.start('ada/iris', Contents({'a': b'one'}).manifest)['push']}"
    house.close()
    slow = House(tmp_path, body_timeout_s=0)
    client = Client(slow.app, ada.token)
    for path in (f"/objects/{sha256(b'ab')}", "/objects"):
        method = "POST" if path == "/objects" else "PUT"
        answer = client.request(method, f"{push}{path}", [b"a", b"b"], pause_s=0.01)
        assert answer.status == 413
        assert "too slowly" in answer.error.message
    assert on_disk(slow) == set()
    assert temporary(slow) == []
    slow.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_compressed_body_is_rejected(ada: Client, push: str, encoding: str) -> None:
    answer = put(ada, push, b"x", headers={"content-encoding": encoding})
    assert answer.status == 400
    assert isinstance(answer.error, InvalidInput)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_reported_and_stores_nothing(
    house: House, ada: Client, push: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryObjects, "put", full)
        answer = put(ada, push, b"x")
        assert answer.status == 507
        assert isinstance(answer.error, QuotaExceeded)
        assert ada.post(f"{push}/objects", body=frames(b"x")).status == 507
    assert missing(ada, push, sha256(b"x")) == [sha256(b"x")]
    assert put(ada, push, b"x").status == 200


@pytest.mark.parametrize(
    ("error", "resource"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("can't start new thread"), "threads or processes"),
        (OSError(errno.EMFILE, "Too many open files", "/r/tmp/a"), "open files"),
    ],
)
def test_what_ran_out_is_named_and_the_request_may_be_repeated(
    house: House, ada: Client, push: str, monkeypatch: pytest.MonkeyPatch, error: Exception, resource: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryObjects, "put", fail)
        answer = put(ada, push, b"x")
    assert (answer.status, answer.error.message) == (503, f"the registry ran out of {resource}")
    assert isinstance(answer.error, Unreachable)
    assert int(answer.headers["retry-after"]) > 0
    assert "/r/tmp" not in answer.text
    assert put(ada, push, b"x").status == 200


def test_what_a_killed_push_sent_is_not_sent_again(house: House, ada: Client, bob: Client, push: str) -> None:
    both, one = Contents({"a": b"one", "b": b"two"}), Contents({"a": b"one"})
    assert all(put(ada, push, data).status == 200 for data in (b"one", b"two"))
    again, other = ada.start("ada/iris", both.manifest), ada.start("ada/iris", one.manifest)
    assert again["missing"] == [both.manifest.hash]
    assert other["missing"] == [one.manifest.hash]
    for client, package in ((ada, "ada/other"), (bob, "bob/iris")):
        assert set(client.start(package, both.manifest)["missing"]) == both.bodies.keys()
    path = f"{BASE}/{other['push']}"
    assert put(ada, path, one.manifest.data).status == 200
    assert ada.post(f"{path}/publish", {"manifest": one.manifest.hash}).status == 200
    with house.registry.db.read() as connection:
        left = connection.execute(select(push_objects.c.hash).distinct()).scalars().all()
    assert left == [sha256(b"two")]  # as the package has the others
    path = f"{BASE}/{again['push']}"
    assert put(ada, path, both.manifest.data).status == 200
    published = {"manifest": both.manifest.hash, "parent": one.manifest.hash}
    assert ada.post(f"{path}/publish", published).status == 200


def test_object_that_a_killed_push_completes_later_is_found(ada: Client, push: str) -> None:
    contents = Contents({"a": b"one"})
    started = ada.start("ada/iris", contents.manifest)
    assert sha256(b"one") in started["missing"]
    assert put(ada, push, b"one").status == 200
    assert missing(ada, f"{BASE}/{started['push']}", *contents.bodies) == [contents.manifest.hash]


def test_unpublished_bytes_are_limited(tmp_path: Path) -> None:
    house = House(tmp_path, max_unpublished_bytes=1_000)
    ada, bob = house.user("ada"), house.user("bob")
    contents = Contents({"a": b"x" * 2_000})

    def send(client: Client, push: str) -> Answer:
        base = f"{wire.PACKAGES}/{client.name}/iris/pushes/{push}"
        return client.post(f"{base}/objects", body=b"".join(encode_frames(contents.bodies.items())))

    first, second = (ada.start("ada/iris", contents.manifest)["push"] for _ in range(2))
    assert send(ada, first).status == 200
    refused = send(ada, second)
    assert refused.status == 413
    assert "DATAPKG_REGISTRY_MAX_UNPUBLISHED_BYTES" in refused.error.message
    assert send(bob, bob.start("bob/iris", contents.manifest)["push"]).status == 200
    published = {"manifest": contents.manifest.hash}
    assert ada.post(f"{wire.PACKAGES}/ada/iris/pushes/{first}/publish", published).status == 200
    assert send(ada, second).status == 200
    house.close()


def test_objects_in_two_pushes_count_once_as_unpublished(tmp_path: Path) -> None:
    house = House(tmp_path, max_unpublished_bytes=1_000)
    ada = house.user("ada")
    bodies = [bytes([number]) * 600 for number in range(3)]

    def send(package: str, data: bytes) -> int:
        push = ada.start(package, Contents({"a": data}).manifest)["push"]
        body = b"".join(encode_frames([(sha256(data), data)]))
        return ada.post(f"{wire.PACKAGES}/{package}/pushes/{push}/objects", body=body).status

    assert [send("ada/one", bodies[0]), send("ada/two", bodies[0])] == [200, 200]
    assert [send("ada/three", bodies[1]), send("ada/four", bodies[2])] == [200, 413]
    house.close()


def test_parts_of_an_object_are_together_as_large_as_allowed(tmp_path: Path) -> None:
    house = House(tmp_path, max_object_bytes=100)
    ada = house.user("ada")
    push = f"{wire.PACKAGES}/ada/data/pushes/{ada.start('ada/data', Contents({}).manifest)['push']}"
    for size, status in ((101, 413), (100, 200)):
        data = bytes(size)
        begun = house.settings.temporary / f"upload-1-{sha256(data)}"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(data[:60])  # as an interrupted upload leaves it
        path = f"{push}/objects/{sha256(data)}"
        assert ada.get(path).json() == {"size_bytes": 60}
        assert ada.put(f"{path}?offset=60", body=data[60:]).status == status
        assert not begun.exists()
    house.close()
