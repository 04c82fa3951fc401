"""Which token is sent, what a rejected token prevents, and what messages tell about it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from datapkg.api.accounts import login, whoami
from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import InvalidInput, NotLoggedIn, PackageNotFound, RejectedToken
from datapkg.format import wire
from datapkg.home import Home
from datapkg.remote.credentials import check_origin
from datapkg.remote.session import RegistrySession
from datapkg.remote.time_limits import SEND_TIMEOUT_S
from datapkg.resolve import find_installed
from registry_server.services import accounts, policy
from registry_server.services.registry import open_registry
from registry_server.settings import read_settings
from tests.conftest import Person
from tests.live_registry import LiveRegistry


def revoke(registry: LiveRegistry, name: str) -> None:
    opened = open_registry(read_settings({}, data=registry.data))
    accounts.revoke_tokens(opened, policy.THE_OPERATOR, name)
    opened.db.close()


@pytest.fixture
def packages(person: Person, tmp_path: Path) -> None:
    """Push a public and a private package."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.bin").write_bytes(f"{person.name} {number}".encode())
    for name, public in (("open", True), ("closed", False)):
        build_package(person.home(), person.ref(name), source)
        push_package(person.home(), person.ref(name), public=public)


def logged_in(person: Person, machine: str) -> Home:
    home = Home({"DATAPKG_HOME": str(person.folder / machine)})
    login(home, person.token, person.url)
    return Home({"DATAPKG_HOME": str(person.folder / machine)})


@pytest.mark.usefixtures("packages")
def test_revoked_token_does_not_prevent_public_reads(
    person: Person, new_person: Callable[[], Person], registry: LiveRegistry
) -> None:
    bob = new_person()
    home = logged_in(bob, "laptop")
    revoke(registry, bob.name)
    with pytest.warns(
        RejectedToken, match=rf"`datapkg login`; public .*: datapkg login --registry {bob.url}"
    ) as caught:
        (done,) = install_packages(home, [person.ref("open")])
    assert done.error is None
    assert len(caught) == 1
    assert find_installed(home, person.ref("open")).hash == find_installed(person.home(), person.ref("open")).hash
    (private,) = install_packages(home, [person.ref("closed")])
    assert isinstance(private.error, NotLoggedIn)
    assert "the token from `datapkg login` was sent" in private.error.message
    assert private.error.hint == f"datapkg login --registry {bob.url}"


@pytest.mark.usefixtures("packages")
def test_error_for_a_private_package_names_the_rejected_token(
    person: Person, new_person: Callable[[], Person], registry: LiveRegistry
) -> None:
    bob = new_person()
    revoke(registry, bob.name)
    client = bob.home().client()
    with pytest.warns(RejectedToken, match="the token from DATAPKG_TOKEN"):
        client.package(person.ref("open"))
    with pytest.raises(PackageNotFound, match="without the rejected token from DATAPKG_TOKEN") as caught:
        client.package(person.ref("closed"))
    assert "DATAPKG_TOKEN" in caught.value.hint


def test_identity_and_changes_are_not_requested_without_the_token(person: Person, registry: LiveRegistry) -> None:
    revoke(registry, person.name)
    client = person.home().client()
    with pytest.raises(NotLoggedIn, match="the token from DATAPKG_TOKEN was sent") as caught:
        client.me()
    assert "DATAPKG_TOKEN" in caught.value.hint
    with pytest.raises(NotLoggedIn, match="not valid"):
        client.start_push(person.ref("p"), "a" * 64, [])


def test_messages_explain_why_no_token_was_sent(person: Person) -> None:
    home = Home({"DATAPKG_HOME": str(person.folder), "DATAPKG_TOKEN": person.token})
    with pytest.raises(NotLoggedIn, match="sent to the registry in DATAPKG_REGISTRY, which is not set") as caught:
        whoami(home, person.url)
    assert caught.value.hint == f"export DATAPKG_REGISTRY={person.url}"
    with pytest.raises(PackageNotFound, match="no token was sent: DATAPKG_TOKEN is only sent") as caught:
        home.client(person.url).package(person.ref("none"))
    assert caught.value.hint == f"export DATAPKG_REGISTRY={person.url}"
    elsewhere = Home({**person.environ(), "DATAPKG_REGISTRY": "https://other.example.org"})
    with pytest.raises(NotLoggedIn, match=r"which is https://other\.example\.org"):
        whoami(elsewhere, person.url)
    with pytest.raises(PackageNotFound, match=r"\(no token was sent\)"):
        Home({"DATAPKG_HOME": str(person.folder)}).client(person.url).package(person.ref("none"))


def test_token_is_sent_to_the_same_url_in_any_spelling(person: Person) -> None:
    home = Home({**person.environ(), "DATAPKG_REGISTRY": person.url + "/"})
    assert whoami(home, person.url.replace("http://", "HTTP://"))["user"] == person.name


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080/x", "http://me:secret@127.0.0.1:8080", "http://127.0.0.1:8080?a"]
)
def test_address_with_more_than_a_host_names_the_right_one(address: str) -> None:
    with pytest.raises(InvalidInput, match="no user, password, path") as caught:
        check_origin(address)
    assert caught.value.hint == "write it as http://127.0.0.1:8080"


def test_read_without_its_token_is_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that rejects the token and, without it, redirects to its storage, which must not be followed here."""
    session = RegistrySession("http://localhost:9", "token")
    asked: list[dict[str, Any]] = []

    def answer(method: str, url: str, **options: Any) -> requests.Response:
        asked.append(options)
        response = requests.Response()
        response.status_code, response.url = (401 if len(asked) == 1 else 307), url
        body = b'{"error": {"code": "not_logged_in", "message": "no", "detail": {"type": "NotLoggedIn"}}}'
        response.raw = HTTPResponse(io.BytesIO(body), status=response.status_code, preload_content=False)
        response.headers["Location"] = "http://localhost:8/a"
        return response

    monkeypatch.setattr(session.transport, "answer", answer)
    path = f"{wire.PACKAGES}/ada/iris/objects/{'0' * 64}"
    with pytest.warns(RejectedToken), session.request("GET", path, work=10**9, follow=False) as response:
        assert response.status_code == 307
    assert [options["follow"] for options in asked] == [False, False]
    assert [options["timeout"][0] for options in asked] == [SEND_TIMEOUT_S] * 2, "the registry works as long"
