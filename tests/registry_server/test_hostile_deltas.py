"""Deltas that clients should not send, and two that race: no object is ever lost through its recipe."""

from __future__ import annotations

from random import Random

from datapkg.format import wire
from datapkg.format.chunks import Step
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import encode_delta
from registry_server.services import recipes
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import sweep
from tests.registry_server.asgi import Client, Contents, House, sha256

DATA = Random(3).randbytes((1 << 20) - 10)
OTHER = DATA[:500_000] + b"other" + DATA[500_005:]
FIRST, SECOND = sha256(DATA), sha256(OTHER)


def send(client: Client, package: str, push: str, data: bytes, steps: list[Step]) -> int:
    path = f"{wire.PACKAGES}/{package}/pushes/{push}/objects/{sha256(data)}/delta"
    return client.put(path, body=b"".join(encode_delta(steps, memoryview(data)))).status


def publish(client: Client, package: str, contents: Contents, push: str) -> None:
    path = f"{wire.PACKAGES}/{package}/pushes/{push}"
    client.post(f"{path}/objects", body=b"".join(encode_frames(contents.needed([contents.manifest.hash]))))
    assert client.post(f"{path}/publish", {"manifest": contents.manifest.hash}).status == 200


def is_served(house: House, client: Client, package: str, data: bytes) -> bool:
    sweep(house.registry, THE_OPERATOR)
    assert check(house.registry, THE_OPERATOR).damaged == []
    return client.get(f"{wire.PACKAGES}/{package}/objects/{sha256(data)}").body == data


def test_a_delta_of_an_object_against_itself_keeps_it_whole(house: House, ada: Client) -> None:
    contents = Contents({"raw/a": DATA})
    push = ada.start("ada/data", contents.manifest)["push"]
    assert ada.put(f"{wire.PACKAGES}/ada/data/pushes/{push}/objects/{FIRST}", body=DATA).status == 200
    assert send(ada, "ada/data", push, DATA, [Step(FIRST, 0, len(DATA))]) == 200
    publish(ada, "ada/data", contents, push)
    assert is_served(house, ada, "ada/data", DATA)


def test_a_step_without_bytes_is_refused(house: House, ada: Client, bob: Client) -> None:
    bob.publish("bob/secret", {"raw/a": OTHER})
    ada.publish("ada/data", {"raw/a": DATA})
    third = DATA[:-1] + b"?"
    push = ada.start("ada/data", Contents({"raw/a": third}).manifest)["push"]
    steps = [Step(SECOND, 0, 0), Step(FIRST, 0, len(DATA) - 1), Step(None, len(DATA) - 1, 1)]
    assert send(ada, "ada/data", push, third, steps) == 400
    assert not list(house.registry.objects.recipes)


def test_a_second_delta_of_an_object_leaves_its_recipe(house: House, ada: Client, bob: Client) -> None:
    """Else the first package's object would rely on what the second package may delete."""
    ada.publish("ada/data", {"raw/a": DATA})
    contents = Contents({"raw/a": OTHER})
    push = ada.start("ada/data", contents.manifest)["push"]
    steps = [Step(FIRST, 0, 500_000), Step(None, 500_000, 5), Step(FIRST, 500_005, len(DATA) - 500_005)]
    assert send(ada, "ada/data", push, OTHER, steps) == 200
    before = house.registry.objects.recipes.find(SECOND)
    recipes.replace_wholes(house.registry, [SECOND])
    assert not house.registry.objects.loose.path(SECOND).exists()
    third = OTHER + b"more"
    bob.publish("bob/mine", {"raw/a": third})
    recipes.prepare(house.registry, SECOND, [Step(sha256(third), 0, len(OTHER))])
    assert house.registry.objects.recipes.find(SECOND) == before
