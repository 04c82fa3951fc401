"""What may happen while a large object travels: others send it too, its package or its registry goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.errors import Conflict, DatapkgError, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote import objects as remote_objects
from datapkg.remote.http_client import HttpClient
from datapkg.remote.objects import RegistryObjects
from tests.conftest import Person
from tests.live_registry import LiveRegistry, live_registry

MB = 1 << 20


def build(home: Home, ref: Ref, folder: Path, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "large.bin").write_bytes(data)
    build_package(home, ref, folder)


def machine(registry: LiveRegistry, token: str, folder: Path) -> Home:
    own = {"DATAPKG_HOME": str(folder), "DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": token}
    return Home({"PATH": os.environ["PATH"], "HOME": str(folder), **own})


def conflicting(received: Any) -> Any:
    """Return a `_received` that claims bytes that the registry does not have, as after another machine's success."""
    return lambda self, path: received(self, path) + MB


def is_whole(home: Home, ref: Ref) -> bool:
    """Return whether a new machine gets all of a package."""
    (outcome,) = install_packages(home, [ref])
    if outcome.error:
        raise outcome.error
    return verify(home).damaged == []


@pytest.mark.parametrize("is_in_time", [True, False])
def test_two_machines_of_one_user_resume_the_same_object(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_in_time: bool
) -> None:
    monkeypatch.setattr(remote_objects, "RESUMED_BYTES", MB)
    if not is_in_time:  # the other one is still at it when the registry gives up waiting
        monkeypatch.setattr(RegistryObjects, "_received", conflicting(RegistryObjects._received))
    data = os.urandom(6 * MB)
    homes = [person.home("one"), person.home("two")]
    refs = [person.ref("a"), person.ref("b")]
    for home, ref in zip(homes, refs, strict=True):
        home.settings.give("bwlimit", "6MB/s", "--bwlimit")
        build(home, ref, tmp_path / ref.name, data)
    errors: list[BaseException] = []

    def push(home: Home, ref: Ref) -> None:
        try:
            push_package(home, ref)
        except DatapkgError as error:
            errors.append(error)

    threads = [threading.Thread(target=push, args=pair) for pair in zip(homes, refs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(is_whole(person.home(f"new {ref.name}"), ref) for ref in refs)


def test_package_deleted_between_start_and_publish(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ref = person.home(), person.ref("p")
    build(home, ref, tmp_path / "p", os.urandom(2 * MB))
    push_package(home, ref)
    build(home, ref, tmp_path / "p", os.urandom(2 * MB))
    publish = HttpClient.publish

    def too_late(self: HttpClient, ref: Ref, *values: Any, **more: Any) -> Any:
        monkeypatch.setattr(HttpClient, "publish", publish)
        self.delete(ref)
        return publish(self, ref, *values, **more)

    monkeypatch.setattr(HttpClient, "publish", too_late)
    with pytest.raises(Conflict) as caught:
        push_package(home, ref)
    assert caught.value.hint
    assert push_package(home, ref, force=True).changed
    assert is_whole(person.home("new"), ref)


def test_registry_killed_during_a_delta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, ref = os.urandom(4 * MB), Ref("me", "p")
    monkeypatch.setattr("datapkg.remote.session.pause_s", lambda number, retry_after: 0.0)
    put_delta = RegistryObjects.put_delta
    with live_registry(tmp_path) as registry:
        token = registry.add_user("me")
        home = machine(registry, token, tmp_path / "home")
        build(home, ref, tmp_path / "p", data)
        push_package(home, ref)
        build(home, ref, tmp_path / "p", data[: 2 * MB] + os.urandom(MB) + data[2 * MB :])

        def killed(self: RegistryObjects, *values: Any) -> None:
            timer = threading.Timer(0.02, registry.kill)
            timer.start()
            self._session._rate.bytes_per_s = 2_000_000  # it is killed within the delta
            try:
                put_delta(self, *values)
            finally:
                timer.join()

        monkeypatch.setattr(RegistryObjects, "put_delta", killed)
        with pytest.raises(Unreachable):
            push_package(home, ref)
        monkeypatch.setattr(RegistryObjects, "put_delta", put_delta)
    with live_registry(tmp_path) as registry:
        again = machine(registry, token, tmp_path / "home")
        pushed = push_package(again, ref, registry=registry.url)
        assert (pushed.changed, pushed.bytes_sent < 2 * MB) == (True, True)
        assert is_whole(machine(registry, token, tmp_path / "new"), ref)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["push", "install"])
def test_kill_in_the_middle_of_a_large_object_loses_little(
    person: Person, registry: LiveRegistry, tmp_path: Path, verb: str
) -> None:
    size, ref = 96 * MB, person.ref("p")
    home, other = person.home("home"), person.home("other")
    build(home, ref, tmp_path / "p", os.urandom(size))
    if verb == "install":
        push_package(home, ref)
    environ = {**os.environ, **(home if verb == "push" else other).settings.environ}
    command = [sys.executable, "-m", "datapkg", verb, str(ref), "-q", "--bwlimit", "60MB/s"]
    arrived, pattern = {
        "push": (registry.data / "tmp", "upload-*"),
        "install": (other.store.folder / "partial", "*/*"),
    }[verb]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
        while sum(each.stat().st_blocks * 512 for each in arrived.glob(pattern)) < 24 * MB:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = time.monotonic()
    moved = push_package(home, ref).bytes_sent if verb == "push" else 0
    if verb == "install":
        (outcome,) = install_packages(other, [ref])
        assert outcome.installed, outcome.error
        moved = outcome.installed.bytes_received
    assert moved < size - 8 * MB, f"{moved / MB:.0f} MiB in {time.monotonic() - before:.1f} s"
    assert is_whole(person.home("new"), ref)
