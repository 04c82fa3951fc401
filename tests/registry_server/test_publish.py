"""Publishing: one transaction, an optimistic check, and repeatable requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from datapkg.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidManifest,
    InvalidName,
    NotFound,
    ObjectNotFound,
    QuotaExceeded,
)
from datapkg.format import push_wire, wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import FileNode, Manifest
from registry_server.db import events
from registry_server.services import publish
from tests.registry_server.asgi import Client, Contents, House, sha256

ONE, TWO, THREE = ({"a": body} for body in (b"one", b"two", b"three"))
IRIS = f"{wire.PACKAGES}/ada/iris"


def latest(client: Client, package: str = "ada/iris") -> Any:
    answer = client.get(f"{wire.PACKAGES}/{package}")
    return answer.json()["latest"] if answer.status == 200 else None


def pushes(client: Client) -> list[str]:
    return [entry["hash"] for entry in client.get(f"{IRIS}/log").json()["entries"]]


def test_first_push_creates_the_package(ada: Client) -> None:
    contents = Contents(ONE)
    assert ada.start("ada/iris", contents.manifest)["exists"] is False
    answer = ada.push("ada/iris", contents)
    assert answer.json() == {
        "package": "ada/iris",
        "hash": contents.manifest.hash,
        "url": "https://data.example.org/ada/iris",
        "changed": True,
        "public": False,
        "unchecked": [],
        "role": "owner",
    }
    assert latest(ada) == contents.manifest.hash
    again = ada.start("ada/iris", contents.manifest)
    assert (again["missing"], again["latest"], again["exists"]) == ([], contents.manifest.hash, True)


def test_latest_is_described_again_where_another_push_replaces_it_meanwhile(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Contents(ONE, {"title": "first"}), Contents(TWO, {"title": "second"})
    assert ada.push("ada/iris", one).status == 200
    prepare = publish._prepare

    def then_another(*args: Any) -> Any:
        monkeypatch.setattr(publish, "_prepare", prepare)
        prepared = prepare(*args)
        assert ada.push("ada/iris", two).json()["changed"] is True
        return prepared

    monkeypatch.setattr(publish, "_prepare", then_another)
    assert ada.push("ada/iris", one, force=True).json()["changed"] is True
    assert latest(ada) == one.manifest.hash
    for title, count in (("first", 1), ("second", 0)):
        found = ada.get(f"{wire.PACKAGES}?q={title}").json()["packages"]
        assert [each["title"] for each in found] == [title] * count


def test_push_on_an_old_parent_is_a_conflict_naming_both_states(ada: Client) -> None:
    first = ada.publish("ada/iris", ONE)
    second = ada.publish("ada/iris", TWO)
    answer = ada.push("ada/iris", Contents(THREE), parent=first)
    assert answer.status == 409
    assert isinstance(answer.error, Conflict)
    assert answer.error.detail == {"expected": first, "actual": second}
    assert latest(ada) == second
    assert ada.push("ada/iris", Contents(THREE), parent=first, force=True).json()["changed"] is True
    assert latest(ada) == Contents(THREE).manifest.hash


@pytest.mark.parametrize("parent", [None, "f" * 64])
def test_unknown_parent_is_a_conflict(ada: Client, parent: str | None) -> None:
    ada.publish("ada/iris", ONE)
    assert ada.push("ada/iris", Contents(TWO), parent=parent).status == 409


def test_parent_in_a_deleted_package_is_a_conflict(ada: Client) -> None:
    first = ada.publish("ada/iris", ONE)
    ada.delete(IRIS)
    answer = ada.push("ada/iris", Contents(TWO), parent=first)
    assert answer.status == 409
    assert answer.error.detail == {"expected": first, "actual": None}
    assert ada.get(IRIS).status == 404


@pytest.mark.parametrize("parent", [None, "f" * 64])
def test_pushing_the_latest_state_succeeds_with_any_parent(ada: Client, parent: str | None) -> None:
    hash = ada.publish("ada/iris", ONE)
    answer = ada.push("ada/iris", Contents(ONE), parent=parent, tag="stable", version="1.0")
    assert (answer.status, answer.json()["changed"]) == (200, False)
    assert pushes(ada) == [hash]
    assert ada.get(f"{IRIS}/tags").json()["tags"] == {"latest": hash, "stable": hash}
    assert ada.get(f"{IRIS}/versions").json()["versions"][0]["version"] == "1.0"


def test_repeated_publish_request_succeeds(ada: Client) -> None:
    contents = Contents(ONE)
    started = ada.start("ada/iris", contents.manifest)
    base = f"{IRIS}/pushes/{started['push']}"
    ada.post(f"{base}/objects", body=b"".join(encode_frames(contents.bodies.items())))
    answers = [ada.post(f"{base}/publish", {"manifest": contents.manifest.hash, "version": "1"}) for _ in range(3)]
    assert [each.json()["changed"] for each in answers] == [True, False, False]
    assert pushes(ada) == [contents.manifest.hash]


def test_pushing_an_earlier_state_again_is_a_new_push(ada: Client) -> None:
    first, second = ada.publish("ada/iris", ONE), ada.publish("ada/iris", TWO)
    ada.publish("ada/iris", ONE)
    assert pushes(ada) == [first, second, first]
    assert latest(ada) == first


def test_one_of_two_concurrent_pushes_wins(ada: Client) -> None:
    parent = ada.publish("ada/iris", ONE)
    with ThreadPoolExecutor(4) as pool:
        contents = [Contents({"a": f"racer {number}".encode()}) for number in range(4)]
        answers = list(pool.map(lambda each: ada.push("ada/iris", each, parent=parent), contents))
    assert sorted(each.status for each in answers) == [200, 409, 409, 409]
    winner = next(each for each in answers if each.status == 200).json()["hash"]
    assert latest(ada) == winner
    assert pushes(ada) == [winner, parent]


def test_making_a_package_public_needs_confirmation(house: House, ada: Client) -> None:
    ada.publish("ada/iris", ONE)
    answer = ada.push("ada/iris", Contents(TWO), public=True)
    assert answer.status == 403
    assert isinstance(answer.error, Forbidden)
    assert "shows all its earlier pushes" in answer.error.message
    assert "--yes" in answer.error.hint
    assert latest(ada) == Contents(ONE).manifest.hash
    assert house.nobody.get(IRIS).status == 404
    answer = ada.push("ada/iris", Contents(TWO), public=True, confirm_public=True)
    assert answer.json()["public"] is True
    assert house.nobody.get(IRIS).status == 200


def test_new_public_package_needs_no_confirmation(house: House, ada: Client) -> None:
    ada.publish("ada/iris", ONE, public=True)
    assert house.nobody.get(IRIS).json()["public"] is True
    ada.publish("ada/iris", TWO, public=True)
    assert ada.publish("ada/iris", THREE) == house.nobody.get(IRIS).json()["latest"]


def test_a_version_never_moves(ada: Client) -> None:
    first = ada.publish("ada/iris", ONE, version="1.0")
    answer = ada.push("ada/iris", Contents(TWO), version="1.0.0", tag="new")
    assert answer.status == 409
    assert answer.error.detail["actual"] == first
    assert (latest(ada), pushes(ada)) == (first, [first])
    assert ada.get(f"{IRIS}/tags").json()["tags"] == {"latest": first}
    assert ada.get(f"{IRIS}/manifests/{Contents(TWO).manifest.hash}").status == 404


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"version": "x"}, InvalidName),
        ({"version": "1.0+local"}, InvalidName),
        ({"tag": "1.0"}, InvalidName),
        ({"tag": "UPPER"}, InvalidName),
        ({"tag": ""}, InvalidName),
        ({"message": "a\0b"}, InvalidInput),
        ({"message": "x" * 10_001}, InvalidInput),
        ({"parent": "nohash"}, InvalidInput),
        ({"unknown": 1}, InvalidInput),
        ({"record": {"a": 1 << 60}}, InvalidInput),
        ({"manifest": "0" * 64}, InvalidInput),
    ],
)
def test_invalid_request_publishes_nothing(ada: Client, wrong: dict[str, Any], error: type[Exception]) -> None:
    contents = Contents(ONE)
    push = ada.start("ada/iris", contents.manifest)["push"]
    ada.post(f"{IRIS}/pushes/{push}/objects", body=b"".join(encode_frames(contents.bodies.items())))
    answer = ada.post(f"{IRIS}/pushes/{push}/publish", {"manifest": contents.manifest.hash, **wrong})
    assert answer.status == 400
    assert isinstance(answer.error, error)
    assert ada.get(IRIS).status == 404


def test_too_deeply_nested_record_is_rejected(ada: Client) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    answer = ada.push("ada/iris", Contents(ONE), record=deep)
    assert (answer.status, isinstance(answer.error, InvalidInput)) == (400, True)


def send(ada: Client, manifest: bytes, *bodies: bytes) -> Any:
    """Publish any bytes as a manifest."""
    hash = sha256(manifest)
    push = ada.post(f"{IRIS}/pushes", {"manifest": hash, "hashes": []}).json()["push"]
    frames = [(sha256(body), body) for body in (manifest, *bodies)]
    assert ada.post(f"{IRIS}/pushes/{push}/objects", body=b"".join(encode_frames(frames))).status == 200
    return ada.post(f"{IRIS}/pushes/{push}/publish", {"manifest": hash})


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}\n",
        b"no manifest\n",
        b'{"datapkg":2}\n',
        b'{"datapkg":1}',
        b'{"datapkg":1}\n{"hash":"' + b"0" * 64 + b'","kind":"file","path":"../evil","size":0}\n',
        b'{"datapkg":1,"meta":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_invalid_manifest_is_not_published(ada: Client, manifest: bytes) -> None:
    answer = send(ada, manifest)
    assert answer.status == 400
    assert isinstance(answer.error, InvalidManifest)
    assert ada.get(IRIS).status == 404


def test_manifest_with_a_wrong_size_is_not_published(ada: Client) -> None:
    body = b"four"
    manifest = Manifest.make([FileNode(path="a", hash=sha256(body), size=5)])
    answer = send(ada, manifest.data, body)
    assert answer.status == 400
    assert isinstance(answer.error, InvalidManifest)
    assert ada.get(IRIS).status == 404


def test_missing_objects_are_named(ada: Client) -> None:
    contents = Contents({"a": b"1", "b": b"2"})
    push = ada.start("ada/iris", contents.manifest)["push"]
    base = f"{IRIS}/pushes/{push}"
    answer = ada.post(f"{base}/publish", {"manifest": contents.manifest.hash})
    assert (answer.status, answer.error.detail["missing"]) == (404, [contents.manifest.hash])
    ada.put(f"{base}/objects/{contents.manifest.hash}", body=contents.manifest.data)
    ada.put(f"{base}/objects/{sha256(b'1')}", body=b"1")
    answer = ada.post(f"{base}/publish", {"manifest": contents.manifest.hash})
    assert isinstance(answer.error, ObjectNotFound)
    assert answer.error.detail["missing"] == [sha256(b"2")]
    ada.put(f"{base}/objects/{sha256(b'2')}", body=b"2")
    assert ada.post(f"{base}/publish", {"manifest": contents.manifest.hash}).status == 200


def test_push_expires(house: House, ada: Client) -> None:
    contents = Contents(ONE)
    push = ada.start("ada/iris", contents.manifest)["push"]
    later = house.registry.now() + timedelta(hours=25)
    house.registry = replace(house.registry, now=lambda: later)
    for method, path, body in (
        ("POST", "missing", b'{"hashes":[]}'),
        ("POST", "objects", b""),
        ("PUT", f"objects/{sha256(b'one')}", b"one"),
        ("POST", "publish", b'{"manifest":"%s"}' % contents.manifest.hash.encode()),
    ):
        headers = {"content-type": "application/json"}
        answer = ada.request(method, f"{IRIS}/pushes/{push}/{path}", body, headers=headers)
        assert answer.status == 404, path
        assert isinstance(answer.error, NotFound)
        assert answer.error.hint == "push again"


@pytest.mark.parametrize("name", ["Iris", "a-b", "_a", "a__b", "class", "x" * 65])
def test_invalid_package_name_is_rejected(ada: Client, name: str) -> None:
    answer = ada.post(f"{wire.PACKAGES}/ada/{name}/pushes", {"manifest": "0" * 64, "hashes": []})
    assert answer.status == 400
    assert isinstance(answer.error, InvalidName)


def test_audit_survives_deletion_of_the_package(house: House, ada: Client) -> None:
    hash = ada.publish("ada/iris", ONE, version="1.0", public=True)
    ada.delete(IRIS)
    with house.registry.db.read() as connection:
        found = events.about(connection, "ada/iris")
    assert [(action, actor) for action, actor, _ in found] == [
        ("package:add", "ada"),
        ("package:publish", "ada"),
        ("package:tag", "ada"),
        ("package:version", "ada"),
        ("package:delete", "ada"),
    ]
    assert found[1][2]["hash"] == hash


@pytest.mark.parametrize("step", ["states.keep", "states.index", "pushes.finish", "tags_versions.add_version"])
def test_failure_at_any_step_publishes_nothing(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the power went out")

    module, name = step.split(".")
    before = ada.publish("ada/iris", ONE)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(publish, module), name, fails)
        answer = ada.push("ada/iris", Contents(TWO), version="2.0", tag="new", public=True, confirm_public=True)
        assert answer.status == 500
        assert b"power" not in answer.body
    assert (latest(ada), pushes(ada)) == (before, [before])
    assert house.nobody.get(IRIS).status == 404
    assert ada.get(f"{IRIS}/objects/{sha256(b'two')}").status == 404
    assert ada.publish("ada/iris", TWO, version="2.0") == latest(ada)


def test_exceeded_limit_names_its_setting(tmp_path: Any) -> None:
    house = House(tmp_path, max_package_bytes=10, max_record_bytes=100, max_previews_bytes=50, max_manifest_bytes=1000)
    ada = house.user("ada")
    many = {f"file{number:03}": b"" for number in range(20)}
    for files, publish_, setting in [
        ({"a": b"x" * 11}, {}, "DATAPKG_REGISTRY_MAX_PACKAGE_BYTES"),
        ({"a": b"x"}, {"record": {"a": "x" * 100}}, "DATAPKG_REGISTRY_MAX_RECORD_BYTES"),
        ({"a": b"x"}, {"previews": {"a": "x" * 50}}, "DATAPKG_REGISTRY_MAX_PREVIEWS_BYTES"),
        (many, {}, "DATAPKG_REGISTRY_MAX_MANIFEST_BYTES"),
    ]:
        answer = ada.push("ada/iris", Contents(files), **publish_)
        assert answer.status == 413
        assert isinstance(answer.error, QuotaExceeded)
        assert setting in answer.error.message
    house.close()


def test_publish_check_raises_like_publishing_and_changes_nothing(tmp_path: Any) -> None:
    house = House(
        tmp_path, max_package_bytes=100, max_object_bytes=50, max_unpublished_bytes=80, max_tags=2, max_versions=1
    )
    ada = house.user("ada")
    first = ada.publish("ada/iris", ONE, version="1.0", tag="stable")
    contents = Contents(TWO)
    push = ada.start("ada/iris", contents.manifest)["push"]
    sizes = {"manifest_size": 1, "bytes_logical": 1}

    def check(**given: Any) -> Any:
        size = {name: given.pop(name) for name in list(given) if name in push_wire.PublishCheck.__struct_fields__}
        asked = {"publish": {"manifest": contents.manifest.hash, "parent": first, **given}, **sizes, **size}
        return ada.post(f"{IRIS}/pushes/{push}/publish/check", asked)

    before = ada.get(IRIS).json()
    assert check().json() == {"changed": True}
    for given, kind in [
        ({"parent": "f" * 64}, Conflict),
        ({"version": "1.0.0"}, Conflict),
        ({"version": "2.0"}, QuotaExceeded),
        ({"tag": "third"}, QuotaExceeded),
        ({"tag": "Not"}, InvalidName),
        ({"public": True}, Forbidden),
        ({"message": "\0"}, InvalidInput),
        ({"bytes_logical": 101}, QuotaExceeded),
        ({"largest_to_send": 51}, QuotaExceeded),
        ({"bytes_to_send": 81}, QuotaExceeded),
    ]:
        assert type(check(**given).error) is kind, given
    assert check(public=True, confirm_public=True, tag="stable").status == 200
    assert check(parent=None, force=True).status == 200
    assert ada.get(IRIS).json() == before
    assert house.user("bob").post(f"{IRIS}/pushes/{push}/publish/check", {}).status in (400, 403)
