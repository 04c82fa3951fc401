"""Signed addresses need no token, and are good for one object, as long as who asked for them may read it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from datapkg.errors import Forbidden, ObjectNotFound, PackageNotFound, Refused
from datapkg.format import wire
from registry_server.services import accounts
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.signed_urls import KEY_FILE
from registry_server.settings import Settings
from tests.registry_server.asgi import Answer, Client, House, sha256

BODY, OTHER = bytes(range(100)), b"another one"
PRIVATE = f"{wire.PACKAGES}/ada/private"


@pytest.fixture
def url(ada: Client) -> str:
    """A signed address of an object of a private package."""
    ada.publish("ada/private", {"a": BODY, "b": OTHER})
    return signed(ada)


def signed(client: Client, package: str = PRIVATE, body: bytes = BODY) -> str:
    answer = client.post(f"{package}/objects/urls", {"hashes": [sha256(body)]})
    assert answer.status == 200, answer.text
    (url,) = answer.json()["urls"]
    assert isinstance(url, str)
    return url


def is_unknown(answer: Answer) -> bool:
    """Return whether a package seems not to exist."""
    return answer.status == 404 and type(answer.error) is PackageNotFound


def test_an_address_needs_no_token(house: House, url: str) -> None:
    found = house.nobody.get(url)
    assert (found.status, found.body) == (200, BODY)
    assert found.headers["cache-control"].startswith("private")
    part = house.nobody.get(url, headers={"range": "bytes=-10"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, BODY[-10:], "bytes 90-99/100")
    head = house.nobody.request("HEAD", url)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "100")


def test_it_is_for_one_object_of_one_package_as_a_whole(house: House, ada: Client, url: str) -> None:
    ada.publish("ada/second", {"a": BODY})
    path, _, query = url.partition("?")
    assert is_unknown(house.nobody.get(path))
    at, by, _ = query.removeprefix("signed=").split("-")
    changed = [
        url.replace(sha256(BODY), sha256(OTHER)),
        url.replace("ada/private", "ada/second"),
        url.replace("ada/private", "ada/absent"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace(f"={at}-", f"={int(at) + 1}-"),
        url.replace(f"-{by}-", f"-{int(by) + 1}-"),
        *(f"{path}?signed={each}" for each in ("", "x", "1-1-", f"1-1-{'0' * 64}", "%00", "²-²-" + "0" * 64)),
    ]
    assert len(set(changed)) == len(changed)
    assert [each for each in changed if not is_unknown(house.nobody.get(each))] == []
    # A wrong one is not read with the rights of a token that comes with it.
    assert is_unknown(ada.get(f"{path}?signed=x"))
    for other in (f"{PRIVATE}/manifests/{sha256(BODY)}", f"{path}/chunks", PRIVATE):
        assert is_unknown(house.nobody.get(f"{other}?{query}"))


def test_it_expires(house: House, url: str) -> None:
    now, lasts = house.registry.now(), timedelta(seconds=house.settings.read_urls_s)
    house.registry = replace(house.registry, now=lambda: now + lasts - timedelta(minutes=1))
    assert house.nobody.get(url).status == 200
    house.registry = replace(house.registry, now=lambda: now + lasts)
    found = house.nobody.get(url)
    assert (found.status, type(found.error)) == (404, ObjectNotFound)
    assert "expired" in found.error.message
    assert is_unknown(house.nobody.get(url[:-1] + ("0" if url[-1] != "0" else "1")))


def test_one_that_was_signed_while_the_clock_was_ahead_is_no_good(house: House, url: str) -> None:
    now = house.registry.now()
    house.registry = replace(house.registry, now=lambda: now - timedelta(seconds=30))
    assert house.nobody.get(url).status == 200
    house.registry = replace(house.registry, now=lambda: now - timedelta(days=1))
    assert "expired" in house.nobody.get(url).error.message


def test_it_ends_with_the_key(house: House, ada: Client, url: str) -> None:
    key = house.settings.data / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    key.unlink()
    assert is_unknown(house.nobody.get(url))
    assert not key.exists()  # a reader makes none
    assert house.nobody.get(signed(ada)).body == BODY
    assert is_unknown(house.nobody.get(url))


def test_it_ends_with_the_access_of_who_asked_for_it(house: House, ada: Client, bob: Client, url: str) -> None:
    assert ada.put(f"{PRIVATE}/access/bob").status == 200
    of_bob = signed(bob)
    assert house.nobody.get(of_bob).body == BODY
    assert ada.delete(f"{PRIVATE}/access/bob").status == 200
    assert is_unknown(house.nobody.get(of_bob))
    assert house.nobody.get(url).status == 200
    assert ada.delete(PRIVATE).status == 200
    assert is_unknown(house.nobody.get(url))


def test_it_ends_with_the_tokens_of_who_asked_for_it(house: House, url: str) -> None:
    accounts.revoke_tokens(house.registry, THE_OPERATOR, "ada")
    assert is_unknown(house.nobody.get(url))
    token = accounts.add_token(house.registry, THE_OPERATOR, "ada")
    assert is_unknown(house.nobody.get(url))
    assert house.nobody.get(signed(Client(house.app, token, "ada"))).body == BODY


def test_who_gets_one(house: House, ada: Client, bob: Client, url: str) -> None:
    wanted = {"hashes": [sha256(BODY)]}
    for client in (bob, house.nobody):
        assert is_unknown(client.post(f"{PRIVATE}/objects/urls", wanted))
    missing = ada.post(f"{PRIVATE}/objects/urls", {"hashes": [sha256(BODY), sha256(b"none")]})
    assert (missing.status, type(missing.error)) == (404, ObjectNotFound)
    ada.publish("ada/open", {"a": BODY}, public=True)
    plain = signed(house.nobody, f"{wire.PACKAGES}/ada/open")
    assert plain == f"{wire.PACKAGES}/ada/open/objects/{sha256(BODY)}"


def test_an_operator_can_turn_them_off(tmp_path: Path) -> None:
    house = House(tmp_path)
    ada = house.user("ada")
    ada.publish("ada/private", {"a": BODY})
    url = signed(ada)
    house.registry = replace(house.registry, settings=Settings(data=house.settings.data, read_urls_s=0))
    refused = ada.post(f"{PRIVATE}/objects/urls", {"hashes": [sha256(BODY)]})
    assert isinstance(refused.error, Refused)
    assert not isinstance(refused.error, Forbidden)
    assert "DATAPKG_REGISTRY_READ_URLS_S" in refused.error.message
    assert "Authorization: Bearer" in refused.error.hint
    assert house.nobody.get(url).status == 404
    house.close()


def test_an_address_names_no_user_but_the_owner(ada: Client, bob: Client, url: str) -> None:
    assert ada.put(f"{PRIVATE}/access/bob").status == 200
    assert "bob" not in signed(bob)
    assert re.search(r"\?signed=\d+-\d+-[0-9a-f]{64}\Z", url)
