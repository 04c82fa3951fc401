"""Invisible packages look like missing ones; writing to another namespace is forbidden even if nothing is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from datapkg.errors import Forbidden, NotLoggedIn, ObjectNotFound, PackageNotFound
from datapkg.format import wire
from registry_server.services import policy
from registry_server.services.policy import Actor, PackageRequest
from tests.registry_server.asgi import Answer, Client, Contents, House, sha256

SECRET = b"nobody else's"
HASH = sha256(SECRET)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a user of a registry with the package ada/open, for requests that change nothing."""
    house = House(tmp_path_factory.mktemp("refusing"))
    ada = house.user("ada")
    ada.publish("ada/open", {"a": SECRET}, public=True)
    yield ada
    house.close()


READS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "/resolve", None),
    ("GET", "/resolve?state=sha256:123456", None),
    ("GET", "/resolve?state=1.0", None),
    ("GET", f"/manifests/{HASH}", None),
    ("GET", f"/checks/{HASH}", None),
    ("GET", f"/objects/{HASH}", None),
    ("HEAD", f"/objects/{HASH}", None),
    ("GET", f"/objects/{HASH}/chunks", None),
    ("POST", "/objects/read", {"hashes": [HASH]}),
    ("POST", "/objects/urls", {"hashes": [HASH]}),
    ("GET", "/log", None),
    ("GET", "/tags", None),
    ("GET", "/versions", None),
    ("GET", "/access", None),
]
WRITES: list[tuple[str, str, Any]] = [
    ("DELETE", "", None),
    ("POST", "/pushes", {"manifest": HASH, "hashes": [HASH]}),
    ("POST", "/pushes/abc/missing", {"hashes": [HASH]}),
    ("PUT", f"/pushes/abc/objects/{HASH}", None),
    ("POST", "/pushes/abc/objects", None),
    ("POST", "/pushes/abc/publish", {"manifest": HASH}),
    ("PUT", "/tags/stable", {"hash": HASH}),
    ("DELETE", "/tags/stable", None),
    ("PUT", "/versions/1.0", {"hash": HASH}),
    ("PUT", "/access/bob", None),
    ("PUT", "/access/public", {"confirm": True}),
    ("DELETE", "/access/bob", None),
]


def ask(client: Client, package: str, request: tuple[str, str, Any]) -> Answer:
    method, path, sends = request
    return client.request(method, f"{wire.PACKAGES}/{package}{path}", sends=sends)


@pytest.mark.parametrize("request_", READS, ids=lambda each: f"{each[0]} {each[1]}")
def test_unreadable_package_looks_like_a_missing_one(house: House, ada: Client, bob: Client, request_: Any) -> None:
    ada.publish("ada/secret", {"a": SECRET}, version="1.0")
    for client in (house.nobody, bob):
        hidden, absent = ask(client, "ada/secret", request_), ask(client, "ada/absent", request_)
        assert hidden.status == absent.status == 404
        assert hidden.body.replace(b"secret", b"absent") == absent.body
        assert hidden.headers | {"content-length": ""} == absent.headers | {"content-length": ""}
        if request_[0] != "HEAD":
            assert isinstance(hidden.error, PackageNotFound)


@pytest.mark.parametrize("request_", READS, ids=lambda each: f"{each[0]} {each[1]}")
@pytest.mark.parametrize("package", ["ADA/secret", "ada/SECRET", "a-b/c", "x" * 500 + "/y", "api/pip", "%00/%00"])
def test_reading_an_invalid_name_is_not_found(refusing: Client, package: str, request_: Any) -> None:
    assert ask(refusing, package, request_).status == 404


@pytest.mark.parametrize("request_", WRITES, ids=lambda each: f"{each[0]} {each[1]}")
def test_writing_to_another_namespace_is_forbidden_even_if_missing(
    house: House, ada: Client, bob: Client, request_: Any
) -> None:
    ada.publish("ada/secret", {"a": SECRET})
    ada.publish("ada/open", {"a": b"everybody's"}, public=True)
    for package in ("ada/secret", "ada/absent", "ada/open", "ADA/secret", "nosuchuser/x", "BOB/x"):
        refused = ask(bob, package, request_)
        assert refused.status == 403, refused.text
        assert isinstance(refused.error, Forbidden)
        unknown = ask(house.nobody, package, request_)
        assert unknown.status == 401
        assert isinstance(unknown.error, NotLoggedIn)
    assert ada.get(f"{wire.PACKAGES}/ada/secret").json()["public"] is False
    assert house.nobody.get(f"{wire.PACKAGES}/ada/open").status == 200


