"""A registry in its own process: users, concurrent pushes, kills, large bodies, bad connections."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.objects.packs import PackedObjects
from tests.examples import examples
from tests.live_registry import LiveRegistry, live_registry
from tests.registry_server.asgi import Contents, sha256

MIB = 1 << 20


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LiveRegistry]:
    with live_registry(tmp_path) as registry:
        yield registry


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """A registry shared by tests, which must not be harmed by what they send."""
    with live_registry(tmp_path_factory.mktemp("steady")) as registry:
        yield registry


class Person(requests.Session):
    """A user with a token, or an anonymous client."""

    def __init__(self, registry: LiveRegistry, token: str | None = None) -> None:
        super().__init__()
        self.api = registry.url + wire.PACKAGES
        self.trust_env = False
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def push(self, package: str, contents: Contents, **publish: Any) -> requests.Response:
        base = f"{self.api}/{package}/pushes"
        asked = {"manifest": contents.manifest.hash, "hashes": list(contents.manifest.objects())}
        answer = self.post(base, json=asked, timeout=60)
        if answer.status_code != 200:
            return answer
        started = answer.json()
        base += f"/{started['push']}"
        needed = contents.needed(started["missing"])
        if len(contents.manifest.data) > wire.SMALL_BYTES and needed[0][0] == contents.manifest.hash:
            hash, data = needed.pop(0)
            self.put(f"{base}/objects/{hash}", data=data, timeout=60).raise_for_status()
        self.post(f"{base}/objects", data=b"".join(encode_frames(needed)), timeout=60).raise_for_status()
        publish = {"manifest": contents.manifest.hash, "parent": started["latest"], **publish}
        return self.post(f"{base}/publish", json=publish, timeout=60)


def test_two_users_share_private_and_public_packages(registry: LiveRegistry) -> None:
    with (
        Person(registry, registry.add_user("ada")) as ada,
        Person(registry, registry.add_user("bob")) as bob,
        Person(registry) as nobody,
    ):
        published = ada.push("ada/open", Contents({"a": b"1"}), public=True).json()
        ada.push("ada/secret", Contents({"a": b"2"}))
        assert published["url"] == f"{registry.url}/ada/open"
        for person, status in ((ada, 200), (bob, 404), (nobody, 404)):
            assert person.get(f"{person.api}/ada/secret", timeout=10).status_code == status
            assert person.get(f"{person.api}/ada/open", timeout=10).status_code == 200
        assert bob.push("ada/open", Contents({"a": b"3"})).status_code == 403
        assert [each["package"] for each in nobody.get(nobody.api, timeout=10).json()["packages"]] == ["ada/open"]


def test_restarted_registry_keeps_its_packages(tmp_path: Path) -> None:
    contents = Contents({f"f{number}": b"%d" % number for number in range(200)})
    with live_registry(tmp_path) as registry:
        token = registry.add_user("ada")
        with Person(registry, token) as ada:
            ada.push("ada/iris", contents)
        registry.kill()
    with live_registry(tmp_path) as registry, Person(registry, token) as ada:
        info = ada.get(f"{ada.api}/ada/iris", timeout=10).json()
        assert info["latest"] == contents.manifest.hash
        for hash, body in contents.bodies.items():
            assert ada.get(f"{ada.api}/ada/iris/objects/{hash}", timeout=10).content == body


def kill_later(registry: LiveRegistry, delay_s: float) -> None:
    time.sleep(delay_s)
    registry.kill()


def test_registry_is_intact_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(5)
    with live_registry(tmp_path) as registry, Person(registry, token := registry.add_user("ada")) as ada:
        first, began = Contents({"first": b"first"}), time.monotonic()
        assert ada.push("ada/iris", first).status_code == 200
        push_s = time.monotonic() - began  # on a busy machine the kills come later too
    done = [first.manifest.hash]
    for attempt in range(examples(2, 6)):
        with live_registry(tmp_path) as registry, Person(registry, token) as ada, ThreadPoolExecutor(1) as pool:
            killer = pool.submit(kill_later, registry, chance.random() * 4 * push_s)
            with contextlib.suppress(requests.RequestException, KeyError, ValueError):
                for number in range(1_000):
                    files = {f"{n}": b"%d %d %d" % (attempt, number, n) * 100 for n in range(100)}
                    contents = Contents(files)
                    if ada.push("ada/iris", contents).status_code == 200:
                        done.append(contents.manifest.hash)
            killer.result()
    with live_registry(tmp_path) as registry, Person(registry, token) as ada:
        check_whole(registry, ada, done)


def check_whole(registry: LiveRegistry, ada: Person, done: list[str]) -> None:
    """Assert that all confirmed pushes exist, latest and log agree, and every object is intact."""
    base = f"{ada.api}/ada/iris"
    page = ada.get(f"{base}/log?limit=200", timeout=10).json()
    logged = [entry["hash"] for entry in page["entries"]]
    assert ada.get(base, timeout=10).json()["latest"] == logged[0]
    if page["next"] is None:
        assert set(done) <= set(logged)
    for hash in logged[:5]:
        manifest = Manifest.parse(ada.get(f"{base}/manifests/{hash}", timeout=10).content, hash)
        for each in list(manifest.objects())[:20]:
            assert sha256(ada.get(f"{base}/objects/{each}", timeout=10).content) == each
    home = PackedObjects(registry.data)
    for each in home:
        assert sha256(home.read(each)) == each


def test_concurrent_pushes_of_many_users(registry: LiveRegistry) -> None:
    tokens = {name: registry.add_user(name) for name in ("ada", "bob", "cyd")}

    def work(name: str) -> list[int]:
        with Person(registry, tokens[name]) as person:
            return [
                person.push(f"{name}/p{number}", Contents({"a": b"same", "b": b"%d" % number})).status_code
                for number in range(10)
            ]

    with ThreadPoolExecutor(3) as pool:
        assert [set(statuses) for statuses in pool.map(work, tokens)] == [{200}] * 3
    for name, token in tokens.items():
        with Person(registry, token) as person:
            assert len(person.get(person.api, timeout=10).json()["packages"]) == 10, name


def peak_mib(registry: LiveRegistry) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{registry.process.pid}/status").read_text())
    assert match
    return int(match[1]) // 1024


def test_large_object_is_streamed_in_little_memory(registry: LiveRegistry) -> None:
    block = os.urandom(MIB)
    size = 120

    def body() -> Iterator[bytes]:
        for _ in range(size):
            yield block

    whole = hashlib.sha256()
    for piece in body():
        whole.update(piece)
    hash = whole.hexdigest()
    manifest = Manifest.make([FileNode(path="big", hash=hash, size=size * MIB)])
    with Person(registry, registry.add_user("ada")) as ada:
        base = f"{ada.api}/ada/big"
        push = ada.post(f"{base}/pushes", json={"manifest": manifest.hash, "hashes": []}, timeout=10).json()["push"]
        before = peak_mib(registry)
        answer = ada.put(f"{base}/pushes/{push}/objects/{hash}", data=body(), timeout=120)
        assert answer.status_code == 200
        ada.put(f"{base}/pushes/{push}/objects/{manifest.hash}", data=manifest.data, timeout=10)
        done = ada.post(f"{base}/pushes/{push}/publish", json={"manifest": manifest.hash}, timeout=10)
        assert done.status_code == 200
        got, count = hashlib.sha256(), 0
        with ada.get(f"{base}/objects/{hash}", stream=True, timeout=120) as answer:
            for piece in answer.iter_content(MIB):
                got.update(piece)
                count += len(piece)
        assert (got.hexdigest(), count) == (hash, size * MIB)
        assert peak_mib(registry) - before < 60


@pytest.mark.big
def test_ten_thousand_objects_in_one_push(registry: LiveRegistry) -> None:
    contents = Contents({f"f{number:05}": b"%d" % number for number in range(10_000)})
    with Person(registry, registry.add_user("ada")) as ada:
        assert ada.push("ada/many", contents).status_code == 200
        asked = {"manifest": contents.manifest.hash, "hashes": list(contents.manifest.objects())}
        started = time.perf_counter()
        again = ada.post(f"{ada.api}/ada/many/pushes", json=asked, timeout=60).json()
        took_s = time.perf_counter() - started
        assert again["missing"] == []
        assert took_s < 1  # a loose bound: it takes 0.06 s on a quiet machine
        answer = ada.post(f"{ada.api}/ada/many/objects/read", json={"hashes": asked["hashes"]}, timeout=60)
        assert len(answer.content) == sum(40 + len(body) for body in contents.files.values())


def talk(registry: LiveRegistry, *pieces: bytes, then_close: bool = False) -> bytes:
    """Send raw bytes and return what arrives until the other side closes, or for a second."""
    address = urlsplit(registry.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        got = b""
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            if then_close:
                return b""
            connection.settimeout(1)
            while piece := connection.recv(65_536):
                got += piece
        return got


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\x00\x01\x02\x03\r\n\r\n",),
        (b"GET / HTTP/9.9\r\n\r\n",),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 200_000 + b"\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzzz",),
        (b"POST /api/v1/packages/a/b/pushes HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",),
        (b"POST /api/v1/packages/a/b/pushes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",),
    ],
)
def test_malformed_http_does_not_affect_other_requests(steady: LiveRegistry, pieces: tuple[bytes, ...]) -> None:
    answer = talk(steady, *pieces)
    assert b"Traceback" not in answer
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
    assert requests.get(f"{steady.url}/healthz", timeout=10).status_code == 200
    assert "Traceback" not in steady.log.read_text()


def test_truncated_body_stores_nothing(registry: LiveRegistry) -> None:
    token = registry.add_user("ada")
    with Person(registry, token) as ada:
        contents = Contents({"a": b"x" * 100_000})
        push = ada.post(
            f"{ada.api}/ada/iris/pushes", json={"manifest": contents.manifest.hash, "hashes": []}, timeout=10
        ).json()["push"]
        hash = sha256(contents.files["a"])
        path = f"{wire.PACKAGES}/ada/iris/pushes/{push}/objects/{hash}"
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
        talk(registry, head.encode() + b"x" * 50_000, then_close=True)
        asked = {"hashes": [hash]}
        missing = ada.post(f"{ada.api}/ada/iris/pushes/{push}/missing", json=asked, timeout=10).json()["missing"]
        assert missing == [hash]
        deadline = time.monotonic() + 10
        while list((registry.data / "tmp").glob("*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not list((registry.data / "tmp").glob("*"))
    assert "Traceback" not in registry.log.read_text()


def test_idle_connection_is_closed(tmp_path: Path) -> None:
    with live_registry(tmp_path, DATAPKG_REGISTRY_BODY_TIMEOUT_S="1") as registry:
        address = urlsplit(registry.url)
        whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        for before, beginning in ((b"", b""), (b"", b"GET / HTTP/1.1\r\nHost"), (whole, b"GET /")):
            with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
                connection.sendall(before)
                if before:
                    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
                connection.sendall(beginning)
                started = time.monotonic()
                while connection.recv(65_536):
                    continue
                assert 0.5 < time.monotonic() - started < 8
        with requests.Session() as session:
            for pause_s in (0, 1.5, 0):
                time.sleep(pause_s)
                assert session.get(f"{registry.url}/healthz", timeout=10).status_code == 200


def test_slow_uploads_do_not_block_other_requests(tmp_path: Path) -> None:
    with live_registry(tmp_path, DATAPKG_REGISTRY_BODY_TIMEOUT_S="5") as registry:
        token = registry.add_user("ada")
        address = urlsplit(registry.url)
        with Person(registry, token) as ada, contextlib.ExitStack() as stack:
            manifest = Contents({"a": b"1"}).manifest
            push = ada.post(
                f"{ada.api}/ada/iris/pushes", json={"manifest": manifest.hash, "hashes": []}, timeout=10
            ).json()["push"]
            path = f"{wire.PACKAGES}/ada/iris/pushes/{push}/objects/{'0' * 64}"
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 99\r\n\r\n"
            slow = []
            for _ in range(50):
                connection = stack.enter_context(socket.create_connection((address.hostname, address.port), 30))
                connection.sendall(head.encode() + b"x")
                slow.append(connection)
            started = time.monotonic()
            for _ in range(5):
                assert ada.get(f"{ada.api}/ada/iris", timeout=4).status_code == 404
            assert time.monotonic() - started < 4
            answer = b"".join(iter(lambda: slow[0].recv(65_536), b""))
            assert answer.startswith(b"HTTP/1.1 413")
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert "DATAPKG_REGISTRY_BODY_TIMEOUT_S" in error["message"]


def test_slow_uploads_of_one_user_leave_slots_for_others(tmp_path: Path) -> None:
    bounds = {"DATAPKG_REGISTRY_MAX_UPLOADS": "4", "DATAPKG_REGISTRY_BODY_TIMEOUT_S": "4"}
    with live_registry(tmp_path, **bounds) as registry, contextlib.ExitStack() as stack:
        ada = stack.enter_context(Person(registry, registry.add_user("ada")))
        bob = stack.enter_context(Person(registry, registry.add_user("bob")))
        asked = {"manifest": "0" * 64, "hashes": []}
        push = ada.post(f"{ada.api}/ada/slow/pushes", json=asked, timeout=30).json()["push"]
        path = f"{wire.PACKAGES}/ada/slow/pushes/{push}/objects"
        token = ada.headers["Authorization"]
        head = f"PUT {path}/{'0' * 64} HTTP/1.1\r\nHost: x\r\nAuthorization: {token!s}\r\nContent-Length: 99\r\n\r\n"
        for _ in range(8):
            stack.enter_context(opened(registry)).sendall(head.encode() + b"x")
        assert bob.push("bob/iris", Contents({"a": b"1"})).status_code == 200
        refused = ada.post(registry.url + path, data=b"", timeout=30)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.json()["error"]["code"] == "unreachable"


def opened(registry: LiveRegistry, receive_bytes: int = 0) -> socket.socket:
    """Open a connection, with a receive buffer of about `receive_bytes` if that is given."""
    address = urlsplit(registry.url)
    connection = socket.socket()
    connection.settimeout(30)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect((address.hostname, address.port))
    return connection


@pytest.mark.big
def test_stalled_readers_are_disconnected(tmp_path: Path) -> None:
    contents = Contents({f"f{number}": os.urandom(900_000) for number in range(12)})
    hashes = [sha256(data) for data in contents.files.values()]
    body = json.dumps({"hashes": hashes}).encode()
    head = f"POST {wire.PACKAGES}/ada/big/objects/read HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    with live_registry(tmp_path, DATAPKG_REGISTRY_BODY_TIMEOUT_S="2") as registry, contextlib.ExitStack() as stack:
        ada = stack.enter_context(Person(registry, registry.add_user("ada")))
        assert ada.push("ada/big", contents, public=True).status_code == 200
        peak = peak_mib(registry)
        for _ in range(30):
            connection = stack.enter_context(opened(registry, receive_bytes=4096))
            connection.sendall(request)
            assert connection.recv(1) == b"H"
        deadline = time.monotonic() + 60
        while open_sockets(registry) > 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_sockets(registry) <= 5  # the listener, the loop's own pair, one of `ada`
        assert peak_mib(registry) - peak < 100
        assert (
            len(ada.post(f"{ada.api}/ada/big/objects/read", json={"hashes": hashes}, timeout=60).content) > 12 * 900_000
        )


def open_sockets(registry: LiveRegistry) -> int:
    count = 0
    for each in Path(f"/proc/{registry.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(each).startswith("socket:")
    return count


def test_unread_body_ends_with_the_response(registry: LiveRegistry) -> None:
    with opened(registry) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
