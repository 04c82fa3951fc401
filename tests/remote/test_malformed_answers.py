"""Malformed or endlessly slow answers of a registry cause a datapkg error and are never accepted."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapkg.api import accounts, history, maintenance
from datapkg.api.install import install_packages
from datapkg.api.log import log
from datapkg.api.search import search
from datapkg.errors import DatapkgError, Unreachable
from datapkg.format import push_wire, wire
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote import transport
from datapkg.remote.http_client import HttpClient
from datapkg.remote.session import RegistrySession
from tests.conftest import Person
from tests.remote.malicious_registry import Serve, answering, server

REF = Ref("alice", "iris")


def home_at(tmp_path: Path, url: str) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home"), "DATAPKG_REGISTRY": url})


@pytest.mark.parametrize("name", ["../../../../evil", "..", "a\0b"])
@pytest.mark.parametrize("kind", ["tags", "versions"])
def test_names_that_are_paths_are_rejected(tmp_path: Path, name: str, kind: str) -> None:
    reply = {"package": "alice/iris", "hash": "a" * 64, "manifest_size": 1, "bytes_logical": 1, kind: {name: "b" * 64}}
    with server(answering(reply)) as url:
        (outcome,) = install_packages(home_at(tmp_path, url), [REF])
    assert isinstance(outcome.error, Unreachable)
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("value", [[], None, {}, 5, "text", {"hash": 5}, {"packages": [1]}])
def test_malformed_answers_are_reported_as_unreachable(tmp_path: Path, value: object) -> None:
    with server(answering(value)) as url:
        home = home_at(tmp_path, url)
        for ask in (
            lambda: accounts.whoami(home),
            lambda: search(home, "x"),
            lambda: history.tags(home, REF),
            lambda: maintenance.delete(home, REF),
            lambda: home.client().access(REF),
        ):
            with pytest.raises(DatapkgError) as caught:
                ask()
            assert caught.value.exit_code in (7, 8), caught.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"push": "x", "missing": ["a" * 64, "A" * 64]}, "missing[1]: Expected `str` matching"),
        ({"push": "x", "missing": ["a" * 64 + "\n"]}, "missing[0]: Expected `str`"),
        ({"push": "x\n", "missing": []}, "push: Expected `str` matching"),
        ({"push": "x", "missing": [], "public": 1}, "public: Expected `bool`, got `int`"),
        ({"push": "x"}, "the answer: Object missing required field `missing`"),
        ({"push": "\ud800", "missing": []}, "not JSON"),
    ],
)
def test_error_names_the_malformed_value(value: object, message: str) -> None:
    with server(answering(value)) as url, pytest.raises(Unreachable) as caught:
        HttpClient(RegistrySession(url)).start_push(REF, "a" * 64, [])
    assert f"answered POST {push_wire.PUSHES.format(user=REF.user, name=REF.name)} " in caught.value.message
    assert message in caught.value.message


def test_unknown_fields_of_a_newer_registry_are_ignored() -> None:
    with server(answering({"push": "x", "missing": [], "news": 1})) as url:
        assert HttpClient(RegistrySession(url)).start_push(REF, "a" * 64, []) == push_wire.PushStarted(
            push="x", missing=[]
        )


@pytest.mark.parametrize("page", [{"packages": [], "entries": [], "next": "x"}])
def test_circular_pages_end(tmp_path: Path, page: object) -> None:
    with server(answering(page)) as url:
        home = home_at(tmp_path, url)
        with pytest.raises(Unreachable, match="without an end"):
            search(home, "x")
        with pytest.raises(Unreachable, match="without an end"):
            log(home, REF, remote=True)


@pytest.mark.parametrize("problems", [5, [1], [[1, 2]]])
def test_malformed_error_is_reported(tmp_path: Path, problems: object) -> None:
    error = {"code": "invalid", "message": "no", "detail": {"type": "InvalidInput", "problems": problems}}
    with server(answering({"error": error}, "400 Bad Request")) as url, pytest.raises(DatapkgError, match="no"):
        accounts.whoami(home_at(tmp_path, url))


def send_slowly(pieces: Iterator[bytes]) -> Serve:
    def serve(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)

    return serve


def forever(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield piece


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
)
def test_endlessly_slow_answer_times_out(monkeypatch: pytest.MonkeyPatch, start: bytes, piece: bytes) -> None:
    monkeypatch.setattr("datapkg.remote.time_limits.PATIENCE_S", 1)
    with server(send_slowly(forever(start, piece))) as url:
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            RegistrySession(url, tries=1, read_timeout_s=0.5).reply(wire.Me, "GET", wire.ME)
        assert time.monotonic() - begun < 20


def test_netrc_is_ignored_after_a_redirect(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\nmachine localhost login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        if b"/again" not in received[-1]:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
            return
        answering({"user": None})(connection)

    with server(serve, received) as url:
        assert RegistrySession(url).reply(wire.Me, "GET", wire.ME) == wire.Me(user=None)
    assert b"/again" in received[1]
    assert b"authorization" not in received[1].lower()


def test_proxy_is_not_used_for_this_machine(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert person.home().client().me().user == person.name


def test_request_of_another_thread_leads_no_token_to_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One session serves many threads: while one asks this machine, another may follow a redirect elsewhere."""
    asked: list[bytes] = []
    with server(answering({"user": None}), []) as url, server(answering({"user": None}), asked) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        session = RegistrySession(url, "dpk_secret", tries=1)
        wrapped = transport._named_redirect

        def meanwhile(start: str, at: str) -> contextlib.AbstractContextManager[None]:
            if "elsewhere" not in at:
                session.transport.answer("GET", "http://elsewhere.invalid/", follow=False).close()
            return wrapped(start, at)

        monkeypatch.setattr(transport, "_named_redirect", meanwhile)
        session.reply(wire.Me, "GET", wire.ME)
    assert b"elsewhere" in asked[0]
    assert b"dpk_secret" not in b"".join(asked)


def test_redirect_to_another_host_carries_no_token() -> None:
    received: list[bytes] = []
    sent: list[bytes] = []
    with server(answering({"user": None}), received) as target:
        head = f"HTTP/1.1 302 Found\r\nLocation: {target}/api/v1/me\r\nContent-Length: 0\r\n\r\n".encode()
        with server(lambda connection: connection.sendall(head), sent) as url:
            RegistrySession(url, "dpk_secret", tries=1).reply(wire.Me, "GET", wire.ME)
    assert b"dpk_secret" in sent[0]
    assert b"GET /api/v1/me" in received[0]
    assert b"dpk_secret" not in received[0]