# What a writer is answered: 200, or why the request itself fails; 403 is for the owner alone.
OF_A_WRITER = {
    ("DELETE", ""): 403,
    ("POST", "/pushes"): 200,
    ("POST", "/pushes/abc/missing"): 404,
    ("PUT", f"/pushes/abc/objects/{HASH}"): 404,
    ("POST", "/pushes/abc/objects"): 404,
    ("POST", "/pushes/abc/publish"): 404,
    ("PUT", "/tags/stable"): 404,
    ("DELETE", "/tags/stable"): 404,
    ("PUT", "/versions/1.0"): 404,
    ("PUT", "/access/bob"): 403,
    ("PUT", "/access/public"): 403,
    ("DELETE", "/access/bob"): 403,
}


@pytest.mark.parametrize("request_", WRITES, ids=lambda each: f"{each[0]} {each[1]}")
def test_writer_can_push_tag_and_version_only(house: House, ada: Client, bob: Client, request_: Any) -> None:
    for name in ("shared", "other"):
        ada.publish(f"ada/{name}", {"a": SECRET})
    ada.put(f"{wire.PACKAGES}/ada/shared/access/bob", {"write": True})
    assert ask(bob, "ada/shared", request_).status == OF_A_WRITER[request_[:2]]
    for package in ("ada/other", "ada/absent"):
        assert ask(bob, package, request_).status == 403
    assert ada.get(f"{wire.PACKAGES}/ada/shared").json()["public"] is False


def test_writer_publishes_under_their_own_name(house: House, ada: Client, bob: Client) -> None:
    first = ada.publish("ada/shared", {"a": SECRET})
    base = f"{wire.PACKAGES}/ada/shared"
    granted = ada.put(f"{base}/access/bob", {"write": True}).json()
    assert (granted["readers"], granted["writers"]) == ([], ["bob"])
    assert ada.put(f"{base}/access/bob", {}).json() == granted, "a grant to read takes nothing away"
    assert bob.get(base).json()["role"] == "writer"
    assert bob.get(f"{base}/access").json()["writers"] == ["bob"]
    assert all(ask(bob, "ada/shared", each).status == 200 for each in (READS[0], READS[1], *READS[8:]))
    pushed = bob.push("ada/shared", Contents({"a": b"bob's"}), tag="beta", version="1.0")
    assert pushed.status == 200, pushed.text
    assert [each["author"] for each in ada.get(f"{base}/log").json()["entries"]] == ["bob", "ada"]
    hash = pushed.json()["hash"]
    assert pushed.json()["role"] == "writer"
    assert ada.get(f"{base}/tags").json()["tags"] == {"beta": hash, "latest": hash}
    assert bob.push("ada/shared", Contents({"a": b"more"}), public=True, confirm_public=True).status == 403
    assert bob.put(f"{base}/tags/latest", {"hash": first}).status == 200
    assert bob.delete(f"{base}/tags/beta").status == 200
    assert house.nobody.get(base).status == 404


