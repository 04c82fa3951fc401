"""Limits on a transfer: time, rate, requests at once, and how a slow or busy way is borne."""

from __future__ import annotations

import _thread
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import InvalidInput, Unreachable
from datapkg.objects.threads import Patience
from datapkg.remote.session import RegistrySession
from datapkg.remote.time_limits import RateLimit, SlowTransferGuard
from tests.conftest import Person
from tests.faulty_proxy import STALL_S, Fault, faulty_way

SIZE = 3 << 20


@pytest.fixture
def pushed(person: Person, tmp_path: Path) -> str:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "big.bin").write_bytes(os.urandom(SIZE))
    build_package(person.home(), person.ref("p"), folder)
    return push_package(person.home(), person.ref("p")).hash


def test_rate_holds_in_both_directions(person: Person, pushed: str, tmp_path: Path) -> None:
    home = person.home("slow")
    home.settings.give("bwlimit", "6MB/s", "--bwlimit")
    start = time.monotonic()
    assert install_packages(home, [person.ref("p")])[0].installed
    assert time.monotonic() - start >= SIZE / 6e6
    (tmp_path / "source" / "more.bin").write_bytes(os.urandom(SIZE))
    build_package(home, person.ref("p"), tmp_path / "source")
    start = time.monotonic()
    assert push_package(home, person.ref("p")).changed
    assert time.monotonic() - start >= SIZE / 6e6


def test_slow_rate_uses_few_connections() -> None:
    assert [
        RegistrySession("http://localhost:9", rate=RateLimit(each)).jobs for each in (0, 20_000, 500_000, 10**9)
    ] == [
        8,
        1,
        5,
        8,
    ]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("bwlimit", "5MB/s", 5_000_000), ("bwlimit", "1MiB", 1 << 20), ("bwlimit", "0", 0), ("jobs", "3", 3)],
)
def test_limits_are_read_as_they_are_written(person: Person, name: str, text: str, value: int) -> None:
    settings = person.home().settings
    settings.give(name, text, f"--{name}")
    assert settings.get(name).value == value


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [("bwlimit", "5", "--bwlimit 5MB/s"), ("bwlimit", "fast", "--bwlimit 5MB/s"), ("jobs", "0", "--jobs 8")],
)
def test_wrong_limit_shows_how_it_is_written(person: Person, name: str, text: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=f"--{name}: setting {name} is ") as caught:
        person.home().settings.give(name, text, f"--{name}")
    assert caught.value.hint == hint


def test_command_ends_at_its_deadline_and_goes_on_when_run_again(person: Person, pushed: str) -> None:
    home = person.home("late")
    home.settings.give("bwlimit", "1MB/s", "--bwlimit")
    home.settings.give("max_time_s", "1", "--max-time")
    home.begin_command()
    start = time.monotonic()
    (outcome,) = install_packages(home, [person.ref("p")])
    assert isinstance(outcome.error, Unreachable)
    assert "was not done within 1 s, the limit of the whole command (max_time_s)" in str(outcome.error)
    assert time.monotonic() - start < 3
    assert install_packages(person.home("late"), [person.ref("p")])[0].installed


def test_deadline_covers_waiting_for_an_answer(person: Person, pushed: str) -> None:
    with faulty_way(person.url) as way:
        way.faults.append(Fault("slow", "/objects/"))
        home = person.home("late", way.url)
        home.settings.give("max_time_s", "0.5", "--max-time")
        home.begin_command()
        start = time.monotonic()
        (outcome,) = install_packages(home, [person.ref("p")])
        assert isinstance(outcome.error, Unreachable)
        assert "the limit of the whole command" in str(outcome.error)
        assert time.monotonic() - start < STALL_S


def test_stalled_download_goes_on_over_another_connection(person: Person, pushed: str) -> None:
    with faulty_way(person.url) as way:
        way.faults.append(Fault("stall", "/objects/", method="GET", times=1))
        home = person.home("stalled", way.url)
        home.settings.give("timeout_s", "1", "--timeout")
        start = time.monotonic()
        assert install_packages(home, [person.ref("p")])[0].installed
        assert time.monotonic() - start < STALL_S


def test_retry_after_is_waited_for(person: Person, pushed: str) -> None:
    with faulty_way(person.url) as way:
        way.faults.append(Fault("503 after 1", "/objects/", method="GET", times=1))
        start = time.monotonic()
        assert install_packages(person.home("busy", way.url), [person.ref("p")])[0].installed
        assert time.monotonic() - start >= 1


def test_request_waits_for_no_thread_that_never_begins(
    person: Person, pushed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = _thread.start_new_thread
    monkeypatch.setattr(
        _thread, "start_new_thread", lambda call, args: 0 if "_run" in call.__name__ else begin(call, args)
    )
    monkeypatch.setattr(threading, "_start_new_thread", lambda *_: 0)
    monkeypatch.setattr(Patience, "seconds", 0.05)
    assert install_packages(person.home("without", person.url), [person.ref("p")])[0].installed


def test_server_that_drips_after_a_fast_beginning_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("datapkg.remote.time_limits.time.monotonic", lambda: clock[0])
    guard = SlowTransferGuard("https://slow.example")
    guard.add(1 << 30)
    with pytest.raises(Unreachable, match="sends too slowly"):
        for second in range(1, 70):
            clock[0] = second
            guard.add(10)


def test_server_that_drips_over_each_connection_ends_the_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("datapkg.remote.time_limits.time.monotonic", lambda: clock[0])
    guard = SlowTransferGuard("https://slow.example")

    def drip() -> Unreachable:
        with pytest.raises(Unreachable, match="sends too slowly") as caught:
            for _ in range(100):
                clock[0] += 1
                guard.add(10)
        return caught.value

    assert [drip().detail.get("again"), drip().detail.get("again")] == [True, False]
    clock[0] += 31
    guard.add(1 << 20)
    assert drip().detail.get("again") is True


@contextmanager
def slow_uplink(url: str, bytes_per_s: int) -> Iterator[str]:
    """Run a proxy that takes what the client sends at this rate, with small buffers, as a home line does."""
    there = (urlsplit(url).hostname or "", urlsplit(url).port or 80)

    def take(near: socket.socket, far: socket.socket, rate: int) -> None:
        with suppress(OSError):
            while piece := near.recv(16_384):
                far.sendall(piece)
                time.sleep(len(piece) / rate if rate else 0)
        for each in (near, far):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(there)
                for ends in ((near, far, bytes_per_s), (far, near, 0)):
                    threading.Thread(target=take, args=ends, daemon=True).start()

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_slow_uplink_takes_its_time(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece, not each body, has to be taken within the time for a connection."""
    monkeypatch.setattr("datapkg.remote.time_limits.CONNECT_TIMEOUT_S", 0.5)
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(200_000))
    with slow_uplink(person.url, 2_000_000) as url:
        home = person.home("uplink", url)
        build_package(home, person.ref("many"), tmp_path)
        assert push_package(home, person.ref("many")).objects_sent == 21
