"""Long lists of build records at a registry: kept, private, and read only for the checks."""

from __future__ import annotations

from typing import Any

import pytest

from datapkg.errors import CorruptObject, ObjectNotFound, QuotaExceeded
from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import Step, encode_delta
from datapkg.format.record_lists import split_record
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from tests.registry_server.asgi import Answer, Client, Contents, House, sha256
from tests.registry_server.test_sweep import DAY, on_disk, sweep_later

IRIS = f"{wire.PACKAGES}/ada/iris"
CHECKS = [{"path": f"a{number}", "check": "unique", "outcome": "passed"} for number in range(1_000)]
SOURCES = [{"path": f"a{number}", "size": number} for number in range(2_000)]
SHORT, LISTS = split_record({"origin": "directory", "checks": CHECKS, "sources": SOURCES})
OTHER_SHORT, OTHER_LISTS = split_record({"origin": "directory", "checks": CHECKS[1:], "sources": SOURCES})


def push(
    client: Client, files: dict[str, bytes], short: Any = SHORT, lists: bytes = LISTS, package: str = "ada/iris"
) -> Answer:
    """Push a state with the lists of its record as an object, as a client does."""
    contents = Contents(files)
    started = client.start(package, contents.manifest)
    assert started["record_objects"] is True
    base = f"{wire.PACKAGES}/{package}/pushes/{started['push']}"
    needed = [*contents.needed(started["missing"]), (sha256(lists), lists)]
    assert client.post(f"{base}/objects", body=b"".join(encode_frames(needed))).status == 200
    body = {"manifest": contents.manifest.hash, "parent": started["latest"], "record": short}
    return client.post(f"{base}/publish", {**body, "record_object": sha256(lists)})


def checks(client: Client, hash: str) -> Answer:
    return client.get(f"{IRIS}/checks/{hash}")


def test_checks_are_read_from_the_object(ada: Client) -> None:
    hash = push(ada, {"a": b"one"}).json()["hash"]
    assert checks(ada, hash).json() == {"checks": CHECKS, "rules": []}
    assert push(ada, {"a": b"one"}, OTHER_SHORT, OTHER_LISTS).json()["changed"] is False
    assert checks(ada, hash).json()["checks"] == CHECKS[1:]


def test_object_of_a_record_is_not_readable(ada: Client, house: House) -> None:
    """The sources in a record may be private where the data are not."""
    bob = house.user("bob")
    push(ada, {"a": b"one"})
    ada.put(f"{IRIS}/access/public", {"confirm": True})
    assert bob.get(f"{IRIS}/objects/{sha256(b'one')}").status == 200
    for client in (ada, bob):
        for answer in (
            client.get(f"{IRIS}/objects/{sha256(LISTS)}"),
            client.get(f"{IRIS}/objects/{sha256(LISTS)}/chunks"),
            client.post(f"{IRIS}/objects/read", {"hashes": [sha256(LISTS)]}),
        ):
            assert (answer.status, type(answer.error)) == (404, ObjectNotFound)
    # Nor does another package get it by its hash: not as a record, as a file or as the base of a delta.
    started = bob.post(f"{wire.PACKAGES}/bob/x/pushes", {"manifest": "a" * 64, "hashes": [sha256(LISTS)]}).json()
    assert sha256(LISTS) in started["missing"]
    base = f"{wire.PACKAGES}/bob/x/pushes/{started['push']}"
    delta = b"".join(encode_delta([Step(sha256(LISTS), 0, 100)], memoryview(LISTS)))
    answer = bob.put(f"{base}/objects/{sha256(LISTS[:100])}/delta", body=delta)
    assert (answer.status, type(answer.error)) == (404, ObjectNotFound)
    contents = Contents({"a": b"two"})
    started = bob.start("bob/x", contents.manifest)
    base = f"{wire.PACKAGES}/bob/x/pushes/{started['push']}"
    bob.post(f"{base}/objects", body=b"".join(encode_frames(contents.needed(started["missing"]))))
    answer = bob.post(f"{base}/publish", {"manifest": contents.manifest.hash, "record_object": sha256(LISTS)})
    assert (answer.status, type(answer.error)) == (404, ObjectNotFound)


def test_next_record_is_sent_as_a_delta(ada: Client) -> None:
    push(ada, {"a": b"one"})
    contents = Contents({"a": b"two"})
    started = ada.post(f"{IRIS}/pushes", {"manifest": contents.manifest.hash, "hashes": [sha256(LISTS)]}).json()
    assert sha256(LISTS) not in started["missing"]
    steps = [Step(sha256(LISTS), 0, len(LISTS) - 1), Step(None, len(LISTS) - 1, 1)]
    new = LISTS[:-1] + b"x"
    delta = b"".join(encode_delta(steps, memoryview(new)))
    assert ada.put(f"{IRIS}/pushes/{started['push']}/objects/{sha256(new)}/delta", body=delta).status == 200


def test_sweep_keeps_objects_of_records_until_their_package_is_deleted(ada: Client, house: House) -> None:
    push(ada, {"a": b"one"})
    push(ada, {"a": b"one"}, OTHER_SHORT, OTHER_LISTS)
    sweep_later(house, DAY, 2 * DAY)
    assert {sha256(LISTS), sha256(OTHER_LISTS)} & on_disk(house) == {sha256(OTHER_LISTS)}
    ada.delete(IRIS)
    sweep_later(house, 3 * DAY, 4 * DAY)
    assert on_disk(house) == set()


def test_damaged_object_is_reported_and_sent_again(ada: Client, house: House) -> None:
    hash = push(ada, {"a": b"one"}).json()["hash"]
    house.damage(sha256(LISTS))
    (damaged,) = check(house.registry, THE_OPERATOR).damaged
    assert (damaged.hash, damaged.packages) == (sha256(LISTS), ["ada/iris"])
    assert type(checks(ada, hash).error) is CorruptObject
    started = ada.post(f"{IRIS}/pushes", {"manifest": hash, "hashes": [sha256(LISTS)]}).json()
    assert started["missing"] == [sha256(LISTS)]
    push(ada, {"a": b"one"})
    assert checks(ada, hash).json()["checks"] == CHECKS


def test_object_that_is_not_a_record_has_no_checks(ada: Client) -> None:
    hash = push(ada, {"a": b"one"}, lists=b"not a record").json()["hash"]
    assert checks(ada, hash).json() == {"checks": [], "rules": []}


@pytest.mark.parametrize(
    ("limits", "setting"),
    [({"max_record_bytes": 100}, "MAX_RECORD_BYTES"), ({"max_manifest_bytes": 200}, "MAX_MANIFEST_BYTES")],
)
def test_exceeded_limit_of_a_record_names_its_setting(tmp_path: Any, limits: dict[str, int], setting: str) -> None:
    house = House(tmp_path, **limits)
    ada = house.user("ada")
    answer = push(ada, {"a": b"one"})
    if answer.status == 200:
        answer = checks(ada, answer.json()["hash"])
    assert isinstance(answer.error, QuotaExceeded)
    assert setting in answer.error.message
    house.close()