def test_revoked_writer_cannot_finish_a_push(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/shared", {"a": SECRET})
    base = f"{wire.PACKAGES}/ada/shared"
    ada.put(f"{base}/access/bob", {"write": True})
    contents = Contents({"a": SECRET})
    push = bob.start("ada/shared", contents.manifest)["push"]
    ada.delete(f"{base}/access/bob")
    ada.put(f"{base}/access/bob", {})
    for each in (f"/pushes/{push}/missing", f"/pushes/{push}/publish"):
        sends = {"hashes": []} if each.endswith("missing") else {"manifest": contents.manifest.hash}
        assert bob.post(f"{base}{each}", sends).status == 403
    assert bob.get(base).json()["role"] == "reader"


def test_public_cannot_be_granted_writing(house: House, ada: Client) -> None:
    ada.publish("ada/open", {"a": SECRET}, public=True)
    assert ada.put(f"{wire.PACKAGES}/ada/open/access/public", {"confirm": True, "write": True}).status == 400


@pytest.mark.parametrize("request_", [*READS, *WRITES], ids=lambda each: f"{each[0]} {each[1]}")
@pytest.mark.parametrize("header", ["Bearer dpk_wrong", "Bearer", "Basic YTpi", "dpk_", "Bearer \xff\xfe"])
def test_wrong_token_is_rejected_even_where_none_is_needed(
    refusing: Client, request_: tuple[str, str, Any], header: str
) -> None:
    method, path, sends = request_
    nobody = Client(refusing.app)
    answer = nobody.request(method, f"{wire.PACKAGES}/ada/open{path}", sends=sends, headers={"authorization": header})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("request_", READS[:1] + READS[9:], ids=lambda each: f"{each[0]} {each[1]}")
def test_public_package_is_readable_by_everyone(house: House, ada: Client, bob: Client, request_: Any) -> None:
    ada.publish("ada/open", {"a": SECRET}, public=True)
    assert ask(house.nobody, "ada/open", request_).status == 200
    assert ask(bob, "ada/open", request_).status == 200


def test_an_object_is_served_only_through_a_package_that_holds_it(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/secret", {"a": SECRET})
    ada.publish("ada/open", {"a": b"everybody's"}, public=True)
    bob.publish("bob/own", {"a": b"bob's"})
    for package in ("ada/open", "bob/own"):
        answer = bob.get(f"{wire.PACKAGES}/{package}/objects/{HASH}")
        assert answer.status == 404
        assert isinstance(answer.error, ObjectNotFound)
        assert isinstance(bob.get(f"{wire.PACKAGES}/{package}/objects/{HASH}/chunks").error, ObjectNotFound)
        many = bob.post(f"{wire.PACKAGES}/{package}/objects/read", {"hashes": [HASH]})
        assert many.status == 404
        assert many.error.detail["missing"] == [HASH]
    assert ada.get(f"{wire.PACKAGES}/ada/secret/objects/{HASH}").body == SECRET


def test_missing_reveals_nothing_about_private_packages(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/secret", {"a": SECRET})
    contents = Contents({"mine": SECRET})
    assert HASH in bob.start("bob/copy", contents.manifest)["missing"]
    assert HASH not in ada.start("ada/copy", contents.manifest)["missing"]


def test_missing_considers_only_readable_packages(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/open", {"a": SECRET}, public=True)
    ada.publish("ada/shared", {"a": b"for bob"})
    ada.put(f"{wire.PACKAGES}/ada/shared/access/bob", {})
    started = bob.start("bob/copy", Contents({"x": SECRET, "y": b"for bob", "z": b"new"}).manifest)
    assert {sha256(b"new")} < set(started["missing"])
    assert not {HASH, sha256(b"for bob")} & set(started["missing"])


def test_manifest_cannot_refer_to_private_objects_of_others(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/secret", {"a": SECRET})
    contents = Contents({"stolen": SECRET})
    started = bob.start("bob/copy", contents.manifest)
    base = f"{wire.PACKAGES}/bob/copy/pushes/{started['push']}"
    bob.put(f"{base}/objects/{contents.manifest.hash}", body=contents.manifest.data)
    answer = bob.post(f"{base}/publish", {"manifest": contents.manifest.hash})
    assert answer.status == 404
    assert isinstance(answer.error, ObjectNotFound)
    assert answer.error.detail["missing"] == [HASH]
    assert bob.get(f"{wire.PACKAGES}/bob/copy").status == 404


def test_objects_of_one_push_are_not_available_to_another(house: House, ada: Client, bob: Client) -> None:
    contents = Contents({"a": SECRET})
    first = ada.start("ada/one", contents.manifest)
    ada.put(f"{wire.PACKAGES}/ada/one/pushes/{first['push']}/objects/{HASH}", body=SECRET)
    assert HASH in ada.start("ada/two", contents.manifest)["missing"]
    assert HASH in bob.start("bob/one", contents.manifest)["missing"]


def test_revoked_grant_also_revokes_the_objects(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/shared", {"a": SECRET})
    ada.put(f"{wire.PACKAGES}/ada/shared/access/bob", {})
    contents = Contents({"x": SECRET})
    started = bob.start("bob/copy", contents.manifest)
    assert HASH not in started["missing"]
    ada.delete(f"{wire.PACKAGES}/ada/shared/access/bob")
    assert bob.get(f"{wire.PACKAGES}/ada/shared/objects/{HASH}").status == 404
    base = f"{wire.PACKAGES}/bob/copy/pushes/{started['push']}"
    bob.put(f"{base}/objects/{contents.manifest.hash}", body=contents.manifest.data)
    assert bob.post(f"{base}/publish", {"manifest": contents.manifest.hash}).status == 404


def test_a_push_is_for_one_user_and_one_package(house: House, ada: Client, bob: Client) -> None:
    contents = Contents({"a": SECRET})
    push = ada.start("ada/one", contents.manifest)["push"]
    for client, package in ((ada, "ada/two"), (bob, "bob/one")):
        answer = client.put(f"{wire.PACKAGES}/{package}/pushes/{push}/objects/{HASH}", body=SECRET)
        assert answer.status == 404
    assert ada.put(f"{wire.PACKAGES}/ada/one/pushes/{push}/objects/{HASH}", body=SECRET).status == 200


def test_unknown_action_is_forbidden_to_everyone(house: House) -> None:
    for role in ("owner", "writer", "reader", "public", "operator", None):
        assert not policy.may("package:frobnicate", role)
    request = PackageRequest(house.registry, Actor(1, "ada"), "ada", "any")
    with house.registry.db.read() as connection, pytest.raises(Forbidden):
        policy.check_writer(connection, request, "package:frobnicate")
    with pytest.raises(Forbidden):
        policy.check_operator(policy.THE_OPERATOR, "package:frobnicate")


def test_actor_without_a_role_has_no_rights() -> None:
    assert all(None not in roles for roles in policy.ACTIONS.values())
    assert {action for action, roles in policy.ACTIONS.items() if "public" in roles} == {"package:read"}
