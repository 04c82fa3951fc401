"""Long manifests sent as deltas: built from objects of the package, verified as a whole, published by their changes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from datapkg.errors import HashMismatch, InvalidInput, InvalidManifest, ObjectNotFound, PackageNotFound, QuotaExceeded
from datapkg.format import wire
from datapkg.format.chunks import Step, chunks_of_lines, decode_chunks, line_offsets
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import encode_delta, steps_over
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.objects.packs import PackedObjects
from tests.registry_server.asgi import Answer, Client, Contents, House, sha256

IRIS = f"{wire.PACKAGES}/ada/iris"
FILES = {f"raw/{number:05}": b"%d" % (number % 7) for number in range(10_000)}
OLD = Contents(FILES)
NEW = Contents({**FILES, "raw/a": b"new", "raw/b": b"newer"})


@pytest.fixture
def owner(ada: Client) -> Client:
    """Return the owner of a private package with a long manifest."""
    return first_pushed(ada)


def first_pushed(client: Client) -> Client:
    assert len(OLD.manifest.data) > 1 << 20
    push = begun(client, OLD)
    assert client.put(f"{push}/objects/{OLD.manifest.hash}", body=OLD.manifest.data).status == 200
    send_objects(client, push, OLD, OLD.manifest.objects())
    assert publish(client, push, OLD, None).status == 200
    return client


def begun(client: Client, contents: Contents = NEW) -> str:
    """Start a push of the new state and return its URL."""
    started = client.post(f"{IRIS}/pushes", {"manifest": contents.manifest.hash, "hashes": []}).json()
    return f"{IRIS}/pushes/{started['push']}"


def steps(old: Manifest = OLD.manifest, new: Manifest = NEW.manifest) -> list[Step]:
    one, other = (MappedManifest(each.data, each.hash) for each in (old, new))
    return steps_over(other.gaps(one), old.hash, old.size_bytes)


def send(client: Client, push: str, told: Iterable[Step], new: Manifest = NEW.manifest) -> Answer:
    body = b"".join(encode_delta(list(told), memoryview(new.data)))
    return client.put(f"{push}/objects/{new.hash}/delta", body=body)


def send_objects(client: Client, push: str, contents: Contents, hashes: Iterable[str]) -> None:
    assert client.post(f"{push}/objects", body=b"".join(encode_frames(contents.needed(hashes)))).status == 200


def publish(client: Client, push: str, contents: Contents = NEW, parent: str | None = OLD.manifest.hash) -> Answer:
    return client.post(f"{push}/publish", {"manifest": contents.manifest.hash, "parent": parent})


def on_disk(house: House) -> set[str]:
    return set(PackedObjects(house.settings.data))


def test_state_is_published_from_a_delta(house: House, owner: Client) -> None:
    push = begun(owner)
    body = b"".join(encode_delta(steps(), memoryview(NEW.manifest.data)))
    assert len(body) < 1000
    assert send(owner, push, steps()).status == 200
    refused = publish(owner, push)
    assert isinstance(refused.error, ObjectNotFound)
    assert set(refused.error.detail["missing"]) == {sha256(b"new"), sha256(b"newer")}
    send_objects(owner, push, NEW, [sha256(b"new"), sha256(b"newer")])
    assert publish(owner, push).status == 200
    assert owner.get(f"{IRIS}/manifests/{NEW.manifest.hash}").body == NEW.manifest.data
    for body in (b"new", b"newer", b"0"):
        assert owner.get(f"{IRIS}/objects/{sha256(body)}").body == body
    resolved = owner.get(f"{IRIS}/resolve").json()
    assert resolved["manifest_size"] == NEW.manifest.size_bytes
    assert resolved["bytes_logical"] == 7 + 3 + 5
    assert publish(owner, push).json()["changed"] is False


def test_chunk_map_of_a_manifest(owner: Client, bob: Client) -> None:
    address = f"{IRIS}/manifests/{OLD.manifest.hash}/chunks"
    for _ in range(2):
        answer = owner.get(address)
        assert answer.headers["content-type"] == wire.CHUNKS_TYPE
        assert answer.headers["cache-control"].startswith("private")
        assert decode_chunks(answer.body) == chunks_of_lines(OLD.manifest.data, line_offsets(OLD.manifest.data))
    assert isinstance(bob.get(address).error, PackageNotFound)
    assert isinstance(owner.get(f"{IRIS}/manifests/{'0' * 64}/chunks").error, ObjectNotFound)
    short = owner.publish("ada/iris", {"a": b"0"}, force=True)
    assert owner.get(f"{IRIS}/manifests/{short}/chunks").body == b""


@pytest.mark.parametrize("public", [False, True])
def test_delta_cannot_use_objects_of_another_package(house: House, owner: Client, bob: Client, public: bool) -> None:
    secret = b"what bob has " * 100
    bob.publish("bob/secret", {"a": secret}, public=public)
    push, before = begun(owner), on_disk(house)
    refusals = []
    for hash in (sha256(secret), sha256(b"nobody has this")):
        answer = send(owner, push, [Step(hash, 0, len(secret))])
        refusals.append((answer.status, answer.text.replace(hash, "HASH")))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == 404
    assert on_disk(house) == before
    assert list(house.settings.temporary.glob("*")) == []


def test_delta_to_the_push_of_another_user_is_rejected(owner: Client, bob: Client) -> None:
    push = begun(owner)
    assert send(bob, push, steps()).status in (403, 404)
    assert send(owner, f"{IRIS}/pushes/none", steps()).status == 404


def test_delta_can_use_objects_of_the_same_push(owner: Client) -> None:
    push = begun(owner)
    send_objects(owner, push, NEW, [sha256(b"newer")])
    answer = owner.put(
        f"{push}/objects/{sha256(b'new')}/delta",
        body=b"".join(encode_delta([Step(sha256(b"newer"), 0, 3)], memoryview(b""))),
    )
    assert answer.status == 200
    assert owner.post(f"{push}/missing", {"hashes": [sha256(b"new")]}).json() == {"missing": []}


@pytest.mark.parametrize("start", [0, 1, (1 << 63) - 1])
def test_delta_beyond_the_end_of_an_object_is_rejected(house: House, owner: Client, start: int) -> None:
    push, before = begun(owner), on_disk(house)
    answer = send(owner, push, [Step(OLD.manifest.hash, start, OLD.manifest.size_bytes + 1 - start % 2)])
    assert isinstance(answer.error, InvalidInput | QuotaExceeded)
    assert on_disk(house) == before


def test_delta_with_a_wrong_result_is_not_stored(house: House, owner: Client) -> None:
    push, before = begun(owner), on_disk(house)
    for told in ([], steps()[:-1], [Step(OLD.manifest.hash, 0, OLD.manifest.size_bytes)]):
        assert isinstance(send(owner, push, told).error, HashMismatch)
    body = b"".join(encode_delta(steps(), memoryview(NEW.manifest.data)))
    for cut in (body[:-1], body[:60], b"x"):
        answer = owner.put(f"{push}/objects/{NEW.manifest.hash}/delta", body=cut)
        assert answer.status in (400, 422)
    assert on_disk(house) == before
    assert list(house.settings.temporary.glob("*")) == []
    assert send(owner, push, steps()).status == 200


def test_delta_does_not_bypass_the_size_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    house = House(tmp_path_factory.mktemp("small"), max_object_bytes=2 << 20)
    try:
        client = first_pushed(house.user("ada"))
        push = begun(client)
        answer = send(client, push, [Step(OLD.manifest.hash, 0, 1 << 20)] * 3)
        assert isinstance(answer.error, QuotaExceeded)
        assert answer.status == 413
        assert client.put(f"{push}/objects/{NEW.manifest.hash}/delta", body=bytes(3 << 20)).status == 413
    finally:
        house.close()


def test_objects_damaged_meanwhile_have_to_be_sent_again(house: House, owner: Client) -> None:
    lost = sha256(b"3")
    house.damage(lost)
    assert owner.get(f"{IRIS}/objects/{lost}").status == 422
    started = owner.post(f"{IRIS}/pushes", {"manifest": NEW.manifest.hash, "hashes": []}).json()
    assert started["damaged"] == [lost]
    push = f"{IRIS}/pushes/{started['push']}"
    assert send(owner, push, steps()).status == 200
    send_objects(owner, push, NEW, [sha256(b"new"), sha256(b"newer")])
    refused = publish(owner, push)
    assert isinstance(refused.error, ObjectNotFound)
    assert refused.error.detail["missing"] == [lost]
    send_objects(owner, push, NEW, [lost])
    assert publish(owner, push).status == 200
    assert owner.get(f"{IRIS}/objects/{lost}").body == b"3"


def test_damaged_earlier_manifest_is_not_used(house: House, owner: Client) -> None:
    house.damage(OLD.manifest.hash)
    push = begun(owner)
    assert isinstance(send(owner, push, steps()).error, HashMismatch)
    send_objects(owner, push, NEW, [sha256(b"new"), sha256(b"newer")])
    assert owner.put(f"{push}/objects/{NEW.manifest.hash}", body=NEW.manifest.data).status == 200
    assert publish(owner, push).status == 200
    assert owner.get(f"{IRIS}/manifests/{NEW.manifest.hash}").body == NEW.manifest.data


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"path":"raw/00500"', b'"path":"raw/00499"', "duplicate path"),
        (b'"path":"raw/00500"', b'"path":"raw/00498"', "out of order"),
        (b'"path":"raw/00500"', b'"path":"raw/../00500"', "not allowed"),
        (b'"path":"raw/00500","size":1', b'"path":"raw/00500","size":2', "size"),
    ],
)
def test_mistakes_in_changed_lines_are_rejected(owner: Client, old: bytes, new: bytes, what: str) -> None:
    data = OLD.manifest.data.replace(old, new)
    assert data != OLD.manifest.data
    hash = sha256(data)
    push = f"{IRIS}/pushes/{owner.post(f'{IRIS}/pushes', {'manifest': hash, 'hashes': []}).json()['push']}"
    assert owner.put(f"{push}/objects/{hash}", body=data).status == 200
    answer = owner.post(f"{push}/publish", {"manifest": hash, "parent": OLD.manifest.hash})
    assert isinstance(answer.error, InvalidManifest)
    assert what in str(answer.error)
