"""Records of long packages travel as objects, and every limit of a registry is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.errors import QuotaExceeded
from datapkg.format import push_wire
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote.http_client import HttpClient
from datapkg.remote.objects import RegistryObjects
from tests.conftest import Person
from tests.live_registry import live_registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of so many files that the sources in the record are an object."""
    (tmp_path / "raw").mkdir()
    for number in range(400):
        (tmp_path / "raw" / f"{number:03}.txt").write_text(str(number))
    return tmp_path / "raw"


def record_object(home: Home, ref: Ref) -> str:
    return next(home.store.refs.log(ref, "build")).record_object


def test_long_record_is_sent_as_an_object(person: Person, folder: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, folder)
    dry = push_package(home, ref, dry_run=True)
    assert len(dry.record["sources"]) == 400
    assert dry.objects_sent == 402
    pushed = push_package(home, ref)
    assert (pushed.objects_sent, pushed.record["lists"]) == (402, {"sources": 400})
    assert push_package(home, ref, dry_run=True).objects_sent == 0
    (folder / "new.txt").write_text("new")
    build_package(home, ref, folder)
    assert push_package(home, ref).objects_sent == 3


def test_older_registry_gets_the_record_inside_the_request(
    person: Person, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ref, sent = person.home(), person.ref("p"), list[push_wire.Publish]()
    start, publish = HttpClient.start_push, HttpClient.publish

    def start_older(*args: Any) -> push_wire.PushStarted:
        return msgspec.structs.replace(start(*args), record_objects=False)

    monkeypatch.setattr(HttpClient, "start_push", start_older)
    monkeypatch.setattr(HttpClient, "publish", lambda *args, **more: sent.append(args[3]) or publish(*args, **more))  # type: ignore[func-returns-value]
    build_package(home, ref, folder)
    assert push_package(home, ref).objects_sent == 401
    assert (sent[0].record_object, len(sent[0].record["sources"])) == (None, 400)


def test_push_without_the_lost_lists_of_its_record_says_so(person: Person, folder: Path) -> None:
    home, ref = person.home(), person.ref("p")
    build_package(home, ref, folder)
    home.store.objects.delete(record_object(home, ref))
    assert push_package(home, ref).warnings == ["the lists in the build record are lost, and were not pushed"]


@pytest.mark.slow
def test_limits_are_checked_before_anything_is_sent(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "DATAPKG_REGISTRY_MAX_MANIFEST_BYTES"
    with live_registry(tmp_path, **{name: "1000"}) as registry:
        person = Person("ada", registry.add_user("ada"), registry.url, tmp_path / "ada")
        home, ref = person.home(), person.ref("p")
        build_package(home, ref, folder)
        forbid_sending(monkeypatch)
        for dry_run in (True, False):
            with pytest.raises(QuotaExceeded, match=rf"the limit is 1,000 \({name}\)") as caught:
                push_package(home, ref, dry_run=dry_run)
            assert caught.value.detail == {"limit": 1000, "setting": name}


def forbid_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Callable[..., None]:
        raise AssertionError("an object was sent")

    for method in ("put", "put_delta", "put_verified", "put_bytes"):
        monkeypatch.setattr(RegistryObjects, method, refuse)
